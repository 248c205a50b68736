"""Follows one chain: a step plans, fetches, checks the links, and writes events and cursor in one transaction.

Blocks are known by hash. Nothing is deleted: what a reorganisation removes loses `is_canonical` and gets it back
when its block returns. A contradiction at or below what was final stops the index until a person has looked.
"""

import logging
import time
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from operator import itemgetter

import msgspec
from django.db import transaction
from django.utils import timezone

from chain import bloom, codec, fork, identity
from chain.ahead import Ahead
from chain.artefacts import Deployment, deployment
from chain.conf import conf
from chain.errors import ChainHalted, LeaseLost, RpcInconsistent, RpcLimited
from chain.eventstore import BlockRow, EventRow, blocks_write, events_write
from chain.failpoints import fp
from chain.gateway import Look, bytes_of, gateway, int_of
from chain.leases import Held, lease_hold
from chain.models import Block, ChainEvent, ChainState
from chain.projection import projector_reset
from chain.rpc import LogJson
from chain.types import Header, hex0x
from chain.window import Window
from chain.witness import PROJECTOR, Witness

log = logging.getLogger(__name__)
SEEN_SECONDS = 5
INDEX_END = 2**31  # what the column holds
encode_json = msgspec.json.Encoder().encode
# In one answer the same numbers and transactions stand again and again.
_int = lru_cache(maxsize=65_536)(int_of)
_hash = lru_cache(maxsize=4_096)(partial(bytes_of, size=32))


@dataclass(frozen=True)
class Stepped:
    """What one step did: idle, range, tail, fork, gap, halt or witness."""

    kind: str
    blocks: int = 0
    events: int = 0

    @property
    def is_idle(self) -> bool:
        return self.kind == "idle"


