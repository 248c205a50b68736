"""What can be proven about a version now, in one word and one sentence, with the figures behind it."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from chain import selectors as chain_selectors
from chain.errors import ChainError
from chain.gateway import gateway
from hospitals.actors import Actor
from hospitals.models import Organisation
from records import selectors
from records.errors import BlobMissing
from records.models import Anchor, Epoch, Record, RecordStatus, RecordVersion
from records.receipts import manifests_verify
from records.storage import blob_store

AUTHENTIC, PENDING, ALTERED = "authentic", "pending", "altered"
SUPERSEDED, ERASED, UNKNOWN = "superseded", "erased", "unknown"
SENTENCES = {
    AUTHENTIC: "This record is authentic.",
    PENDING: "Its seal is on the way.",
    ALTERED: "This copy was altered.",
    SUPERSEDED: "Authentic, but there is a newer version.",
    ERASED: "This record was erased.",
    UNKNOWN: "Cannot be checked right now.",
}
CHAIN_LABELS = {"SUP": "SUPchain", "MED": "MEDchain"}
# Larger files are hashed whole by the nightly check and on demand, not on every page.
HASH_NOW_BYTES = 32 << 20


@dataclass(frozen=True)
class ProofRow:
    """One chain's part of the proof."""

    chain: str
    chain_label: str
    state: str
    confirmations: int
    confirmations_needed: int
    block_number: int | None = None
    block_time: datetime | None = None
    tx_hash_hex: str = ""
    contract: str = ""
    chain_id: int | None = None
    leaf: str = ""
    root: str = ""
    index: int | None = None
    count: int = 0
    proof: list[str] = field(default_factory=list)

    @property
    def place(self) -> int:
        return (self.index or 0) + 1


@dataclass(frozen=True)
class VersionRow:
    number: int
    created_at: datetime
    author_name: str
    state: str
    url: str = ""


@dataclass(frozen=True)
class RecordView:
    id: uuid.UUID
    title: str
    category: str
    care_on: date | None
    created_at: datetime
    hospital: Organisation
    patient_id: uuid.UUID
    author_name: str
    version_number: int
    size: int
    chains: str
    state: str
    confirmations: int
    confirmations_needed: int
    status: str
    versions: list[VersionRow]
    proofs: list[ProofRow]
    proof_state: str
    proof_sentence: str
    checked_block: int | None
    anchored_at: datetime | None
    filename: str = ""
    media_type: str = ""


def record_view(*, version: RecordVersion, actor: Actor, opened: Any = None) -> RecordView:
    """Everything about a version but its content. `opened` is the gate's Release or Meta, if it was opened."""
    record = Record.objects.select_related("hospital", "created_by__user").get(pk=version.record_id)
    versions = list(RecordVersion.objects.filter(record=record).select_related("author__user").order_by("-number"))
    current = next(row for row in versions if row.number == version.number)
    anchors = selectors.anchors_of(versions)
    state, confirmations, needed = selectors.version_progress(record, current, anchors.get(current.pk, []))
    epoch = selectors.epoch_of(current)
    proofs = proof_rows(epoch)
    proof = proof_state(current)
    return RecordView(
        id=record.pk,
        title=selectors.record_title(record),
        category=record.category,
        care_on=record.care_on,
        created_at=current.created_at,
        hospital=record.hospital,
        patient_id=record.patient_id,
        author_name=current.author.user.name,
        version_number=current.number,
        size=current.size,
        chains=current.chains,
        state=state,
        confirmations=confirmations,
        confirmations_needed=needed,
        status=record.status,
        versions=[
            VersionRow(
                number=row.number,
                created_at=row.created_at,
                author_name=row.author.user.name,
                state=selectors.version_progress(record, row, anchors.get(row.pk, []))[0],
            )
            for row in versions
        ],
        proofs=proofs,
        proof_state=proof,
        proof_sentence=SENTENCES[proof],
        checked_block=max((row.block_number for row in proofs if row.block_number is not None), default=None),
        anchored_at=min((row.block_time for row in proofs if row.block_time is not None), default=None),
        filename=opened.filename if opened else "",
        media_type=opened.media_type if opened else "",
    )


