"""Read side: plain data about wishes, proofs, sync and what stands on the chains."""

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Q, QuerySet

from chain import deploying, merkle
from chain.artefacts import deployment
from chain.conf import conf
from chain.health import alarms, block_indexed, contracts, queue_status, sync_status
from chain.models import Attempt, Block, ChainEvent, ChainState, ItemState, OutboxItem
from chain.projection import final_events, projector_advance
from chain.signing import address_of, checksum
from chain.types import EventShown, Inclusion, ItemStatus, hex0x
from chain.viewer import block_view, blocks_newest, transaction_view

__all__ = [
    "access_count",
    "alarms",
    "block_indexed",
    "block_time_newest",
    "block_view",
    "blocks_newest",
    "contracts",
    "deployer_address",
    "events_named",
    "events_of",
    "final_events",
    "inclusion",
    "is_ours",
    "item",
    "items",
    "projector_advance",
    "queue_status",
    "sync_status",
    "transaction_view",
]


def items(refs: Sequence[str]) -> dict[str, ItemStatus]:
    """State of many wishes in three queries; an unknown ref is left out."""
    rows = list(OutboxItem.objects.filter(ref__in=refs).select_related("transaction__mined_attempt"))
    states = {state.name: state for state in ChainState.objects.all()} if rows else {}
    waiting = {row.transaction_id for row in rows if row.transaction and row.transaction.mined_attempt is None}
    latest = dict(
        Attempt.objects.filter(transaction_id__in=waiting).order_by("pk").values_list("transaction_id", "tx_hash")
    )
    return {row.ref: _status(row, states.get(row.chain), latest) for row in rows}


def _status(row: OutboxItem, state: ChainState | None, latest: dict) -> ItemStatus:
    sent = row.transaction
    tx_hash = None
    if sent is not None:
        tx_hash = sent.mined_attempt.tx_hash if sent.mined_attempt else latest.get(sent.id)
    head = state.head if state else 0
    needed = conf().chain(row.chain).finality.depth_of(head, state.finalized if state else head)
    if row.state == ItemState.FINAL:
        confirmations = max(needed, head - sent.block_number)
    elif sent is not None and sent.block_number is not None:
        confirmations = max(0, min(needed, head - sent.block_number))
    else:
        confirmations = 0
    return ItemStatus(
        ref=row.ref,
        state=row.state,
        chain=row.chain,
        leaf=row.leaf,
        tx_hash=hex0x(tx_hash) if tx_hash else None,
        block_number=sent.block_number if sent else None,
        block_time=sent.block_time if sent else None,
        confirmations=confirmations,
        confirmations_needed=needed,
        error=row.error,
        created_at=row.created_at,
    )


def item(ref: str) -> ItemStatus | None:
    return items([ref]).get(ref)


def is_ours(ref: str, tx_hash: bytes) -> bool:
    """Whether this transaction carries our own wish. Attempts are stored before they are sent, so this never lags."""
    return Attempt.objects.filter(transaction__items__ref=ref, tx_hash=tx_hash).exists()


def inclusion(ref: str) -> Inclusion | None:
    """The proof that a leaf lies under a root in a block; None before it is mined."""
    row = OutboxItem.objects.filter(ref=ref).select_related("transaction__mined_attempt").first()
    if row is None or row.state not in (ItemState.MINED, ItemState.FINAL) or row.transaction.root is None:
        return None
    sent = row.transaction
    leaves = list(sent.items.order_by("leaf_index").values_list("leaf", flat=True))
    place = deployment(row.chain)
    return Inclusion(
        chain=row.chain,
        chain_id=place.chain_id,
        contract=checksum(sent.to),
        organisation=checksum(sent.sender),
        root=sent.root,
        leaf=row.leaf,
        index=row.leaf_index,
        count=sent.count,
        proof=merkle.inclusion_proof(leaves, row.leaf_index),
        tx_hash=hex0x(sent.mined_attempt.tx_hash),
        block_number=sent.block_number,
        block_hash=hex0x(sent.block_hash),
        block_time=sent.block_time,
        state=row.state,
    )


def block_time_newest(chain: str) -> datetime | None:
    """The chain's own clock, as of the newest block that the index has."""
    blocks = Block.objects.filter(chain=chain, is_canonical=True).order_by("-number")
    return blocks.values_list("timestamp", flat=True).first()


def access_count(*, chain: str, organisation: bytes) -> int:
    """Entries of an organisation's access log that are final on chain, in all versions of the contract."""
    state = ChainState.objects.filter(name=chain).first()
    events = ChainEvent.objects.filter(
        chain=chain,
        is_canonical=True,
        contract="AccessLog",
        name="AccessLogged",
        args__organisation=hex0x(organisation),
        block_number__lte=state.finalized if state else -1,
    ).order_by("-block_number", "-log_index")
    places = set(events.order_by().values_list("address", flat=True).distinct())
    last = [events.filter(address=place).first() for place in places]
    return sum(event.args["firstSeq"] + len(event.args["leaves"]) for event in last if event)


def deployer_address() -> bytes:
    return address_of(deploying.deployer_key())


def events_of(address: bytes, *, contract: str, limit: int) -> list[EventShown]:
    """Final events of one contract, on both chains, about one organisation; newest first."""
    return _final_rows(ChainEvent.objects.filter(contract=contract, args__organisation=hex0x(address)), limit)


def events_named(chain: str, name: str, *, limit: int) -> list[EventShown]:
    return _final_rows(ChainEvent.objects.filter(chain=chain, name=name), limit)


def _final_rows(events: QuerySet[ChainEvent], limit: int) -> list[EventShown]:
    finalized = dict(ChainState.objects.values_list("name", "finalized"))
    is_final = Q(pk__in=[])
    for chain, number in finalized.items():
        is_final |= Q(chain=chain, block_number__lte=number)
    rows = events.filter(is_final, is_canonical=True).order_by("-block_time", "-block_number", "-log_index")[:limit]
    return [
        EventShown(
            chain=row.chain,
            contract=row.contract,
            name=row.name,
            args=row.args,
            block_number=row.block_number,
            block_time=row.block_time,
            tx_hash=hex0x(row.tx_hash),
        )
        for row in rows
    ]
