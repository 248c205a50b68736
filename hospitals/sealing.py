"""KEK versions and what is sealed directly under them: private keys and short texts."""

import secrets
import uuid
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db import IntegrityError, transaction

from hospitals import roots
from hospitals.errors import KeyUnavailable
from hospitals.models import KekVersion

LABEL = b"medportal/seal/v1\0"


@dataclass(frozen=True)
class Kek:
    version: int
    key: bytes = field(repr=False)


def current_kek(hospital_id: uuid.UUID | None) -> Kek:
    """The newest version; the first use of a tenant makes version 1. Read each time: what seals must be stored."""
    row = KekVersion.objects.filter(hospital_id=hospital_id).order_by("-version").first()
    return _unwrap(row) if row else kek_create(hospital_id)


def kek_of(hospital_id: uuid.UUID | None, version: int) -> Kek:
    row = KekVersion.objects.filter(hospital_id=hospital_id, version=version).first()
    if row is None:
        raise KeyUnavailable(f"Version {version} of the key-encryption key is gone.")
    return _unwrap(row)


def kek_create(hospital_id: uuid.UUID | None) -> Kek:
    root = roots.root(has_keys=KekVersion.objects.exists())
    last = KekVersion.objects.filter(hospital_id=hospital_id).order_by("-version").first()
    version = last.version + 1 if last else 1
    key = secrets.token_bytes(32)
    wrapped = root.wrap(_key_id(hospital_id), key, str(version).encode())
    try:
        with transaction.atomic():
            KekVersion.objects.create(hospital_id=hospital_id, version=version, wrapped=wrapped)
    except IntegrityError:  # another process made this version first: use that one
        return kek_of(hospital_id, version)
    return Kek(version, key)


def seal(kek: bytes, info: bytes, aad: bytes, plain: bytes) -> bytes:
    aead_nonce = secrets.token_bytes(12)
    return aead_nonce + AESGCM(_derive(kek, info)).encrypt(aead_nonce, plain, aad)


def open_(hospital_id: uuid.UUID | None, version: int, info: bytes, aad: bytes, blob: bytes) -> bytes:
    """Lists open many texts, so an opening KEK is remembered; when it does not fit, the stored one decides."""
    try:
        return _decrypt(_remembered(hospital_id, version), info, aad, blob)
    except InvalidTag:
        _remembered.cache_clear()
    try:
        return _decrypt(_remembered(hospital_id, version), info, aad, blob)
    except InvalidTag:
        raise KeyUnavailable("A sealed value does not open: it was changed or belongs to another row.") from None


def seal_blob(hospital_id: uuid.UUID | None, purpose: str, row_id: Any, plain: bytes) -> bytes:
    """u32 KEK version || sealed bytes, bound to tenant, purpose and row."""
    kek = current_kek(hospital_id)
    info, aad = _blob_context(hospital_id, purpose, row_id, kek.version)
    return kek.version.to_bytes(4) + seal(kek.key, info, aad, plain)


def open_blob(hospital_id: uuid.UUID | None, purpose: str, row_id: Any, blob: bytes) -> bytes:
    blob = bytes(blob)
    version = int.from_bytes(blob[:4])
    info, aad = _blob_context(hospital_id, purpose, row_id, version)
    return open_(hospital_id, version, info, aad, blob[4:])


def _blob_context(hospital_id: uuid.UUID | None, purpose: str, row_id: Any, version: int) -> tuple[bytes, bytes]:
    aad = f"{hospital_id or 'platform'}|{purpose}|{row_id}|{version}"
    return f"blob|{purpose}|{row_id}".encode(), aad.encode()


def _derive(kek: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=LABEL + info).derive(kek)


def _key_id(hospital_id: uuid.UUID | None) -> str:
    return f"kek/{hospital_id or 'platform'}"


def _decrypt(kek: bytes, info: bytes, aad: bytes, blob: bytes) -> bytes:
    if len(blob) < 28:
        raise InvalidTag
    return AESGCM(_derive(kek, info)).decrypt(blob[:12], blob[12:], aad)


@lru_cache(maxsize=256)
def _remembered(hospital_id: uuid.UUID | None, version: int) -> bytes:
    return kek_of(hospital_id, version).key


def _unwrap(row: KekVersion) -> Kek:
    return Kek(row.version, _unwrapped(row.pk, row.hospital_id, row.version, bytes(row.wrapped)))


@lru_cache(maxsize=256)
def _unwrapped(row_id: uuid.UUID, hospital_id: uuid.UUID | None, version: int, wrapped: bytes) -> bytes:
    return roots.root(has_keys=True).unwrap(_key_id(hospital_id), wrapped, str(version).encode())


def forget() -> None:
    """Drop what this process remembers, as after a restart."""
    _remembered.cache_clear()
    _unwrapped.cache_clear()
