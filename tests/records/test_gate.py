"""Who opens what: every way in has its line for Dora, the outsider."""

import hashlib
import itertools
import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone

from chain.errors import RpcUnavailable
from hospitals.actors import Actor, member_actor
from hospitals.errors import AuditUnavailable
from hospitals.models import Membership, User
from hospitals.tenancy import all_tenants, tenant
from records import decisions, gate, keys, services
from records.errors import BlobMissing, ChainUnavailable, NotFound, RangeNotSatisfiable, RecordAltered
from records.models import AccessGrant, Epoch, Record, RecordVersion, Wrap
from records.storage import blob_store
from tests.records.conftest import NOTE


def read(actor, version, **options):
    return b"".join(gate.release(actor=actor, version=version, **options).chunks)


def day(days=7):
    return timezone.now() + timedelta(days=days)


def share(people, grantee, **fields):
    values = {"scope_type": "category", "scope_value": "laboratory", "expires_at": day(), **fields}
    with tenant(people.a):
        return services.grant_create(actor=Actor(people.pat), patient=people.pat_a, grantee=grantee, **values)


@pytest.mark.scenario("P1", "D9", "D10")
def test_who_may_open_a_record_of_a(cast, made, entries):
    version = made(cast.alice, cast.pat_a)
    for actor in (member_actor(cast.alice), member_actor(cast.adam), Actor(cast.pat)):
        assert read(actor, version) == NOTE
    refused = [member_actor(person) for person in (cast.cleo, cast.hana, cast.dora, cast.boris, cast.reg)]
    for actor in [*refused, Actor(cast.quinn)]:
        with pytest.raises(NotFound):
            gate.release(actor=actor, version=version)
        with pytest.raises(NotFound):
            gate.read_meta(actor=actor, version=version)
    found = entries(cast.pat_a, "records.version.downloaded")
    assert [entry.is_refused for entry in found] == [False] * 3 + [True] * 6
    assert [entry.basis for entry in found[:3]] == ["treatment", "treatment", "own"]


@pytest.mark.scenario("D9", "H1")
def test_rights_are_read_anew_each_time(cast, made):
    version = made(cast.alice, cast.pat_a)
    adam = member_actor(cast.adam)
    assert read(adam, version) == NOTE
    Membership.objects.filter(pk=cast.adam.pk).update(status="ended")
    with pytest.raises(NotFound):
        read(adam, version)
    User.objects.filter(pk=cast.alice.user_id).update(is_active=False)
    with pytest.raises(NotFound):
        read(member_actor(cast.alice), version)


@pytest.mark.scenario("P6")
def test_each_look_is_one_entry_with_person_purpose_and_basis(cast, made, entries):
    version = made(cast.alice, cast.pat_a)
    alice = member_actor(cast.alice)
    gate.read_meta(actor=alice, version=version)
    gate.read_meta(actor=alice, version=version)
    read(alice, version)
    read(alice, version, action="print")
    found = [entry.action for entry in entries(cast.pat_a, "records.version")]
    assert found == [
        "records.version.uploaded",
        "records.version.read",
        "records.version.read",
        "records.version.downloaded",
        "records.version.printed",
    ]


@pytest.mark.scenario("P2", "P17", "P3", "P4", "D14")
def test_a_grant_from_click_to_revoke(cast, made, settle, work, entries, chains):
    lab = made(cast.alice, cast.pat_a)
    image = made(cast.alice, cast.pat_a, category="imaging")
    dora = member_actor(cast.dora)
    grant = share(cast, cast.dora)
    assert grant.state == "pending"
    with pytest.raises(NotFound):
        read(dora, lab)

    settle()
    with all_tenants("test"):
        grant.refresh_from_db()
        assert grant.state == "active" and grant.recorded_tx_hash and grant.wrapped_at
    assert read(dora, lab) == NOTE
    assert gate.locate(actor=dora, record_id=lab.record_id).pk == lab.record_id
    with pytest.raises(NotFound):
        read(dora, image)
    with pytest.raises(NotFound):
        read(dora, lab, purpose="HRESCH")
    assert entries(cast.pat_a, "records.version.downloaded")[1].basis == f"consent:{grant.pk}"

    later = made(cast.alice, cast.pat_a)
    assert read(dora, later) == NOTE

    with all_tenants("test"):
        saved = list(Wrap.objects.filter(grant=grant).values_list("epoch_id", "recipient_kid", "blob"))
        before = Epoch.objects.get(version=lab)
    assert len(saved) == 2
    old_bytes = blob_store().open(before.payload_blob)
    heads = {name: chain.head for name, chain in chains.items()}
    with tenant(cast.a):
        services.grant_revoke(actor=Actor(cast.pat), grant=grant)
    for _ in range(2):
        with pytest.raises(NotFound):
            read(dora, lab)
    assert {name: chain.head for name, chain in chains.items()} == heads
    assert [entry.is_refused for entry in entries(cast.pat_a, "records.version.downloaded")][-2:] == [True, True]
    with all_tenants("test"):
        assert not Wrap.objects.filter(grant=grant).exists()

    settle()
    work()
    with all_tenants("test"):
        grant.refresh_from_db()
        assert grant.state == "revoked" and grant.revoked_tx_hash
        current = RecordVersion.objects.get(pk=lab.pk)
        after = Epoch.objects.get(version=lab, number=2)
        before.refresh_from_db()
    assert current.epoch == 2 and current.authored_manifest == lab.authored_manifest
    assert after.payload_blob != before.payload_blob and before.payload_blob == "" and before.retired_at
    assert not blob_store().exists(hashlib.sha256(old_bytes.read_at(0, old_bytes.size)).hexdigest())
    old_bytes.close()
    assert read(Actor(cast.pat), current) == NOTE
    from records.proofs import proof_state
    from records.receipts import manifests_verify

    with all_tenants("test"):
        assert manifests_verify(current, after) and proof_state(current) == "authentic"


