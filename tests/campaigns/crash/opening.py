"""Sealed records, opened and re-computed from docs/formats.md alone, so that the checker trusts no code it checks."""

import hashlib
import hmac
import json
from datetime import UTC
from pathlib import Path

import rfc8785
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def leaf(salt, manifest):
    return hashlib.sha256(b"\0" + salt + hashlib.sha256(manifest).digest()).digest()


def merkle_root(leaves):
    """RFC 9162: the largest power of two smaller than n goes left."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle_root(leaves[:left]) + merkle_root(leaves[left:])).digest()


def content(db, facts, version):
    """The plaintext of a version, through the hospital's own wrap of its current epoch."""
    epoch = next(
        e for e in db.table("records_epoch") if e["version_id"] == version["id"] and e["number"] == version["epoch"]
    )
    data_key = opened_key(db, facts, version, epoch)
    sealed = Path(facts.blobs, epoch["payload_blob"][:2], epoch["payload_blob"]).read_bytes()
    if len(sealed) != epoch["ciphertext_size"] or hashlib.sha256(sealed).digest() != epoch["ciphertext_digest"]:
        raise ValueError("the sealed bytes are not those of the row")
    data = unsealed(data_key, version, epoch, b"payload\0", sealed)
    meta = unsealed(data_key, version, epoch, b"meta\0", epoch["meta_sealed"])
    document = json.loads(meta[4 : 4 + int.from_bytes(meta[:4])])
    authored = json.loads(version["authored_manifest"])
    commitment = hmac.digest(bytes.fromhex(document["salt32"]), hashlib.sha256(data).digest(), "sha256")
    if commitment.hex() != authored["pt_commit"] or authored["size"] != len(data):
        raise ValueError("the author signed something else")
    if json.loads(epoch["manifest"])["ct_sha256"] != epoch["ciphertext_digest"].hex():
        raise ValueError("the hospital signed other sealed bytes")
    return data


def opened_key(db, facts, version, epoch):
    private = serialization.load_der_private_key(facts.wrap_keys[version["hospital_id"]], None)
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    kid = hashlib.sha256(spki).digest()
    wrap = next(
        w
        for w in db.table("records_wrap")
        if w["epoch_id"] == epoch["id"] and w["recipient_kid"] == kid and not w["grant_id"]
    )
    info = b"medportal/wrap/v1\0" + place(version, epoch) + kid + bytes(16)
    return SUITE.decrypt(wrap["blob"], private, info)


def unsealed(data_key, version, epoch, part, sealed):
    key = HKDFExpand(hashes.SHA512(), 32, b"medportal/sub/v1\0" + part).derive(data_key)
    decryptor = Cobblestone256Decryptor(key, b"medportal/blob/v1\0" + place(version, epoch) + part)
    return decryptor.update(sealed) + decryptor.finalize()


def place(version, epoch):
    return (
        bytes.fromhex(version["hospital_id"])
        + bytes.fromhex(version["record_id"])
        + version["number"].to_bytes(4)
        + epoch["number"].to_bytes(4)
    )


def entry_leaf(entry):
    """The leaf of a log entry, from its columns."""
    said = {
        "v": 1,
        "id": entry["id"],
        "hospital": entry["hospital_id"],
        "seq": entry["seq"],
        "previous_link": entry["previous_link"].hex(),
        "patient": entry["patient_id"],
        "patient_seq": entry["patient_seq"],
        "patient_previous_link": entry["patient_previous_link"] and entry["patient_previous_link"].hex(),
        "actor_user": entry["actor_user_id"],
        "actor_membership": entry["actor_membership_id"],
        "is_refused": bool(entry["is_refused"]),
        "at": entry["at"].astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }
    same = ("actor_role", "channel", "request_id", "action", "basis", "purpose", "target_type", "target_id", "detail")
    said |= {name: entry[name] for name in same}
    return hashlib.sha256(b"\0" + entry["salt"] + hashlib.sha256(rfc8785.dumps(said)).digest()).digest()