class Indexer:
    def __init__(self, chain: str, held: Held) -> None:
        self.chain = chain
        self.held = held
        self.node = gateway(chain)
        self.place: Deployment = deployment(chain)
        self.addresses = list(self.place.names)
        node_conf = self.node.conf
        self.ahead = Ahead(self._read)
        self.window = Window(node_conf.window_blocks, node_conf.window_blocks_max)
        self.known = {
            hex0x(address): (address, {hex0x(topic): kind for topic, kind in codec.events(name).items()})
            for address, name in self.place.names.items()
        }
        self.witness = Witness(chain)
        self.masks = bloom.masks_of({address: codec.events(name) for address, name in self.place.names.items()})

    def step(self) -> Stepped:
        look = self.node.look()
        fp("index.looked")
        state = identity.state_checked(self.chain, look)
        if state.halted_reason:
            raise ChainHalted(f"{self.chain}: {state.halted_reason}")
        if state.cursor_hash is None:
            state = self._begin(state, look)
        changed = self._fork(state, look)
        if changed is not None:
            return changed
        if state.cursor_number < look.finalized:
            return self._range(state, look)
        if state.cursor_number < look.head.number:
            return self._tail(state, look)
        if state.gaps:
            return self._gap(state, look)
        if self._is_news(state, look):
            self._save(state, look, [], [], state.cursor_number, bytes(state.cursor_hash))
        compared = self.witness.step(state)
        if compared is not None:
            return Stepped("witness", compared.last - compared.first + 1)
        return Stepped("idle")

    @staticmethod
    def _is_news(state: ChainState, look: Look) -> bool:
        """An idle look is written down when it differs, and now and then to show that somebody looks."""
        known = (state.head, state.finalized)
        if known != (look.head.number, max(state.finalized, min(look.finalized, state.cursor_number))):
            return True
        return state.checked_at is None or (timezone.now() - state.checked_at).total_seconds() >= SEEN_SECONDS

    def _begin(self, state: ChainState, look: Look) -> ChainState:
        """The cursor starts on the block before the first contract."""
        number = max(0, self.place.start_block - 1)
        header = self.node.block_by_number(number)
        if header is None:
            raise RpcInconsistent(f"{self.chain}: the node does not have block {number} yet")
        if number == 0:
            header = replace(header, hash=look.genesis_hash)
        state.cursor_number, state.cursor_hash = number, header.hash
        with transaction.atomic(durable=True):
            lease_hold(self.held, seconds=conf().lease_seconds)
            blocks_write([self._block_row(header)])
            ChainState.objects.filter(name=self.chain).update(
                cursor_number=number, cursor_hash=header.hash, finalized=number, fence=self.held.fence
            )
        state.finalized = number
        return state

    # -- reorganisations ----------------------------------------------------------------------------------------

    def _fork(self, state: ChainState, look: Look) -> Stepped | None:
        """Compares our tip with the node's block at that height; goes back to the last block both have."""
        tip = self._hash_there(state.cursor_number, look)
        if tip == bytes(state.cursor_hash):
            return None
        if look.head.number < state.finalized:
            there = self._our_hash(look.head.number)
            if there is not None and there != look.head.hash:
                return self._halt(state, look.head.number)
            raise RpcInconsistent(
                f"{self.chain}: the node is at {look.head.number}, behind the final block {state.finalized}"
            )
        ancestor = fork.common_ancestor(
            tip=min(state.cursor_number, look.head.number),
            floor=state.finalized,
            ours=self._our_hash,
            theirs=lambda number: self._hash_there(number, look),
        )
        if ancestor is None:
            return self._halt(state, state.finalized)
        return self._rewind(state, look, ancestor)

    def _hash_there(self, number: int, look: Look) -> bytes | None:
        if number > look.head.number:
            return None
        if number == 0:
            return look.genesis_hash
        if number == look.head.number:
            return look.head.hash
        header = self.node.block_by_number(number)
        return header.hash if header else None

    def _our_hash(self, number: int) -> bytes | None:
        found = Block.objects.filter(chain=self.chain, number=number, is_canonical=True)
        return found.values_list("hash", flat=True).first()

    def _rewind(self, state: ChainState, look: Look, ancestor: int) -> Stepped:
        depth = state.cursor_number - ancestor
        with transaction.atomic(durable=True):
            lease_hold(self.held, seconds=conf().lease_seconds)
            blocks = Block.objects.filter(chain=self.chain, number__gt=ancestor, is_canonical=True)
            events = ChainEvent.objects.filter(chain=self.chain, block_number__gt=ancestor, is_canonical=True)
            gone = blocks.update(is_canonical=False)
            lost = events.update(is_canonical=False)
            self._move(
                state,
                cursor_number=ancestor,
                cursor_hash=self._our_hash(ancestor),
                head=look.head.number,
                checked_at=timezone.now(),
                last_fork_number=ancestor,
                last_fork_depth=depth,
                last_fork_at=timezone.now(),
            )
            fp("index.rewound")
        log.warning("fork chain=%s ancestor=%s depth=%s events=%s", self.chain, ancestor, depth, lost)
        return Stepped("fork", gone, lost)

    def _halt(self, state: ChainState, number: int) -> Stepped:
        # Only a person ends a halt, so the node is asked once more: a single wrong answer must not cause one.
        if self._hash_there(number, self.node.look()) in (None, self._our_hash(number)):
            raise RpcInconsistent(f"{self.chain}: the node gave two answers for block {number}")
        reason = (
            f"block {number} was final here, and the node now has another one at that height "
            f"({timezone.now():%Y-%m-%d %H:%M} UTC). Find out which is right before going on: either bring back the "
            "node's data, or accept its version with `manage.py chain_reindex`"
        )
        with transaction.atomic(durable=True):
            lease_hold(self.held, seconds=conf().lease_seconds)
            self._move(state, halted_reason=reason, checked_at=timezone.now())
        log.critical("index halted chain=%s block=%s", self.chain, number)
        return Stepped("halt")

    # -- fetching -----------------------------------------------------------------------------------------------

    def _range(self, state: ChainState, look: Look) -> Stepped:
        """Blocks that can no longer change: one query for many."""
        now = time.monotonic()
        first = state.cursor_number + 1
        size = min(self.window.size, look.finalized - state.cursor_number)
        last = first + size - 1
        try:
            logs, headers = self.ahead.take(first, last)
        except RpcLimited:
            self.window.refused(size, now)
            if size > 1:
                return Stepped("range")
            logs, headers, state.gaps = [], {}, [*state.gaps, first]
            log.error("gap chain=%s block=%s", self.chain, first)
        else:
            self.window.accepted(size, now)
            if last < look.finalized:
                self.ahead.ask(last + 1, min(last + self.window.size, look.finalized))
        end = headers.get(last) or self.node.block_by_number(last)
        if end is None or (size == 1 and end.parent_hash != bytes(state.cursor_hash)):
            raise RpcInconsistent(f"{self.chain}: block {last} does not continue the chain")
        rows = self._rows(logs, first, last, headers)
        fp("index.range_fetched")
        self._save(state, look, [self._block_row(end)], rows, last, end.hash)
        return Stepped("range", size, len(rows))

    def _read(self, first: int, last: int) -> tuple[list[LogJson], dict[int, Header]]:
        """The logs of a range, and the headers of its last block and of each block with logs: what a log says about
        its block counts only when the block says the same."""
        try:
            logs = self.node.get_logs(self.addresses, first, last)
        except RpcLimited:
            if first != last:
                raise
            return self._read_one(first)
        numbers = sorted({number for log in logs if first <= (number := _int(log.blockNumber)) <= last} | {last})
        headers = dict(zip(numbers, self.node.headers(numbers), strict=True))
        if None in headers.values():
            raise RpcInconsistent(f"{self.chain}: blocks of {first} to {last} are not there")
        return logs, headers

    def _read_one(self, number: int) -> tuple[list[LogJson], dict[int, Header]]:
        """A single block that is too much for a range query."""
        header = self.node.block_by_number(number)
        if header is None:
            raise RpcInconsistent(f"{self.chain}: the node does not have block {number}")
        return self.node.logs_by_block(self.addresses, [header])[0], {number: header}

    def _tail(self, state: ChainState, look: Look) -> Stepped:
        """Blocks that may still change: headers with checked links, logs by block hash."""
        first = state.cursor_number + 1
        last = min(look.head.number, state.cursor_number + self.node.conf.tail_blocks)
        found = self.node.headers(range(first, last + 1))
        headers = [header for header in found if header is not None]
        numbers = [header.number for header in headers]
        if numbers != list(range(first, last + 1)) or not fork.is_linked(
            bytes(state.cursor_hash), [(header.hash, header.parent_hash) for header in headers]
        ):
            raise RpcInconsistent(f"{self.chain}: blocks {first} to {last} changed while they were read")
        by_block = self.node.logs_by_block(self.addresses, headers)
        rows: list[EventRow] = []
        for header, logs in zip(headers, by_block, strict=True):
            rows += self._rows(logs, header.number, header.number, {header.number: header})
        fp("index.tail_fetched")
        self._save(state, look, [self._block_row(h) for h in headers], rows, last, headers[-1].hash)
        return Stepped("tail", len(headers), len(rows))

    def _gap(self, state: ChainState, look: Look) -> Stepped:
        """A block whose logs the node could not give: tried again when there is nothing else to do."""
        number = state.gaps[0]
        try:
            logs, headers = self._read(number, number)
        except RpcLimited:
            return Stepped("idle")
        state.gaps = state.gaps[1:]
        rows = self._rows(logs, number, number, headers)
        self._save(state, look, [], rows, state.cursor_number, bytes(state.cursor_hash))
        return Stepped("gap", 1, len(rows))

    # -- checking and writing -----------------------------------------------------------------------------------

    def _rows(self, logs: list[LogJson], first: int, last: int, headers: dict[int, Header]) -> list[EventRow]:
        """Decoded logs in chain order; anything that was not asked for makes the answer worthless."""
        placed = sorted([(_int(log.blockNumber), _int(log.logIndex), log) for log in logs], key=itemgetter(0, 1))
        blocks = {number: (hex0x(header.hash), header) for number, header in headers.items()}
        rows = []
        before = (-1, -1)
        for number, index, entry in placed:
            text, header = blocks.get(number, ("", None))
            known = self.known.get(entry.address) or self.known.get(entry.address.lower())
            fits = first <= number <= last and before < (number, index) < (number, INDEX_END) and not entry.removed
            if not fits or known is None or entry.blockHash.lower() != text:
                raise RpcInconsistent(f"{self.chain}: logs of {first} to {last} are not what was asked for")
            before = (number, index)
            address, kinds = known
            kind = kinds.get(entry.topics[0].lower()) if entry.topics else None
            if kind is None:
                continue
            args = encode_json(kind.decode(entry.topics, entry.data)).decode()
            tx_hash = _hash(entry.transactionHash)
            rows.append(
                EventRow(
                    self.chain,
                    header.hash,
                    number,
                    header.timestamp,
                    tx_hash,
                    index,
                    address,
                    kind.contract,
                    kind.name,
                    args,
                )
            )
        for number in headers.keys() - {number for number, _, _ in placed}:
            self._surely_empty(headers[number])
        return rows

    def _surely_empty(self, header: Header) -> None:
        """A node may give a block before its logs can be found. The block's bloom and its receipts know better."""
        if header.bloom is None or not bloom.may_hold(header.bloom, self.masks):
            return
        for receipt in self.node.receipts(header.transactions):
            if receipt is None or receipt.block_hash != header.hash or any(e.contract for e in receipt.events):
                raise RpcInconsistent(f"{self.chain}: the node kept back logs of block {header.number}")

    def _block_row(self, header: Header) -> BlockRow:
        return BlockRow(self.chain, header.hash, header.number, header.parent_hash, header.timestamp)

    def _save(
        self,
        state: ChainState,
        look: Look,
        blocks: list[BlockRow],
        events: list[EventRow],
        number: int,
        block_hash: bytes,
    ) -> None:
        with transaction.atomic(durable=True):
            lease_hold(self.held, seconds=conf().lease_seconds)
            blocks_write(blocks)
            fp("index.blocks_written")
            events_write(events)
            fp("index.events_written")
            self._move(
                state,
                cursor_number=number,
                cursor_hash=block_hash,
                head=look.head.number,
                # Never back: what was final once stays final here, or the index halts.
                finalized=max(state.finalized, min(look.finalized, number)),
                gaps=state.gaps,
                checked_at=timezone.now(),
            )
            fp("index.cursor_moved")
        fp("index.saved")

    def _move(self, state: ChainState, **changes) -> None:
        """Carries the fence: a holder that came back too late, or a cursor that moved meanwhile, changes nothing."""
        mine = ChainState.objects.filter(
            name=self.chain,
            fence__lte=self.held.fence,
            cursor_number=state.cursor_number,
            finalized=state.finalized,
        )
        if mine.update(fence=self.held.fence, **changes) != 1:
            raise LeaseLost(f"{self.chain}: another indexer moved the cursor")


def events_reset(chain: str, *, held: Held) -> None:
    """Forgets the index of a chain, so that the next steps build it anew from the first contract's block."""
    with transaction.atomic(durable=True):
        lease_hold(held, seconds=conf().lease_seconds)
        ChainEvent.objects.filter(chain=chain).delete()
        Block.objects.filter(chain=chain).delete()
        ChainState.objects.filter(name=chain).update(
            cursor_number=-1, cursor_hash=None, finalized=-1, halted_reason="", gaps=[]
        )
        projector_reset(projector=PROJECTOR, chain=chain)
