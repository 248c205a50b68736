"""Keys of every organisation, person, registration and worker: made, sealed, used, rotated here and nowhere else.

root -> KEK of a tenant (or of the platform) -> private keys. Only chain keys leave, for the signer, as bytes.
"""

import hashlib
import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from django.db import IntegrityError, transaction
from django.utils import timezone

from chain import services as chain_services
from chain.gateway import address_of
from hospitals import sealing
from hospitals.errors import KeyUnavailable
from hospitals.models import KekVersion, KeyRecord, Membership, Organisation, Patient, User
from hospitals.types import KeyPurpose, OwnerType

SUITE = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
WORKER_ID = uuid.UUID(int=0)
DIRECTORY_CHAIN = "MED"
RESEAL_BATCH = 200


# --- making keys


def organisation_keys_create(organisation: Organisation) -> None:
    """Wrap, sign and chain account; the organisation row gets its address."""
    for purpose in (KeyPurpose.WRAP, KeyPurpose.SIGN):
        _create(OwnerType.ORGANISATION, organisation.pk, organisation.pk, purpose)
    if organisation.account_address is None:
        key = _create(OwnerType.ORGANISATION, organisation.pk, organisation.pk, KeyPurpose.CHAIN)
        organisation.account_address = key.address
        organisation.save(update_fields=["account_address"])


def organisation_chain_key_import(organisation: Organisation, private_key: bytes) -> None:
    """The regulator's account exists before the portal: it deployed the contracts."""
    key = _create(
        OwnerType.ORGANISATION, organisation.pk, organisation.pk, KeyPurpose.CHAIN, secret=int.from_bytes(private_key)
    )
    organisation.account_address = key.address
    organisation.save(update_fields=["account_address"])


def user_keys_create(user: User) -> None:
    for purpose in (KeyPurpose.WRAP, KeyPurpose.SIGN):
        _create(OwnerType.USER, user.pk, None, purpose)


def membership_chain_key_create(membership: Membership) -> bytes:
    """A new account for each stay; an address that left never returns."""
    key = _create(OwnerType.MEMBERSHIP, membership.pk, membership.hospital_id, KeyPurpose.CHAIN)
    return key.address


def membership_chain_key_import(membership: Membership, private_key: bytes) -> bytes:
    """An officer's account exists before the portal: the council was founded with its address."""
    secret = int.from_bytes(private_key)
    key = _create(OwnerType.MEMBERSHIP, membership.pk, membership.hospital_id, KeyPurpose.CHAIN, secret=secret)
    return key.address


def patient_keys_create(patient: Patient) -> KeyRecord:
    """The wrap key of the registration and the identity that signs its consents; returns the identity."""
    _create(OwnerType.PATIENT, patient.pk, patient.hospital_id, KeyPurpose.WRAP)
    return _create(OwnerType.PATIENT, patient.pk, patient.hospital_id, KeyPurpose.IDENTITY)


def key_rotate(owner: Any, purpose: str) -> tuple[KeyRecord, KeyRecord]:
    """Retire the current pair and make the next one; both. The old one still opens and verifies what it made."""
    owner_type, owner_id, hospital_id = _owner(owner)
    with transaction.atomic():
        old = _current(owner_type, owner_id, purpose)
        now = timezone.now()
        if KeyRecord.objects.filter(pk=old.pk, retired_at=None).update(retired_at=now, not_after=now) != 1:
            raise KeyUnavailable("The key was rotated at the same moment.")
        old.retired_at = old.not_after = now
        return old, _create(owner_type, owner_id, hospital_id, purpose, subject=old.subject)


def _create(
    owner_type: str,
    owner_id: uuid.UUID,
    hospital_id: uuid.UUID | None,
    purpose: str,
    *,
    secret: int | None = None,
    subject: bytes | None = None,
) -> KeyRecord:
    is_chain = purpose in (KeyPurpose.CHAIN, KeyPurpose.IDENTITY)
    curve = ec.SECP256K1() if is_chain else ec.SECP256R1()
    private = ec.derive_private_key(secret, curve) if secret else ec.generate_private_key(curve)
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    kid = hashlib.sha256(spki).digest()
    if is_chain:
        plain = private.private_numbers().private_value.to_bytes(32)
    else:
        plain = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    kek = sealing.current_kek(hospital_id)
    if subject is None:
        # One pseudonym for the keys of one owner, another for the consent identity: the directory links neither.
        siblings = KeyRecord.objects.filter(owner_type=owner_type, owner_id=owner_id).exclude(
            purpose=KeyPurpose.IDENTITY
        )
        subject = None if purpose == KeyPurpose.IDENTITY else siblings.values_list("subject", flat=True).first()
    row = KeyRecord(
        kid=kid,
        owner_type=owner_type,
        owner_id=owner_id,
        hospital_id=hospital_id,
        purpose=purpose,
        public_key=spki,
        address=address_of(plain) if is_chain else None,
        kek_version=kek.version,
        **({"subject": subject} if subject else {}),
    )
    row.private_sealed = _seal_private(row, kek, plain)
    row.save(force_insert=True)
    return row


