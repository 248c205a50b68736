"""Two chains that check each other: heads of each recorded on the other, and what was meant for both is on both.

The regulator's account anchors the final block hash of each chain on the other (kind ChainHead), one leaf a root, so
the root on chain *is* the leaf and anybody can recompute it from a block. Rewriting one chain then needs both.
"""

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from chain import codec, merkle
from chain.artefacts import deployment
from chain.conf import conf
from chain.errors import ChainError
from chain.gateway import bytes_of, gateway
from chain.models import (
    Block,
    ChainName,
    ChainState,
    Finding,
    ItemState,
    Lane,
    OutboxItem,
    Transaction,
    TransactionState,
)
from chain.rpc import Call
from chain.services import head_enqueue
from chain.types import Alarm, hex0x

log = logging.getLogger(__name__)

LABEL = b"medportal/head/v1\0"
REWRITTEN, DIFFERENT, ALONE, LATE = "chain_rewritten", "anchor_different", "anchor_alone", "head_late"
LATE_INTERVALS = 3
# Looked at in one round: the newest, and as many older ones drawn at random, so that in time all are.
HEADS_CHECKED, BATCHES_CHECKED = 100, 20


def head_leaf(chain_id: int, number: int, block_hash: bytes) -> bytes:
    """What stands on the other chain; no salt, so that everybody can check it."""
    return merkle.leaf_hash(LABEL + chain_id.to_bytes(32) + number.to_bytes(8) + bytes(block_hash))


def pairs() -> list[tuple[str, str]]:
    """(whose head, where it is recorded)."""
    return [(of, on) for of in conf().chains for on in conf().chains if of != on]


# -- recording heads ------------------------------------------------------------------------------------------------


def heads_of(of: str, on: str) -> QuerySet[OutboxItem]:
    return OutboxItem.objects.filter(chain=on, lane=Lane.ANCHOR, ref__startswith=f"head:{of}:")


def heads_record(*, is_due: bool = False) -> list[OutboxItem]:
    """Wishes to anchor each chain's newest final block on the other, when it is time (or `is_due` says so)."""
    found = (_head_record(of, on, is_due) for of, on in pairs())
    return [item for item in found if item is not None]


def _head_record(of: str, on: str, is_due: bool) -> OutboxItem | None:
    seconds = conf().heads_seconds
    last = heads_of(of, on).order_by("-created_at").first()
    if last is not None:
        if last.state not in (ItemState.FINAL, ItemState.FAILED):
            return None  # one at a time: a head alone under its root is one that everybody can recompute
        is_due = is_due or (seconds > 0 and timezone.now() - last.created_at >= timedelta(seconds=seconds))
    elif seconds > 0:
        is_due = True
    block = _final_block(of) if is_due else None
    if block is None or (last is not None and last.payload["number"] >= block.number):
        return None
    try:
        # The regulator's account; its key may lie with the deployer's file or with the signer.
        sender = deployment(on).deployer
        if not gateway(on).call("Registry", "isActiveMember", sender):
            return None
    except ChainError:
        return None  # the next round asks again; the age of the newest head is an alarm of its own
    chain_id = conf().chain(of).chain_id
    leaf = head_leaf(chain_id, block.number, block.hash)
    return head_enqueue(chain=on, sender=sender, of=of, number=block.number, block_hash=bytes(block.hash), leaf=leaf)


def _final_block(chain: str) -> Block | None:
    """The newest block whose hash the index has checked and that is final."""
    state = ChainState.objects.filter(name=chain).first()
    if state is None or state.halted_reason:
        return None
    final = Block.objects.filter(chain=chain, is_canonical=True, number__lte=state.finalized, number__gt=0)
    return final.order_by("-number").first()


# -- checking heads -------------------------------------------------------------------------------------------------


def heads_check() -> int:
    """Whether each recorded head is still a block of its chain. Returns how many were compared."""
    return sum(_heads_check(of, on) for of, on in pairs())