def proof_rows(epoch: Epoch) -> list[ProofRow]:
    rows = []
    for anchor in Anchor.objects.filter(epoch=epoch).order_by("-chain"):
        item = chain_selectors.item(anchor.ref)
        inclusion = chain_selectors.inclusion(anchor.ref)
        found: dict[str, Any] = {}
        if inclusion is not None:
            found = {
                "block_number": inclusion.block_number,
                "block_time": inclusion.block_time,
                "tx_hash_hex": inclusion.tx_hash,
                "contract": inclusion.contract,
                "chain_id": inclusion.chain_id,
                "root": "0x" + bytes(inclusion.root).hex(),
                "index": inclusion.index,
                "count": inclusion.count,
                "proof": ["0x" + bytes(step).hex() for step in inclusion.proof],
            }
        rows.append(
            ProofRow(
                chain=anchor.chain,
                chain_label=CHAIN_LABELS[anchor.chain],
                state=item.state if item else anchor.state,
                confirmations=item.confirmations if item else 0,
                confirmations_needed=item.confirmations_needed if item else 0,
                leaf="0x" + bytes(epoch.leaf).hex(),
                **found,
            )
        )
    return rows


def proof_state(version: RecordVersion, *, deep: bool = False) -> str:
    """authentic, pending, altered, superseded, erased or unknown; never green when something is missing."""
    record = Record.objects.get(pk=version.record_id)
    if record.status == RecordStatus.ERASED:
        return ERASED
    epoch = selectors.epoch_of(version)
    if not manifests_verify(version, epoch) or not _blob_fits(epoch, deep):
        return ALTERED
    anchors = list(Anchor.objects.filter(epoch=epoch))
    try:
        states = [_anchor_state(epoch, anchor) for anchor in anchors]
    except ChainError as error:
        if not error.retryable:
            raise
        return UNKNOWN
    if ALTERED in states:
        return ALTERED
    if not states or PENDING in states:
        return PENDING
    return SUPERSEDED if version.superseded_at else AUTHENTIC


def _anchor_state(epoch: Epoch, anchor: Anchor) -> str:
    """Asks the contract itself whether the leaf lies under the anchored root."""
    item = chain_selectors.item(anchor.ref)
    inclusion = chain_selectors.inclusion(anchor.ref)
    if item is None or item.state != "final" or inclusion is None:
        return PENDING
    if bytes(inclusion.leaf) != bytes(epoch.leaf):
        return ALTERED
    holds = gateway(anchor.chain).call(
        "AnchorLog", "verify", bytes(inclusion.root), bytes(epoch.leaf), inclusion.index, list(inclusion.proof)
    )
    return AUTHENTIC if holds else ALTERED


def _blob_fits(epoch: Epoch, deep: bool) -> bool:
    if not epoch.payload_blob:
        return False
    try:
        with closing(blob_store().open(epoch.payload_blob)) as blob:
            if blob.size != epoch.ciphertext_size or blob.read_at(0, len(epoch.header)) != bytes(epoch.header):
                return False
            if not deep and blob.size > HASH_NOW_BYTES:
                return True
            digest = hashlib.sha256()
            for offset in range(0, blob.size, 1 << 20):
                digest.update(blob.read_at(offset, 1 << 20))
    except BlobMissing:
        return False
    return digest.digest() == bytes(epoch.ciphertext_digest)


def blobs_check(*, deep: bool = True) -> list[uuid.UUID]:
    """The nightly look at every stored blob; returns the epochs whose bytes do not fit."""
    from hospitals.tenancy import all_tenants

    with all_tenants("check stored files"):
        epochs = Epoch.objects.exclude(payload_blob="").iterator()
        return [epoch.pk for epoch in epochs if not _blob_fits(epoch, deep)]
