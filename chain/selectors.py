"""Read side: plain data about wishes, proofs, sync and what stands on the chains."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Count, Q
from django.utils import timezone

from chain import deploying, merkle
from chain.artefacts import deployment
from chain.conf import conf
from chain.errors import ChainError, DeploymentMismatch, RpcUnavailable
from chain.gateway import bytes_of, gateway, keccak
from chain.models import Attempt, ChainEvent, ChainState, ItemState, OutboxItem, Transaction, TransactionState
from chain.projection import final_events, projector_advance
from chain.rpc import Call
from chain.signing import address_of, checksum
from chain.types import Alarm, ContractInfo, Inclusion, ItemStatus, SyncStatus, hex0x
from chain.viewer import block_view, transaction_view

__all__ = [
    "access_count",
    "access_leaves",
    "alarms",
    "block_view",
    "contracts",
    "deployer_address",
    "final_events",
    "inclusion",
    "item",
    "items",
    "projector_advance",
    "sync_status",
    "transaction_view",
]


def _needed(chain: str) -> int:
    """Blocks on top that make a block final, as far as that is a fixed number."""
    finality = conf().chain(chain).finality
    return {"instant": 0, "tag": 2}.get(finality.mode, finality.depth)


def items(refs: Sequence[str]) -> dict[str, ItemStatus]:
    """State of many wishes in three queries; an unknown ref is left out."""
    rows = list(OutboxItem.objects.filter(ref__in=refs).select_related("transaction__mined_attempt"))
    heads = dict(ChainState.objects.values_list("name", "head")) if rows else {}
    waiting = {row.transaction_id for row in rows if row.transaction and row.transaction.mined_attempt is None}
    latest = dict(
        Attempt.objects.filter(transaction_id__in=waiting).order_by("pk").values_list("transaction_id", "tx_hash")
    )
    return {row.ref: _status(row, heads.get(row.chain, 0), latest) for row in rows}


def _status(row: OutboxItem, head: int, latest: dict) -> ItemStatus:
    sent = row.transaction
    tx_hash = None
    if sent is not None:
        tx_hash = sent.mined_attempt.tx_hash if sent.mined_attempt else latest.get(sent.id)
    needed = _needed(row.chain)
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


def sync_status(chain: str) -> SyncStatus:
    """How far the index is, and whether that is good news."""
    state = ChainState.objects.filter(name=chain).first()
    if state is None:
        return SyncStatus(chain, conf().chain(chain).chain_id, 0, 0, -1, 0, "", None, None, None, is_behind=True)
    # The indexer looks every few hundred milliseconds; a minute without a look means that it is not running.
    is_stale = state.checked_at is None or timezone.now() - state.checked_at > timedelta(seconds=60)
    lag = max(0, state.head - state.cursor_number)
    return SyncStatus(
        chain=chain,
        chain_id=state.chain_id,
        head=state.head,
        finalized=max(0, state.finalized),
        cursor=state.cursor_number,
        lag=lag,
        halted_reason=state.halted_reason,
        checked_at=state.checked_at,
        last_fork=state.last_fork_at,
        last_fork_depth=state.last_fork_depth,
        gaps=state.gaps,
        is_behind=bool(is_stale or state.halted_reason or state.gaps or lag > conf().chain(chain).tail_blocks),
    )


def access_count(*, chain: str, organisation: bytes) -> int:
    """Entries of an organisation's access log that are final on chain."""
    event = _access_events(chain, organisation).order_by("-block_number", "-log_index").first()
    return 0 if event is None else event.args["firstSeq"] + len(event.args["leaves"])


def access_leaves(*, chain: str, organisation: bytes) -> list[bytes]:
    """All of them, in the order of the log."""
    events = _access_events(chain, organisation).order_by("block_number", "log_index")
    return [bytes_of(leaf) for args in events.values_list("args", flat=True) for leaf in args["leaves"]]