# --- using keys


def wrap_kid(owner: Any) -> bytes:
    return _current_of(owner, KeyPurpose.WRAP).kid


def wrap_public_key(owner: Any) -> ec.EllipticCurvePublicKey:
    return _public(_current_of(owner, KeyPurpose.WRAP))


def public_spki(kid: bytes) -> bytes:
    return bytes(_row(kid).public_key)


def public_key(kid: bytes) -> ec.EllipticCurvePublicKey:
    return _public(_row(kid))


def sign_kid(owner: Any) -> bytes:
    return _current_of(owner, KeyPurpose.SIGN).kid


def unwrap(kid: bytes, blob: bytes, info: bytes) -> bytes:
    """Open an HPKE wrap made to this key; a retired key still opens what was wrapped to it."""
    purpose, private = _private(bytes(kid))
    if purpose != KeyPurpose.WRAP:
        raise KeyUnavailable("This key does not unwrap.")
    try:
        return SUITE.decrypt(blob, private, info)
    except (InvalidTag, ValueError) as error:
        raise KeyUnavailable("The wrapped key does not open: it was made for another key or record.") from error


def sign(kid: bytes, message: bytes) -> bytes:
    """64 bytes r||s, deterministic, low s. A retired key is refused."""
    row = _row(kid)
    if row.purpose != KeyPurpose.SIGN:
        raise KeyUnavailable("This key does not sign.")
    now = timezone.now()
    if row.retired_at or row.not_before > now or (row.not_after and row.not_after <= now):
        raise KeyUnavailable("This signing key is retired; sign with the current one.")
    _, private = _private(bytes(kid))
    r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32) + min(s, P256_ORDER - s).to_bytes(32)


def verify(kid: bytes, message: bytes, signature: bytes) -> bool:
    """True for a low-s signature by this key, also after its retirement."""
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    if s > P256_ORDER // 2:
        return False
    try:
        _public(_row(kid)).verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def identity_key(patient: Patient) -> bytes:
    """The custodial consent identity of a registration, for signing the patient's own choice."""
    return _open_private(_current(OwnerType.PATIENT, patient.pk, KeyPurpose.IDENTITY))


def chain_signing_key(address: bytes) -> bytes:
    """What the sender signs transactions with."""
    row = KeyRecord.objects.filter(address=bytes(address), purpose__in=[KeyPurpose.CHAIN, KeyPurpose.IDENTITY]).first()
    if row is None:
        raise KeyUnavailable("No key is kept here for that account.")
    return _open_private(row)


def worker_kid() -> bytes:
    try:
        return _current(OwnerType.WORKER, WORKER_ID, KeyPurpose.WRAP).kid
    except KeyUnavailable:
        pass
    try:
        with transaction.atomic():
            return _create(OwnerType.WORKER, WORKER_ID, None, KeyPurpose.WRAP).kid
    except IntegrityError:  # another process made it first
        return _current(OwnerType.WORKER, WORKER_ID, KeyPurpose.WRAP).kid


def worker_public_key() -> ec.EllipticCurvePublicKey:
    """The web tier wraps staging keys to the worker and cannot read them back by this call."""
    return public_key(worker_kid())


def seal_text(*, hospital_id: uuid.UUID | None, purpose: str, row_id: Any, text: str) -> bytes:
    """A text at rest under the tenant's KEK, bound to its row."""
    return sealing.seal_blob(hospital_id, purpose, row_id, text.encode())


def open_text(*, hospital_id: uuid.UUID | None, purpose: str, row_id: Any, blob: bytes) -> str:
    return sealing.open_blob(hospital_id, purpose, row_id, blob).decode()


def kek_rotate(organisation: Organisation | None, *, is_resumed: bool = False) -> int:
    """A new KEK version, then every private key sealed anew under it, batch by batch; no blob is touched.

    Killed half-way, run again with `is_resumed`: rows of older versions are found and moved. Old versions stay
    for sealed texts until nothing uses them.
    """
    hospital_id = organisation.pk if organisation else None
    kek = sealing.current_kek(hospital_id) if is_resumed else sealing.kek_create(hospital_id)
    moved = 0
    while True:
        with transaction.atomic():
            rows = list(
                KeyRecord.objects.select_for_update().filter(hospital_id=hospital_id, kek_version__lt=kek.version)[
                    :RESEAL_BATCH
                ]
            )
            for row in rows:
                plain = _open_private(row)
                row.kek_version = kek.version
                row.private_sealed = _seal_private(row, kek, plain)
                row.save(update_fields=["kek_version", "private_sealed"])
        moved += len(rows)
        if not rows:
            KekVersion.objects.filter(hospital_id=hospital_id, version__lt=kek.version, retired_at=None).update(
                retired_at=timezone.now()
            )
            return moved


