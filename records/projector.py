"""Final chain events onto our rows: anchors and consents. Replayable from the first block."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, F, OuterRef

from chain import projection
from chain import selectors as chain_selectors
from chain.failpoints import fp
from chain.models import ChainEvent, OutboxItem
from hospitals.tenancy import all_tenants
from records.grants import grant_activate, grant_closed
from records.models import AccessGrant, Anchor, AnchorState, Epoch, RecordVersion, VersionState

NAME = "records"
CHAINS = ("SUP", "MED")


def project_all() -> int:
    """Applies what is new on both chains; returns the number of events."""
    return sum(project(chain) for chain in CHAINS)


def project(chain: str) -> int:
    with all_tenants("apply final chain events"):
        return projection.run(NAME, chain, apply)


def apply(event: ChainEvent) -> None:
    handler = _HANDLERS.get((event.contract, event.name))
    if handler is not None:
        handler(event)


def _anchored(event: ChainEvent) -> None:
    root = bytes.fromhex(event.args["root"].removeprefix("0x"))
    refs = list(
        OutboxItem.objects.filter(chain=event.chain, transaction__root=root, ref__startswith="rec:").values_list(
            "ref", flat=True
        )
    )
    if not refs:
        return
    Anchor.objects.filter(ref__in=refs).update(
        state=AnchorState.FINAL,
        tx_hash=bytes(event.tx_hash),
        block_number=event.block_number,
        block_time=event.block_time,
    )
    fp("project.anchors_marked")
    _versions_advance(refs, event.block_time)


def _versions_advance(refs: list[str], at: datetime) -> None:
    """A version is final once its current epoch is final on every chosen chain."""
    open_anchors = Anchor.objects.filter(epoch=OuterRef("pk")).exclude(state=AnchorState.FINAL)
    epochs = Epoch.objects.filter(anchors__ref__in=refs, number=F("version__epoch"))
    waiting = [VersionState.SEALED, VersionState.ANCHORED]
    done = epochs.exclude(Exists(open_anchors)).values("version")
    RecordVersion.objects.filter(pk__in=done, state__in=waiting).update(state=VersionState.FINAL, final_at=at)
    part = epochs.filter(Exists(open_anchors)).values("version")
    RecordVersion.objects.filter(pk__in=part, state=VersionState.SEALED).update(state=VersionState.ANCHORED)


def _consent_recorded(event: ChainEvent) -> None:
    """Only our own recording counts: a member who copies the digest would put it under a lock of their own, and
    then the patient could not revoke it on the chain."""
    for pk, ref in AccessGrant.objects.filter(digest=_digest(event)).values_list("pk", "record_ref"):
        if chain_selectors.is_ours(ref, bytes(event.tx_hash)):
            grant_activate(grant_id=pk, tx_hash=bytes(event.tx_hash), at=event.block_time)


def _consent_revoked(event: ChainEvent) -> None:
    for pk in AccessGrant.objects.filter(digest=_digest(event)).values_list("pk", flat=True):
        grant_closed(grant_id=pk, tx_hash=bytes(event.tx_hash), at=event.block_time)


def _digest(event: ChainEvent) -> bytes:
    return bytes.fromhex(event.args["digest"].removeprefix("0x"))


_HANDLERS = {
    ("AnchorLog", "Anchored"): _anchored,
    ("Consents", "ConsentRecorded"): _consent_recorded,
    ("Consents", "ConsentRevoked"): _consent_revoked,
}