def _heads_check(of: str, on: str) -> int:
    recorded = heads_of(of, on).filter(state=ItemState.FINAL).select_related("transaction")
    rows = _sample(recorded, HEADS_CHECKED, Q(ref__in=_open_refs(REWRITTEN, of)[:HEADS_CHECKED]))
    if not rows:
        return 0
    node = gateway(of)
    try:
        there = {
            row.ref: found for row, found in zip(rows, node.headers([r.payload["number"] for r in rows]), strict=True)
        }
    except ChainError:
        return 0  # a silent node is an alarm of its own, and no news about the past
    contradicted = {}
    for row in rows:
        header = there[row.ref]
        known = bytes_of(row.payload["hash"])
        if header is None or header.hash != known:
            now = "has no block there" if header is None else f"has {hex0x(header.hash)} there"
            contradicted[row.ref] = (
                f"Block {row.payload['number']} was recorded on {ChainName(on).label} in block "
                f"{row.transaction.block_number} as {row.payload['hash']}; the node {now}."
            )
    findings_note(code=REWRITTEN, chain=of, checked=[row.ref for row in rows], found=contradicted)
    return len(rows)


# -- checking batches -----------------------------------------------------------------------------------------------


def batches_check() -> int:
    """Whether the chain holds the root that our own leaves give. Returns how many batches were compared."""
    return sum(_batches_check(chain) for chain in conf().chains)


def _batches_check(chain: str) -> int:
    final = Transaction.objects.filter(
        chain=chain, lane=Lane.ANCHOR, state=TransactionState.FINAL, is_reverted=False
    ).prefetch_related("items")
    doubted = [ref.removeprefix("batch:") for ref in _open_refs(DIFFERENT, chain) if ref.startswith("batch:")]
    batches = _sample(final, BATCHES_CHECKED, Q(pk__in=doubted[:BATCHES_CHECKED]))
    if not batches:
        return 0
    node, function = gateway(chain), codec.function("AnchorLog", "anchorOf")
    calls = [
        Call("eth_call", ({"to": hex0x(row.to), "data": hex0x(function.encode([bytes(row.root)]))}, "latest"))
        for row in batches
    ]
    try:
        anchors = [function.decode_result(bytes_of(answer)) for answer in node.rpc.batch(calls)]
    except ChainError:
        return 0
    found, checked = {}, []
    for row, (number, _, count, _, _) in zip(batches, anchors, strict=True):
        items = sorted(row.items.all(), key=lambda item: item.leaf_index)
        if not items:
            continue
        ref = f"batch:{row.pk.hex}"
        named = items[0].ref + (f" and {len(items) - 1} more" if len(items) > 1 else "")
        checked.append(ref)
        if merkle.root([bytes(item.leaf) for item in items]) != bytes(row.root):
            found[ref] = f"The entries of {named} no longer give the root {hex0x(row.root)}."
        elif (number, count) != (row.block_number, len(items)):
            where = f"has it in block {number} over {count}" if number else "does not have it"
            found[ref] = (
                f"The root {hex0x(row.root)} of {named} was anchored in block {row.block_number} over {len(items)}; "
                f"the chain {where}."
            )
    findings_note(code=DIFFERENT, chain=chain, checked=checked, found=found)
    return len(checked)


# -- what was meant for both ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """One leaf that its owner wants on several chains, by the refs it was given there."""

    refs: dict[str, str]
    leaf: bytes
    since: datetime


def both_check(wanted: Sequence[Wanted]) -> int:
    """Compares what the owners wanted with what was queued and anchored; a difference is named by its ref."""
    refs = [ref for want in wanted for ref in want.refs.values()]
    items = {row.ref: row for row in OutboxItem.objects.filter(ref__in=refs)}
    old = timezone.now() - timedelta(seconds=conf().stuck_seconds)
    different: dict[str, dict[str, str]] = {name: {} for name in conf().chains}
    alone: dict[str, dict[str, str]] = {name: {} for name in conf().chains}
    for want in wanted:
        for chain, ref in want.refs.items():
            item = items.get(ref)
            if item is None and want.since <= old:
                alone[chain][ref] = f"{ref} was chosen for both chains and never queued for {ChainName(chain).label}."
            elif item is not None and (item.chain != chain or bytes(item.leaf or b"") != bytes(want.leaf)):
                different[chain][ref] = f"{ref} carries another value than its record."
    for chain in conf().chains:
        checked = [want.refs[chain] for want in wanted if chain in want.refs]
        findings_note(code=DIFFERENT, chain=chain, checked=checked, found=different[chain])
        findings_note(code=ALONE, chain=chain, checked=checked, found=alone[chain])
    return len(wanted)


