"""Receipts: everything a stranger needs to check a file without us. The format stands in docs/formats.md."""

from __future__ import annotations

import hashlib
from typing import Any

from django.utils import timezone

from chain import selectors as chain_selectors
from hospitals import keyring
from hospitals.actors import Actor
from hospitals.tenancy import tenant
from records import crypto, gate
from records.manifests import time_text
from records.models import Anchor, Epoch, Purpose, Record, RecordStatus, RecordVersion


def receipt_build(*, actor: Actor, version: RecordVersion, purpose: str = Purpose.TREATMENT) -> dict[str, Any]:
    """A signed receipt for whoever may read the version: it holds the salt that ties the file to its commitment."""
    with tenant(version.hospital_id):
        is_erased = Record.objects.filter(pk=version.record_id, status=RecordStatus.ERASED).exists()
    if is_erased:
        gate.look_at_erased(actor=actor, version=version)
        salt32 = None
    else:
        salt32 = gate.read_meta(actor=actor, version=version, purpose=purpose, action="receipt").salt32
    with tenant(version.hospital_id):
        return _build(version, salt32)


def receipt_bytes(receipt: dict[str, Any]) -> bytes:
    """The one form in which a receipt is served: the checker compares bytes."""
    return crypto.canonical(receipt)


def _build(version: RecordVersion, salt32: bytes | None) -> dict[str, Any]:
    record = Record.objects.select_related("hospital").get(pk=version.record_id)
    version = RecordVersion.objects.get(pk=version.pk)
    epoch = Epoch.objects.get(version=version, number=version.epoch)
    receipt: dict[str, Any] = {
        "v": 1,
        "type": "record-receipt",
        "suite": epoch.suite,
        "tenant": record.hospital_id.hex,
        **_status(record, version),
        "authored": _layer(version.authored_manifest, version.authored_signature, version.author_kid),
        "epoch": _layer(epoch.manifest, epoch.signature, epoch.signer_kid),
        **_salts(epoch, salt32),
        "leaf": bytes(epoch.leaf).hex(),
        "anchors": anchors_of(epoch),
        "issued_at": time_text(timezone.now()),
    }
    signer = keyring.sign_kid(record.hospital)
    body = crypto.canonical(receipt)
    receipt["signature"] = {
        "public_key": keyring.public_spki(signer).hex(),
        "value": keyring.sign(signer, crypto.signature_input("receipt", body)).hex(),
    }
    return receipt


def anchors_of(epoch: Epoch) -> list[dict[str, Any]]:
    """One entry for each chosen chain, also while it waits."""
    found = []
    for anchor in Anchor.objects.filter(epoch=epoch).order_by("-chain"):
        item = chain_selectors.item(anchor.ref)
        entry: dict[str, Any] = {"chain": anchor.chain, "state": item.state if item else anchor.state}
        inclusion = chain_selectors.inclusion(anchor.ref)
        if inclusion is not None:
            entry |= {
                "chain_id": inclusion.chain_id,
                "contract": inclusion.contract,
                "organisation": inclusion.organisation,
                "root": _hex(inclusion.root),
                "index": inclusion.index,
                "count": inclusion.count,
                "proof": [_hex(step) for step in inclusion.proof],
                "tx_hash": inclusion.tx_hash,
                "block_number": inclusion.block_number,
                "block_hash": inclusion.block_hash,
                "block_time": time_text(inclusion.block_time),
            }
        found.append(entry)
    return found


def _status(record: Record, version: RecordVersion) -> dict[str, Any]:
    if record.status == RecordStatus.ERASED:
        return {"status": "erased", "erased": {"at": time_text(record.erased_at), "ground": record.erased_ground}}
    if record.status == RecordStatus.WITHDRAWN:
        return {"status": "withdrawn", "withdrawn": {"at": time_text(record.withdrawn_at)}}
    if version.superseded_at is not None:
        return {
            "status": "superseded",
            "superseded": {"by_version": version.number + 1, "at": time_text(version.superseded_at)},
        }
    return {"status": "current"}


def _salts(epoch: Epoch, salt32: bytes | None) -> dict[str, str]:
    """Gone after an erasure: without them nothing on chain can be matched to a content."""
    if salt32 is None or epoch.leaf_salt is None:
        return {}
    return {"salt32": salt32.hex(), "leaf_salt": bytes(epoch.leaf_salt).hex()}


def _layer(manifest: str, signature: bytes, kid: bytes) -> dict[str, str]:
    return {
        "manifest": manifest,
        "signature": bytes(signature).hex(),
        "public_key": keyring.public_spki(bytes(kid)).hex(),
    }


def _hex(value: bytes) -> str:
    return "0x" + bytes(value).hex()


def manifests_verify(version: RecordVersion, epoch: Epoch) -> bool:
    """Both signatures, their link, and the leaf that was anchored."""
    authored, sealed = version.authored_manifest.encode(), epoch.manifest.encode()
    try:
        crypto.signature_verify(
            keyring.public_spki(bytes(version.author_kid)), crypto.AUTHORED, authored, bytes(version.authored_signature)
        )
        crypto.signature_verify(
            keyring.public_spki(bytes(epoch.signer_kid)), crypto.EPOCH, sealed, bytes(epoch.signature)
        )
        claims, terms = crypto.manifest_load(authored), crypto.manifest_load(sealed)
    except crypto.Unauthentic:
        return False
    return (
        terms["authored_digest"] == hashlib.sha256(authored).hexdigest()
        and terms["ct_sha256"] == bytes(epoch.ciphertext_digest).hex()
        and claims["record"] == version.record_id.hex
        and claims["version"] == version.number
        and epoch.leaf_salt is not None
        and crypto.leaf_of(bytes(epoch.leaf_salt), sealed) == bytes(epoch.leaf)
    )
