"""Formats of sealed records, byte for byte. Pure: no Django, no files, no network.

Every label ends in a zero byte and every number is u32 big-endian, so no two inputs of a hash or a
key derivation can be read in two ways. The golden vectors in tests/records/vectors freeze all of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import rfc8785
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import AlreadyFinalized, InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SUITE = 1  # Cobblestone-256 payload, HPKE P-256 wraps, ECDSA P-256 manifests
DEK_BYTES = 32
HEADER_BYTES = 56
CHUNK_BYTES = 16_384
SEALED_CHUNK_BYTES = CHUNK_BYTES + 16
COMMITMENT_OFFSET = 24
WRAP_BYTES = 113
META_BLOCK_BYTES = 4_096
CT_LEAF_BYTES = 1 << 20
NO_GRANT = bytes(16)

PAYLOAD = b"payload\0"
META = b"meta\0"

AUTHORED = "authored"
EPOCH = "epoch"

_INFO_PREFIX = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"
_HPKE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_BUFFER_BYTES = 1 << 20


class Unauthentic(Exception):
    """Bytes that do not open under this key and context: altered, cut, moved or swapped."""


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def length_prefixed(value: bytes) -> bytes:
    return u32(len(value)) + value


# Contexts and keys


def blob_context(*, tenant: bytes, record: bytes, version: int, epoch: int, part: bytes) -> bytes:
    """What a sealed object is bound to; moved anywhere else it does not open."""
    return b"medportal/blob/v1\0" + _id16(tenant) + _id16(record) + u32(version) + u32(epoch) + part


def wrap_info(*, tenant: bytes, record: bytes, version: int, epoch: int, kid: bytes, grant: bytes = NO_GRANT) -> bytes:
    if len(kid) != 32:
        raise ValueError("a key id has 32 bytes")
    return b"medportal/wrap/v1\0" + _id16(tenant) + _id16(record) + u32(version) + u32(epoch) + kid + _id16(grant)


def staging_info(*, tenant: bytes, upload: bytes, kid: bytes) -> bytes:
    """Binds a staging key to its upload row, so that bytes cannot be moved to another patient's upload."""
    return b"medportal/staging/v1\0" + _id16(tenant) + _id16(upload) + kid


def staging_context(staging_id: bytes) -> bytes:
    return b"medportal/staging-blob/v1\0" + _id16(staging_id)


def subkey(dek: bytes, label: bytes) -> bytes:
    """The key of one object (payload, meta) of a version; the data key itself seals nothing."""
    return HKDFExpand(hashes.SHA512(), 32, b"medportal/sub/v1\0" + label).derive(dek)


def dek_generate() -> bytes:
    return os.urandom(DEK_BYTES)