# --- the public directory


def directory_body(row: KeyRecord) -> bytes:
    """What a directory leaf commits to; the owner is a pseudonym."""
    return rfc8785.dumps(
        {
            "v": 1,
            "subject": bytes(row.subject).hex(),
            "kid": bytes(row.kid).hex(),
            "purpose": str(row.purpose),
            "not_before": row.not_before.isoformat(),
            "not_after": row.not_after.isoformat() if row.not_after else None,
        }
    )


def directory_leaf(row: KeyRecord) -> bytes:
    return hashlib.sha256(b"\0" + bytes(row.directory_salt) + hashlib.sha256(directory_body(row)).digest()).digest()


def directory_publish(organisation: Organisation, owners: list[Any] | None = None) -> int:
    """Anchor the keys of an organisation (or of the given owners) that are not in the anchored directory yet."""
    rows = KeyRecord.objects.filter(directory_ref="")
    if owners is None:
        rows = rows.filter(hospital=organisation)
    else:
        rows = rows.filter(owner_id__in=[owner.pk for owner in owners])
    count = 0
    for row in rows.exclude(purpose=KeyPurpose.IDENTITY):  # the chain itself holds only a commitment to it
        row.directory_ref = f"key:{bytes(row.kid).hex()[:58]}"
        row.save(update_fields=["directory_ref"])
        chain_services.anchor_enqueue(
            chain=DIRECTORY_CHAIN,
            sender=bytes(organisation.account_address),
            leaf=directory_leaf(row),
            ref=row.directory_ref,
            kind="KeyDirectory",
        )
        count += 1
    return count


def directory_end(organisation: Organisation, rows: Iterable[KeyRecord]) -> None:
    """Anchor that published keys are retired: the same entry with its end."""
    for row in rows:
        if row.directory_ref and row.not_after:
            chain_services.anchor_enqueue(
                chain=DIRECTORY_CHAIN,
                sender=bytes(organisation.account_address),
                leaf=directory_leaf(row),
                ref=f"keyend:{bytes(row.kid).hex()[:57]}",
                kind="KeyDirectory",
            )


# --- inside


def _owner(owner: Any) -> tuple[str, uuid.UUID, uuid.UUID | None]:
    if isinstance(owner, Organisation):
        return OwnerType.ORGANISATION, owner.pk, owner.pk
    if isinstance(owner, User):
        return OwnerType.USER, owner.pk, None
    if isinstance(owner, Membership):
        return OwnerType.USER, owner.user_id, None
    if isinstance(owner, Patient):
        return OwnerType.PATIENT, owner.pk, owner.hospital_id
    raise KeyUnavailable(f"{type(owner).__name__} owns no keys.")


def _current_of(owner: Any, purpose: str) -> KeyRecord:
    owner_type, owner_id, _ = _owner(owner)
    if owner_type == OwnerType.PATIENT and purpose == KeyPurpose.SIGN:
        owner_type, owner_id = OwnerType.USER, owner.user_id
    return _current(owner_type, owner_id, purpose)


def _current(owner_type: str, owner_id: uuid.UUID, purpose: str) -> KeyRecord:
    row = KeyRecord.objects.filter(
        owner_type=owner_type, owner_id=owner_id, purpose=purpose, retired_at__isnull=True
    ).first()
    if row is None:
        raise KeyUnavailable(f"There is no {purpose} key for this {owner_type}.")
    return row


def _row(kid: bytes) -> KeyRecord:
    row = KeyRecord.objects.filter(kid=bytes(kid)).first()
    if row is None:
        raise KeyUnavailable("The key is not in the key store.")
    return row


def _public(row: KeyRecord) -> ec.EllipticCurvePublicKey:
    return serialization.load_der_public_key(bytes(row.public_key))


def _private_context(row: KeyRecord, version: int) -> tuple[bytes, bytes]:
    subject = f"{row.owner_type}:{row.owner_id}|{row.purpose}"
    aad = f"{row.hospital_id or 'platform'}|{subject}|{bytes(row.kid).hex()}|{version}"
    return subject.encode(), aad.encode()


def _seal_private(row: KeyRecord, kek: sealing.Kek, plain: bytes) -> bytes:
    info, aad = _private_context(row, kek.version)
    return sealing.seal(kek.key, info, aad, plain)


def _open_private(row: KeyRecord) -> bytes:
    info, aad = _private_context(row, row.kek_version)
    return sealing.open_(row.hospital_id, row.kek_version, info, aad, bytes(row.private_sealed))


@lru_cache(maxsize=1024)
def _private(kid: bytes) -> tuple[str, ec.EllipticCurvePrivateKey]:
    """Purpose and key of a pair; both are fixed for ever by the kid."""
    row = _row(kid)
    return row.purpose, serialization.load_der_private_key(_open_private(row), None)


def forget() -> None:
    """Drop the keys this process remembers, as after a restart."""
    _private.cache_clear()
    sealing.forget()