def _alone(chain: str) -> list[Alarm]:
    """Anchored on the other chain, and after the deadline still not here."""
    old = timezone.now() - timedelta(seconds=conf().stuck_seconds)
    late = OutboxItem.objects.filter(chain=chain, lane=Lane.ANCHOR, created_at__lte=old).exclude(state=ItemState.FINAL)
    elsewhere = OutboxItem.objects.filter(lane=Lane.ANCHOR, state=ItemState.FINAL, leaf=OuterRef("leaf"))
    rows = late.filter(Exists(elsewhere.exclude(chain=chain)))
    refs = list(rows.order_by("created_at").values_list("ref", flat=True)[:3])
    if not refs:
        return []
    count = rows.count()
    named = ", ".join(refs) + (f" and {count - len(refs)} more" if count > len(refs) else "")
    minutes = conf().stuck_seconds // 60
    return [Alarm(ALONE, chain, f"Anchored on the other chain but after {minutes} minutes not here: {named}.")]


# -- findings -------------------------------------------------------------------------------------------------------


def findings_note(*, code: str, chain: str, checked: Iterable[str], found: dict[str, str]) -> None:
    """What a round found; a contradiction that is gone again is closed and kept."""
    now = timezone.now()
    Finding.objects.bulk_create(
        [Finding(code=code, chain=chain, ref=ref, text=text, first_at=now, last_at=now) for ref, text in found.items()],
        update_conflicts=True,
        unique_fields=["code", "chain", "ref"],
        update_fields=["text", "last_at", "cleared_at"],
    )
    gone = Finding.objects.filter(code=code, chain=chain, cleared_at__isnull=True, ref__in=set(checked) - set(found))
    gone.update(cleared_at=now)
    for ref, text in found.items():
        log.error("cross-check chain=%s code=%s ref=%s: %s", chain, code, ref, text)


def _open_refs(code: str, chain: str) -> list[str]:
    return list(Finding.objects.filter(code=code, chain=chain, cleared_at__isnull=True).values_list("ref", flat=True))


def _sample(rows: QuerySet, size: int, doubted: Q) -> list:
    """The newest, some older ones from a random place on, and those that contradicted before."""
    chosen = {row.pk: row for row in rows.order_by("-created_at")[:size]}
    chosen |= {row.pk: row for row in rows.filter(pk__gte=uuid.uuid4()).order_by("pk")[:size]}
    chosen |= {row.pk: row for row in rows.filter(doubted)}
    return list(chosen.values())


# -- for people -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeadStatus:
    """How far one chain vouches for another."""

    of: str
    on: str
    number: int | None
    block_hash: str
    recorded_at: datetime | None
    recorded_block: int | None
    tx_hash: str
    is_late: bool


def heads_status() -> list[HeadStatus]:
    return [_head_status(of, on) for of, on in pairs()]


def _head_status(of: str, on: str) -> HeadStatus:
    final = heads_of(of, on).filter(state=ItemState.FINAL).select_related("transaction__mined_attempt")
    last = final.order_by("-transaction__block_number").first()
    if last is None:
        return HeadStatus(of, on, None, "", None, None, "", _is_late(on, None))
    sent = last.transaction
    tx_hash = hex0x(sent.mined_attempt.tx_hash)
    number, block_hash = last.payload["number"], last.payload["hash"]
    return HeadStatus(
        of, on, number, block_hash, sent.block_time, sent.block_number, tx_hash, _is_late(on, sent.block_time)
    )


def _is_late(on: str, at: datetime | None) -> bool:
    seconds = conf().heads_seconds
    if at is None:  # counted from the first block that was indexed
        at = Block.objects.filter(chain=on, number__gt=0).order_by("number").values_list("timestamp", flat=True).first()
    return bool(
        seconds and at and timezone.now() - at > timedelta(seconds=LATE_INTERVALS * seconds + conf().stuck_seconds)
    )


def alarms(chain: str) -> list[Alarm]:
    """From the database alone: what the last rounds found, and heads that did not come."""
    found = _alone(chain)
    for row in Finding.objects.filter(chain=chain, cleared_at__isnull=True).order_by("code", "first_at", "ref"):
        found.append(Alarm(row.code, chain, row.text, row.ref))
    for status in heads_status():
        if status.of == chain and status.is_late:
            on = ChainName(status.on).label
            words = f"block {status.number}" if status.number is not None else "no block"
            found.append(Alarm(LATE, chain, f"On {on} {words} of this chain is recorded, and nothing newer."))
    return found


def round_once() -> None:
    """What the clock calls: record what is due, then compare."""
    heads_record()
    heads_check()
    batches_check()
