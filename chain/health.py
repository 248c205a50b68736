"""How the chains are: sync, queue, contracts, and what a person should look at."""

from datetime import timedelta

from django.db.models import Count, Exists, Min, OuterRef, Q
from django.utils import timezone

from chain.artefacts import deployment
from chain.conf import conf
from chain.errors import ChainError, DeploymentMismatch, RpcUnavailable
from chain.gateway import bytes_of, gateway, keccak
from chain.models import ChainEvent, ChainState, ItemState, Lane, OutboxItem, Transaction, TransactionState
from chain.rpc import Call
from chain.signing import checksum
from chain.types import Alarm, ContractInfo, QueueStatus, SyncStatus, hex0x

ANCHORS_COMPARED = 500  # the newest; older ones were compared when they were new


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


def queue_status(chain: str) -> QueueStatus:
    """What waits to get into a block."""
    waiting = OutboxItem.objects.filter(chain=chain, state__in=[ItemState.QUEUED, ItemState.BROADCAST])
    found = waiting.aggregate(count=Count("id"), oldest=Min("created_at"))
    return QueueStatus(waiting=found["count"], oldest_at=found["oldest"])


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


def alarms(chain: str | None = None) -> list[Alarm]:
    """What a person should look at now (O17), on one chain or on all. Asks the nodes for code and balances."""
    if chain is None:
        return [alarm for name in conf().chains for alarm in alarms(name)]
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
    found += _anchor_alarms(chain)
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


def _anchor_alarms(chain: str) -> list[Alarm]:
    """O16: every final anchor is an event of the index, and a leaf meant for both chains is on both."""
    state = ChainState.objects.filter(name=chain).first()
    if state is None:
        return []
    sent = Transaction.objects.filter(
        chain=chain,
        lane=Lane.ANCHOR,
        state=TransactionState.FINAL,
        block_number__lte=min(state.finalized, state.cursor_number),
    ).order_by("-block_number")[:ANCHORS_COMPARED]
    roots = {hex0x(root): number for root, number in sent.values_list("root", "block_number")}
    events = ChainEvent.objects.filter(
        chain=chain, is_canonical=True, name="Anchored", block_number__in=set(roots.values())
    )
    missing = set(roots) - {args["root"] for args in events.values_list("args", flat=True)}
    found = []
    if missing:
        found.append(Alarm("anchor_missing", chain, f"{len(missing)} anchors are not among the events of the chain."))
    old = timezone.now() - timedelta(seconds=conf().stuck_seconds)
    late = OutboxItem.objects.filter(chain=chain, lane=Lane.ANCHOR, created_at__lte=old).exclude(state=ItemState.FINAL)
    elsewhere = OutboxItem.objects.filter(lane=Lane.ANCHOR, state=ItemState.FINAL, leaf=OuterRef("leaf"))
    alone = late.filter(Exists(elsewhere.exclude(chain=chain))).count()
    if alone:
        found.append(Alarm("anchor_alone", chain, f"{alone} records are anchored on the other chain but not here."))
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