@pytest.mark.scenario("P4")
def test_a_saved_wrap_opens_nothing_new(cast, made, settle, work):
    version = made(cast.alice, cast.pat_a)
    grant = share(cast, cast.dora)
    settle()
    with all_tenants("test"):
        wrap = Wrap.objects.get(grant=grant)
        saved, kid = bytes(wrap.blob), bytes(wrap.recipient_kid)
        old = Epoch.objects.get(version=version)
    from hospitals import keyring

    place = keys.place_of(version.record, 1, 1)
    dek = keyring.unwrap(kid, saved, place.wrap_info(kid, grant.pk))
    with tenant(cast.a):
        services.grant_revoke(actor=Actor(cast.pat), grant=grant)
    settle()
    with all_tenants("test"):
        new = Epoch.objects.get(version=version, number=2)
    from records import crypto

    blob = blob_store().open(new.payload_blob)
    for epoch in (1, 2):
        where = keys.place_of(version.record, 1, epoch)
        with pytest.raises(crypto.Unauthentic):
            crypto.RangeReader(
                blob.read_at, blob.size, crypto.subkey(dek, crypto.PAYLOAD), where.context(crypto.PAYLOAD)
            )
    blob.close()
    with pytest.raises(BlobMissing):
        blob_store().open(old.payload_blob)


def test_a_grant_to_an_organisation_opens_for_its_staff_only(cast, made, settle):
    version = made(cast.alice, cast.pat_a)
    share(cast, cast.b)
    settle()
    assert read(member_actor(cast.dora), version) == NOTE
    for person in (cast.boris, cast.reg):
        with pytest.raises(NotFound):
            read(member_actor(person), version)


@pytest.mark.scenario("P2")
def test_a_grant_ends_by_itself(cast, made, settle):
    version = made(cast.alice, cast.pat_a)
    grant = share(cast, cast.dora)
    settle()
    dora = member_actor(cast.dora)
    assert read(dora, version) == NOTE
    with all_tenants("test"):
        AccessGrant.objects.filter(pk=grant.pk).update(
            not_before=timezone.now() - timedelta(days=8), expires_at=timezone.now() - timedelta(seconds=1)
        )
    with pytest.raises(NotFound):
        read(dora, version)


@pytest.mark.scenario("P2")
def test_the_contract_ends_it_even_if_the_database_says_otherwise(cast, made, settle, chains):
    version = made(cast.alice, cast.pat_a)
    grant = share(cast, cast.dora, expires_at=timezone.now() + timedelta(hours=2))
    settle()
    with all_tenants("test"):
        AccessGrant.objects.filter(pk=grant.pk).update(expires_at=day(300))
    assert read(member_actor(cast.dora), version) == NOTE
    chains["MED"].rpc("evm_increaseTime", 3 * 3600)
    chains["MED"].mine()
    with pytest.raises(NotFound):
        read(member_actor(cast.dora), version)


