"""Formats byte for byte, and that nothing but the right bytes under the right key ever opens."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from records import crypto

VECTORS = json.loads((Path(__file__).parent / "vectors" / "formats.json").read_text())
KEY, CONTEXT = bytes(range(32)), b"context"
EDGES = [0, 1, 15, 16, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 65_536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]
# Sizes around the chunk edges are where a wrong count shows.
sizes = st.one_of(
    st.integers(0, 40),
    st.integers(1, 4).flatmap(lambda k: st.integers(k * 16_384 - 2, k * 16_384 + 2)),
    st.integers(0, 70_000),
)


def plain(size):
    return (hashlib.sha256(size.to_bytes(8, "big")).digest() * (size // 32 + 1))[:size]


def reader_of(sealed, key=KEY, context=CONTEXT):
    return crypto.RangeReader(lambda at, length: sealed[at : at + length], len(sealed), key, context)


def private_key():
    return ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())


@pytest.mark.parametrize("size", EDGES)
def test_what_was_sealed_opens_at_every_chunk_edge(size):
    data = plain(size)
    sealed = crypto.seal_bytes(KEY, CONTEXT, data)
    assert len(sealed) == crypto.sealed_size(size)
    assert crypto.open_bytes(KEY, CONTEXT, sealed) == data
    assert b"".join(reader_of(sealed).chunks()) == data
    assert reader_of(sealed).size == size


@settings(max_examples=60, deadline=None)
@given(size=sizes, step=st.integers(1, 70_000))
def test_the_feeding_of_pieces_does_not_matter(size, step):
    data, out = plain(size), bytearray()
    seal = crypto.SealStream(KEY, CONTEXT, out.extend)
    for at in range(0, size, step):
        seal.update(memoryview(data)[at : at + step])
    digest = seal.finalize()
    assert crypto.open_bytes(KEY, CONTEXT, bytes(out)) == data
    assert digest.ciphertext_digest == hashlib.sha256(out).digest()
    assert digest.header == bytes(out[:56])
    assert digest.size == len(out)
    assert digest.ciphertext_root == tree_root(bytes(out))


@settings(max_examples=150, deadline=None)
@given(size=sizes, data=st.data())
def test_a_range_is_exactly_that_part(size, data):
    content = plain(size)
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, size + 50))
    assert reader_of(crypto.seal_bytes(KEY, CONTEXT, content)).read(start, end) == content[start:end]


@settings(max_examples=150, deadline=None)
@given(size=sizes, data=st.data())
def test_one_flipped_bit_is_refused(size, data):
    sealed = bytearray(crypto.seal_bytes(KEY, CONTEXT, plain(size)))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(crypto.Unauthentic):
        crypto.open_bytes(KEY, CONTEXT, bytes(sealed))
    with pytest.raises(crypto.Unauthentic):
        list(reader_of(bytes(sealed)).chunks())


@settings(max_examples=150, deadline=None)
@given(size=sizes, data=st.data())
def test_a_truncated_object_is_refused_before_its_size_is_told(size, data):
    sealed = crypto.seal_bytes(KEY, CONTEXT, plain(size))
    cut = data.draw(st.integers(0, len(sealed) - 1))
    with pytest.raises(crypto.Unauthentic):
        reader_of(sealed[:cut])
    with pytest.raises(crypto.Unauthentic):
        crypto.open_bytes(KEY, CONTEXT, sealed[:cut])


@pytest.mark.parametrize("cut", [56 + 16_400, 56 + 2 * 16_400, 56, 55, 0])
def test_a_cut_at_a_chunk_edge_is_refused(cut):
    sealed = crypto.seal_bytes(KEY, CONTEXT, plain(3 * 16_384))
    with pytest.raises(crypto.Unauthentic):
        reader_of(sealed[:cut])


@pytest.mark.parametrize("size", [0, 10, 16_384, 40_000])
def test_appended_bytes_are_refused(size):
    sealed = crypto.seal_bytes(KEY, CONTEXT, plain(size))
    for more in (b"\0", b"\0" * 16, b"\0" * 16_400, sealed[56:]):
        with pytest.raises(crypto.Unauthentic):
            reader_of(sealed + more)


def test_swapped_and_repeated_chunks_are_refused():
    sealed = crypto.seal_bytes(KEY, CONTEXT, plain(3 * 16_384 + 7))
    chunk = [sealed[56 + k * 16_400 : 56 + (k + 1) * 16_400] for k in range(4)]
    for order in ([1, 0, 2, 3], [0, 0, 2, 3], [0, 2, 1, 3]):
        moved = sealed[:56] + b"".join(chunk[k] for k in order)
        with pytest.raises(crypto.Unauthentic):
            list(reader_of(moved).chunks())


def test_no_byte_past_the_last_authentic_piece_is_given_out():
    data = plain(3 << 20)
    sealed = bytearray(crypto.seal_bytes(KEY, CONTEXT, data))
    sealed[56 + 16_400 * 100] ^= 1
    got = bytearray()
    with pytest.raises(crypto.Unauthentic):
        for piece in reader_of(bytes(sealed)).chunks():
            got += piece
    assert data.startswith(got) and len(got) <= 100 * 16_384


def test_another_key_or_context_opens_nothing():
    sealed = crypto.seal_bytes(KEY, CONTEXT, plain(100))
    for key, context in ((bytes(32), CONTEXT), (KEY, b"other")):
        with pytest.raises(crypto.Unauthentic):
            reader_of(sealed, key, context)


def test_one_ciphertext_opens_under_one_key_only():
    """Plain GCM can be forged to open under two keys; the commitment in the header forbids it."""
    other = bytes(32)
    sealed = crypto.seal_bytes(KEY, CONTEXT, b"for one reader")
    forged = crypto.seal_bytes(other, CONTEXT, b"for the other")[:56] + sealed[56:]
    for key in (KEY, other):
        with pytest.raises(crypto.Unauthentic):
            reader_of(forged, key)


def test_a_retry_never_uses_a_key_and_nonce_twice():
    headers = {crypto.seal_bytes(KEY, CONTEXT, b"same")[:24] for _ in range(500)}
    assert len(headers) == 500


PLACE = {"tenant": bytes(16), "record": bytes([1]) * 16, "version": 1, "epoch": 1}
MOVES = [("tenant", bytes([9]) * 16), ("record", bytes([9]) * 16), ("version", 2), ("epoch", 2)]


@pytest.mark.parametrize(("name", "value"), MOVES)
def test_a_blob_moved_elsewhere_does_not_open(name, value):
    sealed = crypto.seal_bytes(KEY, crypto.blob_context(**PLACE, part=crypto.PAYLOAD), b"x")
    with pytest.raises(crypto.Unauthentic):
        crypto.open_bytes(KEY, crypto.blob_context(**{**PLACE, name: value}, part=crypto.PAYLOAD), sealed)
    with pytest.raises(crypto.Unauthentic):
        crypto.open_bytes(KEY, crypto.blob_context(**PLACE, part=crypto.META), sealed)


@pytest.mark.parametrize(("name", "value"), [*MOVES, ("kid", bytes([9]) * 32), ("grant", bytes([9]) * 16)])
def test_a_wrap_moved_elsewhere_does_not_open(name, value):
    where = {**PLACE, "kid": bytes(32), "grant": crypto.NO_GRANT}
    private = private_key()
    blob = crypto.wrap(private.public_key(), KEY, crypto.wrap_info(**where))
    assert len(blob) == crypto.WRAP_BYTES
    assert crypto.unwrap(private, blob, crypto.wrap_info(**where)) == KEY
    with pytest.raises(crypto.Unauthentic):
        crypto.unwrap(private, blob, crypto.wrap_info(**{**where, name: value}))


def test_a_wrap_opens_for_its_recipient_only():
    where = crypto.wrap_info(**PLACE, kid=bytes(32))
    blob = crypto.wrap(private_key().public_key(), KEY, where)
    with pytest.raises(crypto.Unauthentic):
        crypto.unwrap(ec.generate_private_key(ec.SECP256R1()), blob, where)


def test_objects_of_one_version_have_keys_of_their_own():
    assert len({crypto.subkey(KEY, crypto.PAYLOAD), crypto.subkey(KEY, crypto.META), KEY}) == 3


@pytest.mark.parametrize("size", [10, 3_000, 4_090, 4_092, 4_093, 9_000])
def test_metadata_hides_its_length_in_steps_of_4_kib(size):
    document = {"filename": "x" * size}
    sealed = crypto.meta_seal(KEY, CONTEXT, document)
    assert crypto.meta_open(KEY, CONTEXT, sealed) == document
    plaintext = len(crypto.open_bytes(crypto.subkey(KEY, crypto.META), CONTEXT, sealed))
    assert plaintext % 4_096 == 0


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b"[1]",
        b"",
        b"{",
        b'{"a":"\\u0061"}',
    ],
)
def test_a_manifest_has_one_form(raw):
    with pytest.raises(crypto.Unauthentic):
        crypto.manifest_load(raw)


def test_only_the_low_signature_over_the_right_layer_counts():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    private = private_key()
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    manifest = crypto.canonical({"v": 1})
    message = crypto.signature_input(crypto.EPOCH, manifest)
    r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
    order = crypto._P256_ORDER
    low = min(s, order - s)
    good = r.to_bytes(32, "big") + low.to_bytes(32, "big")
    crypto.signature_verify(spki, crypto.EPOCH, manifest, good)
    high = r.to_bytes(32, "big") + (order - low).to_bytes(32, "big")
    for layer, text, signature in [
        (crypto.EPOCH, manifest, high),
        (crypto.AUTHORED, manifest, good),
        (crypto.EPOCH, crypto.canonical({"v": 2}), good),
        (crypto.EPOCH, manifest, good[:-1]),
        (crypto.EPOCH, manifest, bytes(64)),
    ]:
        with pytest.raises(crypto.Unauthentic):
            crypto.signature_verify(spki, layer, text, signature)


def tree_root(data):
    """RFC 6962 by its definition, to compare with the streaming one."""
    leaves = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)] or [b""]

    def node(part):
        if len(part) == 1:
            return hashlib.sha256(b"\0" + part[0]).digest()
        split = 1 << ((len(part) - 1).bit_length() - 1)
        return hashlib.sha256(b"\1" + node(part[:split]) + node(part[split:])).digest()

    return node(leaves)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20, (5 << 20) + 17])
def test_the_streamed_tree_is_the_defined_one(size):
    data, stream = plain(size), crypto.MerkleStream()
    for at in range(0, size, 300_007):
        stream.update(data[at : at + 300_007])
    assert stream.root() == tree_root(data)


class TestGolden:
    """Frozen bytes: a change here means that old records no longer open or verify."""

    def test_contexts_and_derivations(self):
        v = VECTORS["derive"]
        dek, tenant, record = (bytes.fromhex(v[name]) for name in ("dek", "tenant", "record"))
        place = {"tenant": tenant, "record": record, "version": v["version"], "epoch": v["epoch"]}
        kid, grant = bytes.fromhex(v["kid"]), bytes.fromhex(v["grant"])
        assert crypto.blob_context(**place, part=crypto.PAYLOAD).hex() == v["ctx_payload"]
        assert crypto.blob_context(**place, part=crypto.META).hex() == v["ctx_meta"]
        assert crypto.subkey(dek, crypto.PAYLOAD).hex() == v["sub_payload"]
        assert crypto.wrap_info(**place, kid=kid, grant=grant).hex() == v["wrap_info"]
        assert crypto.leaf_of(bytes.fromhex(v["leaf_salt"]), v["manifest"].encode()).hex() == v["leaf"]
        assert crypto.signature_input("authored", v["manifest"].encode()).hex() == v["sig_input"]
        assert crypto.plaintext_commitment(dek, hashlib.sha256(b"abc").digest()).hex() == v["pt_commit"]
        assert crypto.wraps_digest([(kid, grant, b"w" * 113), (dek, bytes(16), b"v" * 113)]).hex() == v["wraps_digest"]

    def test_sealed_objects_still_open(self):
        v = VECTORS["sealed"]
        key, context = bytes.fromhex(v["key"]), bytes.fromhex(v["context"])
        assert crypto.open_bytes(key, context, bytes.fromhex(v["sealed"])) == bytes.fromhex(v["plain"])
        document = crypto.meta_open(key, context, bytes.fromhex(v["meta_sealed"]))
        assert document == v["meta"]
        private = ec.derive_private_key(int(v["private"], 16), ec.SECP256R1())
        assert crypto.unwrap(private, bytes.fromhex(v["wrap"]), bytes.fromhex(v["wrap_info"])) == key

    def test_the_header_is_that_of_the_specification(self):
        """HKDF-Expand-SHA-512 and AES-256-GCM by hand, without our reader and without the library's."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

        v = VECTORS["sealed"]
        sealed = bytes.fromhex(v["sealed"])
        info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + sealed[:24] + bytes.fromhex(v["context"])
        derived = HKDFExpand(hashes.SHA512(), 76, info).derive(bytes.fromhex(v["key"]))
        assert derived[44:] == sealed[24:56]
        assert AESGCM(derived[:32]).decrypt(derived[32:44], sealed[56:], None) == bytes.fromhex(v["plain"])