def _access_events(chain: str, organisation: bytes):
    state = ChainState.objects.filter(name=chain).first()
    return ChainEvent.objects.filter(
        chain=chain,
        is_canonical=True,
        contract="AccessLog",
        name="AccessLogged",
        args__organisation=hex0x(organisation),
        block_number__lte=state.finalized if state else -1,
    )


def deployer_address() -> bytes:
    return address_of(deploying.deployer_key())


def contracts(chain: str) -> list[ContractInfo]:
    """Published contracts and whether the chain holds exactly that code (G7)."""
    try:
        place = deployment(chain)
    except DeploymentMismatch:
        return []
    rows = list(place.contracts.values())
    try:
        codes = gateway(chain).rpc.batch([Call("eth_getCode", (hex0x(row.address), "latest")) for row in rows])
    except RpcUnavailable:
        codes = [None] * len(rows)
    return [
        ContractInfo(
            name=row.name,
            chain=chain,
            chain_id=place.chain_id,
            address=row.checksum,
            version=row.version,
            code_hash=hex0x(row.code_hash),
            tx_hash=hex0x(row.tx_hash),
            block_number=row.block_number,
            compiler=row.compiler,
            is_matching=None if code is None else keccak(bytes_of(code)) == row.code_hash,
        )
        for row, code in zip(rows, codes, strict=True)
    ]


def alarms(chain: str) -> list[Alarm]:
    """What a person should look at now (O17). Asks the node for balances."""
    found = []
    sync = sync_status(chain)
    if sync.halted_reason:
        found.append(Alarm("halted", chain, sync.halted_reason))
    elif sync.checked_at is None or timezone.now() - sync.checked_at > timedelta(seconds=60):
        found.append(Alarm("index_stopped", chain, "The index has not looked at the chain for a minute."))
    elif sync.is_behind:
        found.append(Alarm("index_lag", chain, f"The index is {sync.lag} blocks behind."))
    if sync.gaps:
        found.append(Alarm("gap", chain, f"Events of block {sync.gaps[0]} could not be read."))
    found += _outbox_alarms(chain)
    found += _contract_alarms(chain)
    return found


def _outbox_alarms(chain: str) -> list[Alarm]:
    old = timezone.now() - timedelta(seconds=conf().stuck_seconds)
    stuck = Transaction.objects.filter(chain=chain, state=TransactionState.BROADCAST, created_at__lte=old).count()
    rows = OutboxItem.objects.filter(chain=chain).aggregate(
        waiting=Count("id", filter=Q(state=ItemState.QUEUED, created_at__lte=old)),
        failed=Count("id", filter=Q(state=ItemState.FAILED)),
    )
    minutes = conf().stuck_seconds // 60
    found = []
    if stuck:
        found.append(Alarm("stuck", chain, f"{stuck} transactions are in no block after {minutes} minutes."))
    if rows["waiting"]:
        found.append(Alarm("backlog", chain, f"{rows['waiting']} entries have waited more than {minutes} minutes."))
    if rows["failed"]:
        found.append(Alarm("refused", chain, f"{rows['failed']} steps were refused by a contract."))
    return found


def _contract_alarms(chain: str) -> list[Alarm]:
    low = conf().chain(chain).balance_low_wei
    try:
        found = [
            Alarm("foreign_code", chain, f"{item.name} at {item.address} is not the recorded code.")
            for item in contracts(chain)
            if item.is_matching is False
        ]
        if conf().chain(chain).gas_price_wei != 0:
            senders = Transaction.objects.filter(chain=chain).values_list("sender", flat=True).distinct()
            balances = {sender: gateway(chain).balance(sender) for sender in senders}
            found += [
                Alarm("low_balance", chain, f"{checksum(sender)} has little left to pay for transactions.")
                for sender, balance in balances.items()
                if balance < low
            ]
        return found
    except ChainError:
        return [Alarm("unreachable", chain, "The chain cannot be reached.")]