@pytest.mark.scenario("O9")
@pytest.mark.parametrize("change", ["scope", "category", "purpose", "grantee", "signature", "forged"])
def test_a_row_changed_in_the_database_opens_nothing(cast, made, settle, change):
    """The server may narrow what the patient signed, never widen it."""
    image = made(cast.alice, cast.pat_a, category="imaging")
    grant = share(cast, cast.dora)
    settle()
    with all_tenants("test"):
        rows = AccessGrant.objects.filter(pk=grant.pk)
        if change == "scope":
            rows.update(scope_type="all", scope_value="")
        elif change == "category":
            Record.objects.filter(pk=image.record_id).update(category="laboratory")
            rows.update(scope_value="imaging")
        elif change == "purpose":
            rows.update(scope_type="all", scope_value="", purpose="HRESCH")
        elif change == "grantee":
            rows.update(scope_type="all", scope_value="", grantee_membership=cast.boris)
        elif change == "signature":
            rows.update(scope_type="all", scope_value="", signature=bytes(65))
        else:
            copied = AccessGrant.objects.get(pk=grant.pk)
            copied.pk, copied.digest, copied.record_ref = uuid.uuid4(), bytes(32), "forged"
            copied.scope_type, copied.scope_value = "all", ""
            copied._state.adding = True
            with pytest.raises(Exception):  # noqa: B017
                copied.save()
                read(member_actor(cast.dora), image)
            return
    reader = member_actor(cast.boris if change == "grantee" else cast.dora)
    if change == "category":
        return
    with pytest.raises(NotFound):
        read(reader, image, purpose="HRESCH" if change == "purpose" else "TREAT")


@pytest.mark.scenario("P5")
def test_a_restriction_counts_when_clicked_and_leaves_no_trace(cast, made, entries):
    from records import selectors

    psychiatry = made(cast.alice, cast.pat_a, category="psychiatry")
    note = made(cast.alice, cast.pat_a, category="notes")
    alice = member_actor(cast.alice)
    assert read(alice, psychiatry) == NOTE
    with tenant(cast.a):
        hidden = services.restriction_set(
            actor=Actor(cast.pat), patient=cast.pat_a, scope_type="category", scope_value="psychiatry"
        )
        listed = selectors.timeline([cast.pat_a], actor=alice)
        assert len(listed) == 1 and [row.id for row in listed] == [note.record_id]
        assert len(selectors.timeline([cast.pat_a], actor=Actor(cast.pat))) == 2
    with pytest.raises(NotFound):
        read(alice, psychiatry)
    assert read(alice, note) == NOTE and read(Actor(cast.pat), psychiatry) == NOTE
    with tenant(cast.a):
        services.restriction_lift(actor=Actor(cast.pat), restriction=hidden)
    assert read(alice, psychiatry) == NOTE


def silent(*_, **__):
    raise RpcUnavailable("no answer")


@pytest.mark.scenario("D5")
def test_with_the_chain_silent_own_patients_stay_readable_and_shared_ones_close(
    cast, made, settle, monkeypatch, settings, entries
):
    version = made(cast.alice, cast.pat_a)
    share(cast, cast.dora)
    settle()
    monkeypatch.setattr(decisions, "agreed", silent)
    assert read(member_actor(cast.alice), version) == NOTE
    assert "as_of_block" in entries(cast.pat_a, "records.version.downloaded")[-1].detail
    assert read(Actor(cast.pat), version) == NOTE
    with pytest.raises(ChainUnavailable):
        read(member_actor(cast.dora), version)
    assert entries(cast.pat_a, "records.version.downloaded")[-1].is_refused
    settings.RECORDS = {**settings.RECORDS, "stale_index_seconds": -1}
    with pytest.raises(ChainUnavailable):
        read(member_actor(cast.alice), version)


@pytest.mark.scenario("D5")
def test_without_the_log_nothing_is_released(cast, made, monkeypatch):
    version = made(cast.alice, cast.pat_a)

    def broken(**_):
        raise DatabaseError("disk gone")

    def never(*_, **__):
        raise AssertionError("a key was opened before the log entry was committed")

    monkeypatch.setattr(gate.audit, "append", broken)
    monkeypatch.setattr(keys, "dek_open", never)
    for actor in (member_actor(cast.alice), Actor(cast.pat)):
        with pytest.raises(AuditUnavailable):
            gate.release(actor=actor, version=version)


