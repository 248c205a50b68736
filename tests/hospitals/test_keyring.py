"""Keys: made at registration, sealed at rest, the same after a restart, rotated without losing anything."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, call_command

from chain.gateway import address_of
from chain.models import OutboxItem
from hospitals import keyring, sealing
from hospitals.errors import KeyUnavailable
from hospitals.models import AuditEntry, KekVersion, KeyRecord
from hospitals.tenancy import tenant
from hospitals.types import KeyPurpose
from tests.factories import make_organisation, make_user

INFO = b"medportal/wrap/v1\0test"


def wrapped(owner, secret=b"k" * 32, info=INFO):
    return keyring.SUITE.encrypt(secret, keyring.wrap_public_key(owner), info)


@pytest.mark.scenario("O14")
def test_everyone_gets_their_keys(people):
    for owner in (people.a, people.pat, people.alice, people.pat_a):
        key = keyring.wrap_public_key(owner)
        assert key.curve.name == "secp256r1"
        assert hashlib.sha256(keyring.public_spki(keyring.wrap_kid(owner))).digest() == keyring.wrap_kid(owner)
    for owner in (people.a, people.pat, people.alice):
        assert keyring.public_key(keyring.sign_kid(owner)).curve.name == "secp256r1"
    assert keyring.worker_public_key().curve.name == "secp256r1"
    assert keyring.worker_kid() == keyring.worker_kid()
    assert keyring.wrap_kid(people.alice) == keyring.wrap_kid(people.alice.user)


@pytest.mark.scenario("O14")
def test_two_registrations_of_one_person_share_nothing(people):
    a, b = people.pat_a, people.pat_b
    assert keyring.wrap_kid(a) != keyring.wrap_kid(b)
    assert a.identity_address != b.identity_address
    assert a.patient_key != b.patient_key
    subjects = KeyRecord.objects.filter(owner_id__in=[a.pk, b.pk, people.pat.pk]).values_list("owner_id", "subject")
    assert len({subject for _, subject in subjects}) == len(
        set(KeyRecord.objects.filter(owner_id__in=[a.pk, b.pk, people.pat.pk]).values_list("subject"))
    )
    by_owner = {}
    for owner, subject in subjects:
        by_owner.setdefault(owner, set()).add(subject)
    assert not by_owner[a.pk] & by_owner[b.pk]
    assert not by_owner[a.pk] & by_owner[people.pat.pk]


def test_wraps_open_for_their_key_and_record_only(people):
    blob = wrapped(people.pat_a)
    assert len(blob) == 65 + 48
    assert keyring.unwrap(keyring.wrap_kid(people.pat_a), blob, INFO) == b"k" * 32
    for kid, bad, info in (
        (keyring.wrap_kid(people.pat_b), blob, INFO),
        (keyring.wrap_kid(people.pat_a), blob, INFO + b"other"),
        (keyring.wrap_kid(people.pat_a), blob[:-1] + bytes([blob[-1] ^ 1]), INFO),
        (keyring.wrap_kid(people.pat_a), b"", INFO),
        (keyring.sign_kid(people.a), blob, INFO),
        (bytes(32), blob, INFO),
    ):
        with pytest.raises(KeyUnavailable):
            keyring.unwrap(kid, bad, info)


def test_signatures_are_deterministic_and_low(people):
    kid = keyring.sign_kid(people.a)
    for message in (b"", b"one", b"x" * 10_000):
        signature = keyring.sign(kid, message)
        assert signature == keyring.sign(kid, message)
        assert len(signature) == 64
        assert int.from_bytes(signature[32:]) <= keyring.P256_ORDER // 2
        assert keyring.verify(kid, message, signature)
        assert not keyring.verify(kid, message + b"!", signature)
        high = signature[:32] + (keyring.P256_ORDER - int.from_bytes(signature[32:])).to_bytes(32)
        assert not keyring.verify(kid, message, high)
    with pytest.raises(KeyUnavailable):
        keyring.sign(keyring.wrap_kid(people.a), b"")


@pytest.mark.scenario("O14")
def test_keys_survive_a_restart(people):
    blob, kid = wrapped(people.pat_a), keyring.wrap_kid(people.pat_a)
    signature = keyring.sign(keyring.sign_kid(people.a), b"m")
    keyring.forget()
    assert keyring.unwrap(kid, blob, INFO) == b"k" * 32
    assert keyring.sign(keyring.sign_kid(people.a), b"m") == signature


@pytest.mark.scenario("O14")
def test_a_rotated_key_opens_and_verifies_but_signs_no_more(people):
    old_sign, old_wrap = keyring.sign_kid(people.a), keyring.wrap_kid(people.a)
    signature, blob = keyring.sign(old_sign, b"m"), wrapped(people.a)
    for purpose in (KeyPurpose.SIGN, KeyPurpose.WRAP):
        keyring.key_rotate(people.a, purpose)
    assert keyring.sign_kid(people.a) != old_sign
    assert keyring.verify(old_sign, b"m", signature)
    assert keyring.unwrap(old_wrap, blob, INFO) == b"k" * 32
    assert keyring.unwrap(keyring.wrap_kid(people.a), wrapped(people.a), INFO) == b"k" * 32
    with pytest.raises(KeyUnavailable, match="retired"):
        keyring.sign(old_sign, b"m")


@pytest.mark.scenario("O14")
def test_a_new_kek_reseals_every_row_and_changes_no_key(people):
    blob, kid = wrapped(people.pat_a), keyring.wrap_kid(people.pat_a)
    text = keyring.seal_text(hospital_id=people.a.pk, purpose="title", row_id="1", text="Blood count")
    before = {bytes(row.kid): bytes(row.private_sealed) for row in KeyRecord.objects.filter(hospital=people.a)}
    moved = keyring.kek_rotate(people.a)
    rows = KeyRecord.objects.filter(hospital=people.a)
    assert moved == rows.count() == len(before)
    assert {row.kek_version for row in rows} == {2}
    assert all(bytes(row.private_sealed) != before[bytes(row.kid)] for row in rows)
    assert KeyRecord.objects.filter(hospital=people.b, kek_version=2).count() == 0
    keyring.forget()
    assert keyring.unwrap(kid, blob, INFO) == b"k" * 32
    assert keyring.open_text(hospital_id=people.a.pk, purpose="title", row_id="1", blob=text) == "Blood count"
    assert KekVersion.objects.get(hospital=people.a, version=1).retired_at
    assert keyring.kek_rotate(people.a, is_resumed=True) == 0


def test_a_killed_rotation_goes_on(people):
    sealing.kek_create(people.a.pk)  # as far as a killed run came
    count = KeyRecord.objects.filter(hospital=people.a).count()
    assert keyring.kek_rotate(people.a, is_resumed=True) == count
    assert keyring.chain_signing_key(people.a.account_address)


def test_sealed_rows_do_not_move(people):
    """The seal binds tenant, owner, purpose, kid and version."""
    mine = KeyRecord.objects.get(owner_id=people.pat_a.pk, purpose=KeyPurpose.WRAP)
    other = KeyRecord.objects.get(owner_id=people.kim_a.pk, purpose=KeyPurpose.WRAP)
    KeyRecord.objects.filter(pk=mine.pk).update(private_sealed=other.private_sealed)
    keyring.forget()
    with pytest.raises(KeyUnavailable):
        keyring.unwrap(mine.kid, wrapped(people.pat_a), INFO)


@pytest.mark.parametrize("change", ["hospital_id", "purpose", "row_id"])
def test_sealed_texts_do_not_move(organisations, change):
    place = {"hospital_id": organisations.a.pk, "purpose": "title", "row_id": "1"}
    blob = keyring.seal_text(**place, text="Ä report")
    assert keyring.open_text(**place, blob=blob) == "Ä report"
    assert b"report" not in blob
    elsewhere = {**place, change: {"hospital_id": organisations.b.pk, "purpose": "name", "row_id": "2"}[change]}
    sealing.current_kek(organisations.b.pk)
    with pytest.raises(KeyUnavailable):
        keyring.open_text(**elsewhere, blob=blob)
    for bad in (b"", blob[:-1], blob[:4]):
        with pytest.raises(KeyUnavailable):
            keyring.open_text(**place, blob=bad)


def test_a_kek_of_a_rolled_back_transaction_is_not_remembered(organisations):
    """Process memory must never win over the database: the text would be lost."""
    place = {"hospital_id": organisations.a.pk, "purpose": "title", "row_id": "1"}
    keyring.open_text(**place, blob=keyring.seal_text(**place, text="first"))
    KekVersion.objects.filter(hospital=organisations.a).delete()
    again = keyring.seal_text(**place, text="second")
    keyring.sealing.forget()
    assert keyring.open_text(**place, blob=again) == "second"


def test_chain_keys_fit_their_addresses(people):
    for address in (people.a.account_address, people.alice.chain_address, people.pat_a.identity_address):
        assert address_of(keyring.chain_signing_key(address)) == bytes(address)
    assert address_of(keyring.identity_key(people.pat_a)) == bytes(people.pat_a.identity_address)
    with pytest.raises(KeyUnavailable):
        keyring.chain_signing_key(bytes(20))


def test_private_parts_are_nowhere_in_clear(people):
    secret = keyring.chain_signing_key(people.a.account_address)
    row = KeyRecord.objects.get(address=people.a.account_address)
    assert secret not in bytes(row.private_sealed)
    assert secret not in bytes(row.public_key)
    assert secret.hex() not in repr(row.__dict__)
    assert "key=" not in repr(sealing.current_kek(people.a.pk))


def test_the_directory_names_nobody_and_is_anchored_once(people):
    published = keyring.directory_publish(people.a)
    assert published > 0
    items = OutboxItem.objects.filter(lane="anchor", payload={"kind": "KeyDirectory"})
    assert items.count() == published
    assert keyring.directory_publish(people.a) == 0
    row = KeyRecord.objects.get(kid=keyring.wrap_kid(people.a))
    body = keyring.directory_body(row)
    assert bytes(row.kid).hex().encode() in body
    assert people.a.pk.hex.encode() not in body
    assert str(people.a.pk).encode() not in body
    item = items.get(ref=row.directory_ref)
    assert bytes(item.leaf) == keyring.directory_leaf(row)
    assert not KeyRecord.objects.filter(purpose=KeyPurpose.IDENTITY).exclude(directory_ref="").exists()


def test_an_imported_account_keeps_its_address(db):
    key = ec.generate_private_key(ec.SECP256K1()).private_numbers().private_value.to_bytes(32)
    organisation = make_organisation("Authority")
    KeyRecord.objects.filter(address=organisation.account_address).delete()
    keyring.organisation_chain_key_import(organisation, key)
    assert bytes(organisation.account_address) == address_of(key)
    assert keyring.chain_signing_key(address_of(key)) == key


def test_hpke_is_the_standard_one(db):
    """A wrap opens with nothing but the published key pair and RFC 9180."""
    user = make_user("Someone")
    row = KeyRecord.objects.get(kid=keyring.wrap_kid(user))
    private = serialization.load_der_private_key(keyring._open_private(row), None)
    suite = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    assert suite.decrypt(wrapped(user), private, INFO) == b"k" * 32


@pytest.mark.scenario("O14")
def test_the_command_rotates_publishes_and_logs(people, capsys):
    keyring.directory_publish(people.a)
    old = keyring.sign_kid(people.a)
    call_command("keys_rotate", "northwick")
    assert keyring.sign_kid(people.a) != old
    assert keyring.sign_kid(people.a).hex() in capsys.readouterr().out
    ended = OutboxItem.objects.filter(ref__startswith="keyend:")
    assert {bytes(item.leaf) for item in ended} == {
        keyring.directory_leaf(row) for row in KeyRecord.objects.filter(hospital=people.a, retired_at__isnull=False)
    }
    assert not KeyRecord.objects.filter(hospital=people.a, directory_ref="").exclude(owner_type="patient").exists()
    call_command("keys_rotate", "northwick", kek=True)
    assert not KeyRecord.objects.filter(hospital=people.a, kek_version=1).exists()
    with tenant(people.a):
        actions = list(AuditEntry.objects.order_by("seq").values_list("action", "actor_role", "channel"))
    assert actions == [("keys.rotated", "system", "command"), ("keys.resealed", "system", "command")]
    with pytest.raises(CommandError, match="no organisation"):
        call_command("keys_rotate", "nowhere")