@lru_cache(maxsize=4096)
def public_key_of(spki: bytes) -> ec.EllipticCurvePublicKey:
    """A P-256 point that was checked to be one."""
    key = serialization.load_der_public_key(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 public key")
    return key


def wrap(public_key: ec.EllipticCurvePublicKey, key: bytes, info: bytes) -> bytes:
    """HPKE base mode: 65 bytes encapsulated key, 48 bytes sealed key."""
    return _HPKE.encrypt(key, public_key, info)


def unwrap(private_key: ec.EllipticCurvePrivateKey, blob: bytes, info: bytes) -> bytes:
    try:
        return _HPKE.decrypt(blob, private_key, info)
    except (InvalidTag, ValueError) as error:
        raise Unauthentic("the wrapped key does not open") from error


# Digests and commitments


def plaintext_commitment(salt: bytes, plaintext_digest: bytes) -> bytes:
    """Salted, so that nobody can try likely contents against what is signed."""
    return hmac.digest(salt, plaintext_digest, "sha256")


def leaf_of(leaf_salt: bytes, epoch_manifest: bytes) -> bytes:
    return hashlib.sha256(b"\0" + leaf_salt + hashlib.sha256(epoch_manifest).digest()).digest()


def store_identifier(leaf_salt: bytes) -> str:
    """Where an anchor envelope lies in RecordStore; nobody without the salt can tell whose it is."""
    return hashlib.sha256(b"medportal/store/v1\0" + leaf_salt).hexdigest()


def wraps_digest(wraps: Iterable[tuple[bytes, bytes, bytes]]) -> bytes:
    """Digest of (kid, grant, blob) rows in the order of their bytes."""
    digest = hashlib.sha256()
    for row in sorted(
        length_prefixed(kid) + length_prefixed(grant) + length_prefixed(blob) for kid, grant, blob in wraps
    ):
        digest.update(row)
    return digest.digest()


def digests_equal(left: bytes, right: bytes) -> bool:
    return hmac.compare_digest(left, right)


class MerkleStream:
    """RFC 6962 root over 1 MiB leaves of a stream, in constant memory."""

    def __init__(self) -> None:
        self._leaf = hashlib.sha256(b"\0")
        self._filled = 0
        self._stack: list[tuple[int, bytes]] = []

    def update(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while len(view):
            room = CT_LEAF_BYTES - self._filled
            piece = view[:room]
            self._leaf.update(piece)
            self._filled += len(piece)
            view = view[len(piece) :]
            if self._filled == CT_LEAF_BYTES:
                self._close_leaf()

    def root(self) -> bytes:
        if self._filled or not self._stack:
            self._close_leaf()
        digest = self._stack.pop()[1]
        while self._stack:
            digest = _merkle_node(self._stack.pop()[1], digest)
        return digest

    def _close_leaf(self) -> None:
        height, digest = 0, self._leaf.digest()
        while self._stack and self._stack[-1][0] == height:
            digest = _merkle_node(self._stack.pop()[1], digest)
            height += 1
        self._stack.append((height, digest))
        self._leaf, self._filled = hashlib.sha256(b"\0"), 0


def _merkle_node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


# Manifests and signatures


def canonical(document: dict) -> bytes:
    """RFC 8785 bytes of a manifest."""
    return rfc8785.dumps(document)


def manifest_load(raw: bytes) -> dict:
    """The manifest, or Unauthentic when its bytes are not the one canonical form of what they say."""
    try:
        document = json.loads(raw)
        if not isinstance(document, dict) or canonical(document) != raw:
            raise Unauthentic("the manifest is not in canonical form")
    except (ValueError, RecursionError, rfc8785.CanonicalizationError) as error:
        raise Unauthentic("the manifest is not in canonical form") from error
    return document


def signature_input(layer: str, manifest: bytes) -> bytes:
    return b"medportal/sig/v1\0" + layer.encode("ascii") + b"\0" + hashlib.sha256(manifest).digest()


def signature_verify(spki: bytes, layer: str, manifest: bytes, signature: bytes) -> None:
    """Raises Unauthentic unless `signature` is the one low-s r||s form over this layer of the manifest."""
    if len(signature) != 64:
        raise Unauthentic("a signature has 64 bytes")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not 0 < r < _P256_ORDER or not 0 < s <= _P256_ORDER // 2:
        raise Unauthentic("the signature is not in canonical form")
    try:
        public_key_of(spki).verify(
            encode_dss_signature(r, s), signature_input(layer, manifest), ec.ECDSA(hashes.SHA256())
        )
    except InvalidSignature as error:
        raise Unauthentic("the signature does not fit the manifest") from error


# Small objects


def meta_seal(dek: bytes, context: bytes, document: dict) -> bytes:
    """Metadata padded to 4 KiB steps, so that its size tells nothing about file names or tags."""
    body = length_prefixed(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())
    body += bytes(-len(body) % META_BLOCK_BYTES)
    return seal_bytes(subkey(dek, META), context, body)


def meta_open(dek: bytes, context: bytes, sealed: bytes) -> dict:
    body = open_bytes(subkey(dek, META), context, sealed)
    size = int.from_bytes(body[:4], "big")
    return json.loads(body[4 : 4 + size])


def seal_bytes(key: bytes, context: bytes, plaintext: bytes) -> bytes:
    encryptor = Cobblestone256Encryptor(key, context)
    return encryptor.update(plaintext) + encryptor.finalize()


def open_bytes(key: bytes, context: bytes, sealed: bytes) -> bytes:
    decryptor = Cobblestone256Decryptor(key, context)
    try:
        return decryptor.update(sealed) + decryptor.finalize()
    except (InvalidTag, AlreadyFinalized) as error:
        raise Unauthentic("the sealed object does not open") from error


# Streams


@dataclass(frozen=True)
class SealedDigest:
    """What is known about a sealed payload once its last byte is written."""

    header: bytes
    ciphertext_digest: bytes
    ciphertext_root: bytes
    size: int


class SealStream:
    """Seals a stream piece by piece into `write`, hashing the ciphertext on its way out."""

    def __init__(
        self, key: bytes, context: bytes, write: Callable[[memoryview | bytes], object], *, is_hashed: bool = True
    ) -> None:
        self._encryptor = Cobblestone256Encryptor(key, context)
        self._write = write
        self._is_hashed = is_hashed
        self._digest = hashlib.sha256()
        self._merkle = MerkleStream()
        self._header = b""
        self._buffer = bytearray()
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        need = len(data) + len(data) // 1024 + 16_456
        if len(self._buffer) < need:
            self._buffer = bytearray(need)
        written = self._encryptor.update_into(data, self._buffer)
        if written:
            self._out(memoryview(self._buffer)[:written])

    def finalize(self) -> SealedDigest:
        self._out(self._encryptor.finalize())
        return SealedDigest(self._header, self._digest.digest(), self._merkle.root(), self.size)

    def _out(self, data: bytes | memoryview) -> None:
        if len(self._header) < HEADER_BYTES:
            self._header += bytes(data[: HEADER_BYTES - len(self._header)])
        if self._is_hashed:
            self._digest.update(data)
            self._merkle.update(data)
        self.size += len(data)
        self._write(data)


def sealed_size(plaintext_size: int) -> int:
    return HEADER_BYTES + plaintext_size + 16 * (plaintext_size // CHUNK_BYTES + 1)


class RangeReader:
    """Any part of a sealed object, out of authenticated 16 KiB chunks only.

    `cryptography` has no seeking reader yet (pyca/cryptography#15322); this follows
    c2sp.org/chunked-encryption. The last chunk is opened first: until then the total size is a claim.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], sealed: int, key: bytes, context: bytes) -> None:
        self._read_at = read_at
        header = read_at(0, HEADER_BYTES)
        if len(header) != HEADER_BYTES:
            raise Unauthentic("the sealed object is cut off")
        derived = HKDFExpand(hashes.SHA512(), 76, _INFO_PREFIX + header[:COMMITMENT_OFFSET] + context).derive(key)
        if not hmac.compare_digest(derived[44:], header[COMMITMENT_OFFSET:]):
            raise Unauthentic("the key does not belong to the sealed object")
        self._aead = AESGCM(derived[:32])
        self._base = int.from_bytes(derived[32:44], "big")
        last, tail = divmod(sealed - HEADER_BYTES, SEALED_CHUNK_BYTES)
        if tail < 16:
            raise Unauthentic("the sealed object is cut off")
        self._last = last
        self._tail = self._open_run(last, 1, tail)
        self.size = last * CHUNK_BYTES + len(self._tail)

    def chunks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Plaintext [start, end) in pieces of up to 1 MiB."""
        end = self.size if end is None else min(end, self.size)
        while start < end:
            chunk, skip = divmod(start, CHUNK_BYTES)
            if chunk == self._last:
                yield self._tail[skip : end - chunk * CHUNK_BYTES]
                return
            run = min(_BUFFER_BYTES // CHUNK_BYTES, (end - 1) // CHUNK_BYTES - chunk + 1, self._last - chunk)
            piece = self._open_run(chunk, run, run * SEALED_CHUNK_BYTES)
            stop = min(len(piece), end - chunk * CHUNK_BYTES)
            yield piece if skip == 0 and stop == len(piece) else piece[skip:stop]
            start = chunk * CHUNK_BYTES + stop

    def read(self, start: int, end: int) -> bytes:
        return b"".join(self.chunks(start, end))

    def _open_run(self, first: int, count: int, length: int) -> bytes:
        sealed = self._read_at(HEADER_BYTES + first * SEALED_CHUNK_BYTES, length)
        if len(sealed) != length:
            raise Unauthentic("the sealed object is cut off")
        view, opened = memoryview(sealed), []
        try:
            for index in range(count):
                nonce = (self._base ^ (first + index)).to_bytes(12, "big")
                piece = view[index * SEALED_CHUNK_BYTES : (index + 1) * SEALED_CHUNK_BYTES]
                opened.append(self._aead.decrypt(nonce, piece, None))
        except InvalidTag as error:
            raise Unauthentic("a part of the sealed object was altered") from error
        return opened[0] if count == 1 else b"".join(opened)


def _id16(value: bytes) -> bytes:
    if len(value) != 16:
        raise ValueError("an id has 16 bytes")
    return value