@pytest.mark.scenario("H2", "D10")
def test_unknown_foreign_and_refused_ids_look_the_same(cast, made):
    version = made(cast.alice, cast.pat_a)
    answers = set()
    for actor, key in itertools.product(
        (member_actor(cast.dora), member_actor(cast.reg), Actor(cast.quinn)), (version.record_id, uuid.uuid4(), "x")
    ):
        with pytest.raises(NotFound) as error:
            gate.locate(actor=actor, record_id=key)
        answers.add((error.value.http_status, error.value.code, error.value.user_message))
    assert len(answers) == 1


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, None), (5, 30), (-7, None), (10, 10_000), (61, 62)])
def test_ranges_are_exact_parts(cast, made, start, end):
    version = made(cast.alice, cast.pat_a)
    release = gate.release(actor=Actor(cast.pat), version=version, start=start, end=end)
    first = start if start >= 0 else len(NOTE) + start
    assert b"".join(release.chunks) == NOTE[first:end]
    assert release.size == len(NOTE) and release.is_partial is (len(NOTE[first:end]) < len(NOTE))


def test_a_range_outside_of_the_file_is_refused(cast, made):
    version = made(cast.alice, cast.pat_a)
    with pytest.raises(RangeNotSatisfiable) as error:
        gate.release(actor=Actor(cast.pat), version=version, start=len(NOTE))
    assert error.value.size == len(NOTE)


@pytest.mark.parametrize("damage", ["flip", "cut", "append", "swap", "missing", "empty"])
def test_damaged_bytes_are_never_shown(people, made, entries, damage):
    """No chain is needed here: the patient opens an own record."""
    version, other = made(people.alice, people.pat_a), made(people.alice, people.pat_a, data=NOTE + b"other\n")
    with all_tenants("test"):
        address = Epoch.objects.get(version=version).payload_blob
        second = Epoch.objects.get(version=other).payload_blob
    path, foreign = (blob_store()._path(name) for name in (address, second))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[60] ^= 1
    elif damage == "cut":
        data = data[:-1]
    elif damage == "append":
        data += b"x"
    elif damage == "swap":
        data = bytearray(foreign.read_bytes())
    elif damage == "empty":
        data = bytearray()
    path.write_bytes(data)
    if damage == "missing":
        path.unlink()
    with pytest.raises((RecordAltered, BlobMissing)):
        gate.release(actor=Actor(people.pat), version=version)
    last = entries(people.pat_a)[-1]
    assert (last.action, last.is_refused) == ("records.version.unreadable", True)
    from records.proofs import blobs_check, proof_state

    with all_tenants("test"):
        assert proof_state(version) == "altered"
        assert blobs_check() == [Epoch.objects.get(version=version).pk]


def test_a_large_file_that_breaks_half_way_stops_there(people, made, entries):
    data = b"row,%d\n" * 1
    data = b"".join(b"row,%07d\n" % n for n in range(400_000))
    version = made(people.alice, people.pat_a, name="rows.csv", data=data)
    with all_tenants("test"):
        path = blob_store()._path(Epoch.objects.get(version=version).payload_blob)
    stored = bytearray(path.read_bytes())
    stored[2 << 20] ^= 1
    path.write_bytes(stored)
    got = bytearray()
    release = gate.release(actor=Actor(people.pat), version=version)
    with pytest.raises(RecordAltered):
        for piece in release.chunks:
            got += piece
    assert data.startswith(bytes(got)) and len(got) <= 2 << 20
    assert entries(people.pat_a)[-1].action == "records.version.unreadable"


def test_a_download_stops_when_the_grant_is_stopped(cast, made, settle, settings):
    settings.RECORDS = {**settings.RECORDS, "recheck_bytes": 1 << 20}
    data = b"".join(b"row,%07d\n" % n for n in range(500_000))
    version = made(cast.alice, cast.pat_a, name="rows.csv", data=data)
    grant = share(cast, cast.dora)
    settle()
    chunks = gate.release(actor=member_actor(cast.dora), version=version).chunks
    got = len(next(chunks))
    with tenant(cast.a):
        services.grant_revoke(actor=Actor(cast.pat), grant=grant)
    with pytest.raises(NotFound):
        for piece in chunks:
            got += len(piece)
    assert got < len(data)


def test_a_digest_that_another_member_recorded_opens_nothing(cast, made, settle):
    """Under somebody else's lock the patient could not revoke, so only our own recording makes a grant active."""
    from chain.models import OutboxItem
    from chain.services import call_enqueue

    made(cast.alice, cast.pat_a)
    grant = share(cast, cast.dora)
    OutboxItem.objects.filter(ref=grant.record_ref).update(state="failed")
    call_enqueue(
        chain="MED",
        sender=bytes(cast.b.account_address),
        contract="Consents",
        function="record",
        args=[bytes(grant.digest), b"\x01" * 20],
        ref="copied",
    )
    settle()
    with tenant(cast.a):
        grant.refresh_from_db()
    assert grant.state != "active"
