"""How the chains are: sync, queue, contracts, and what a person should look at."""

from datetime import datetime, timedelta

from django.db.models import Count, Min, Q
from django.utils import timezone

from chain import council, crosscheck
from chain.artefacts import deployment
from chain.conf import conf
from chain.errors import ChainError, DeploymentMismatch, RpcUnavailable
from chain.gateway import bytes_of, gateway, keccak
from chain.heartbeats import is_alive
from chain.models import Block, ChainEvent, ChainState, ItemState, Lane, OutboxItem, Transaction, TransactionState
from chain.published import published
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


def block_indexed(chain: str) -> Block | None:
    """The newest block that the index knows; no node is asked."""
    return Block.objects.filter(chain=chain, is_canonical=True).order_by("-number").first()


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
    """What a person should look at now (O17), on one chain or on all."""
    if chain is None:
        return [alarm for name in conf().chains for alarm in alarms(name)]
    return alarms_recorded(chain) + alarms_asked(chain)


def alarms_recorded(chain: str) -> list[Alarm]:
    """What the database knows: quick, and no node can hold it up."""
    found = _index_alarms(chain) + _outbox_alarms(chain) + _anchor_alarms(chain)
    return found + crosscheck.alarms(chain) + council.alarms(chain)


def _index_alarms(chain: str) -> list[Alarm]:
    sync = sync_status(chain)
    is_unseen = sync.checked_at is None or timezone.now() - sync.checked_at > timedelta(seconds=conf().silent_seconds)
    found = []
    if sync.halted_reason:
        found.append(Alarm("halted", chain, sync.halted_reason))
    elif is_unseen and is_alive(f"indexer:{chain}"):
        found.append(Alarm("node_silent", chain, f"The node has not answered the indexer{_since(sync.checked_at)}."))
    elif is_unseen:
        found.append(Alarm("index_stopped", chain, f"Nobody has looked at the chain{_since(sync.checked_at)}."))
    elif sync.lag > conf().chain(chain).tail_blocks:
        found.append(Alarm("index_lag", chain, f"The index stands at block {sync.cursor}, {sync.lag} blocks behind."))
    else:
        found += _pace_alarms(chain, sync)
    found += [
        Alarm("gap", chain, f"The events of block {number} could not be read.", str(number)) for number in sync.gaps
    ]
    return found


def _pace_alarms(chain: str, sync: SyncStatus) -> list[Alarm]:
    """A node that answers but has no new block: its network has lost its quorum, or it has lost its network."""
    newest = block_indexed(chain)
    patience = timedelta(seconds=max(conf().silent_seconds, 20 * conf().chain(chain).block_time_seconds))
    if newest is None or timezone.now() - newest.timestamp <= patience:
        return []
    words = f"No block has been made after block {newest.number} of {newest.timestamp:%d.%m.%Y %H:%M:%S} UTC."
    return [Alarm("chain_silent", chain, words)]


def _since(at: datetime | None) -> str:
    return "" if at is None else f" since {at:%d.%m.%Y %H:%M:%S} UTC"


def _outbox_alarms(chain: str) -> list[Alarm]:
    old = timezone.now() - timedelta(seconds=conf().stuck_seconds)
    minutes = conf().stuck_seconds // 60
    found = []
    stuck = Transaction.objects.filter(chain=chain, state=TransactionState.BROADCAST, created_at__lte=old)
    senders = stuck.order_by().values("sender").annotate(count=Count("id"), nonce=Min("account_nonce"))
    for row in senders:
        who = checksum(row["sender"])
        words = f"Sent by {who}, in no block after {minutes} minutes: {row['count']}, from nonce {row['nonce']} on."
        found.append(Alarm("stuck", chain, words, who))
    rows = OutboxItem.objects.filter(chain=chain).aggregate(
        waiting=Count("id", filter=Q(state=ItemState.QUEUED, created_at__lte=old)),
        failed=Count("id", filter=Q(state=ItemState.FAILED)),
    )
    if rows["waiting"]:
        found.append(Alarm("backlog", chain, f"Waiting for more than {minutes} minutes: {rows['waiting']}."))
    if rows["failed"]:
        found.append(Alarm("refused", chain, f"Refused by a contract: {rows['failed']}."))
    return found


def _anchor_alarms(chain: str) -> list[Alarm]:
    """Every final anchor is an event of the index (O16)."""
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
        found.append(
            Alarm("anchor_missing", chain, f"Anchors that are not among the events of the chain: {len(missing)}.")
        )
    return found


def alarms_asked(chain: str) -> list[Alarm]:
    """What only the node can tell: the code at our addresses, and what our accounts can pay with."""
    try:
        gateway(chain).rpc.call("eth_blockNumber")
        return _code_alarms(chain) + _balance_alarms(chain)
    except ChainError as error:
        return [Alarm("unreachable", chain, f"The node gives no usable answer ({type(error).__name__}).")]


def _code_alarms(chain: str) -> list[Alarm]:
    said = {"mismatch": "is not the recorded code", "unannounced": "was never announced by the registry"}
    return [
        Alarm("foreign_code", chain, f"{item.name} at {item.address} {said[item.state]}.", item.name)
        for item in published(chain)
        if item.is_current and item.state in said
    ]


def _balance_alarms(chain: str) -> list[Alarm]:
    if conf().chain(chain).gas_price_wei == 0:
        return []
    low = conf().chain(chain).balance_low_wei
    senders = Transaction.objects.filter(chain=chain).order_by().values_list("sender", flat=True).distinct()
    balances = {checksum(sender): gateway(chain).balance(sender) for sender in senders}
    return [
        Alarm("low_balance", chain, f"{who} has {balance / 10**18:.4f} left to pay for transactions.", who)
        for who, balance in balances.items()
        if balance < low
    ]
