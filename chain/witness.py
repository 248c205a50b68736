"""What a release rests on: a node on the chain that the index knows and, where there is one, a second that agrees.

A node can lie, be stale, or be another chain's. So a question whose answer opens a record is asked together with the
block that the index holds for final, and two independent nodes must give the same answer. The second one also reads
all final events again and compares them with the index.
"""

import logging
import time
from dataclasses import dataclass, replace
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Subquery
from django.utils import timezone

from chain import codec
from chain.artefacts import deployment
from chain.conf import conf
from chain.errors import NodesDisagree, RpcInconsistent, RpcLimited, RpcUnavailable
from chain.gateway import Gateway, Placed, bytes_of, gateway_of, int_of
from chain.models import Block, ChainEvent, ChainState, Finding
from chain.projection import cursor_of, projector_advance
from chain.rpc import LogJson
from chain.window import Window

log = logging.getLogger(__name__)
CODE = "nodes_disagree"
EVENTS = "events"  # the finding of the comparison below; while it is open, nothing is released
PROJECTOR = "witness"
AGAIN_SECONDS = 5
REMEMBERED_SECONDS = 24 * 3600  # a contradiction in one answer is shown for a day after the last one


def second(chain: str) -> Gateway | None:
    """The other node of a chain, if the operator named one."""
    first = conf().chain(chain)
    return gateway_of(replace(first, rpc_url=first.rpc_url_2, rpc_url_2="")) if first.rpc_url_2 else None


# -- one answer --------------------------------------------------------------------------------------------------------


def agreed(chain: str, contract: str, function: str, *args) -> bool:
    """A contract's yes or no. Raises a kind of RpcUnavailable when none can be relied on; then nothing is released."""
    number, block_hash = _final_block(chain)
    nodes = [gateway_of(conf().chain(chain)), second(chain)]
    found = [_placed(node, contract, function, args, number, block_hash) for node in nodes if node is not None]
    if len({item.value for item in found}) == 1:
        return bool(found[0].value)
    # A block more or less is no contradiction, so both are asked about one and the same block.
    at = min(item.head.number for item in found)
    hashes = [node.headers([at])[0] for node in nodes]
    if None in hashes or len({header.hash for header in hashes}) != 1:
        raise RpcInconsistent(f"{chain}: the nodes have different blocks at {at}")
    if len({node.call(contract, function, *args, block=at) for node in nodes}) != 1:
        text = f"The two nodes give different answers about {contract}.{function} in block {at}."
        disagreement_note(chain, f"{contract}.{function}", text)
        raise NodesDisagree(f"{chain}: {text}")
    return False


def _final_block(chain: str) -> tuple[int, bytes]:
    """The newest block that is final in the index; raises when the index itself is in doubt."""
    doubts = Finding.objects.filter(code=CODE, chain=OuterRef("name"), ref=EVENTS, cleared_at__isnull=True)
    there = Block.objects.filter(chain=OuterRef("name"), number=OuterRef("finalized"), is_canonical=True)
    state = (
        ChainState.objects.filter(name=chain)
        .annotate(final_hash=Subquery(there.values("hash")[:1]), is_doubted=Exists(doubts))
        .first()
    )
    if state is None or state.final_hash is None:
        raise RpcInconsistent(f"{chain}: the index has no final block yet")
    if state.halted_reason:
        raise RpcInconsistent(f"{chain}: {state.halted_reason}")
    if state.is_doubted:
        raise NodesDisagree(f"{chain}: the second node has other events than the index")
    return state.finalized, bytes(state.final_hash)


def _placed(node: Gateway, contract: str, function: str, args: tuple, number: int, block_hash: bytes) -> Placed:
    found = node.call_placed(contract, function, *args, number=number)
    if found.chain_id != node.conf.chain_id or found.block_hash != block_hash:
        where = "is behind" if found.block_hash is None else "is not on the chain of"
        raise RpcInconsistent(f"{node.conf.name}: the node {where} block {number}, which was final")
    return found


# -- all events --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    first: int
    last: int
    differs_at: int | None


class Witness:
    """Reads what is final in the index again, from the second node. Called by the indexer when it has nothing to do."""

    def __init__(self, chain: str) -> None:
        self.chain = chain
        self.node = second(chain)
        self.place = deployment(chain)
        first = conf().chain(chain)
        self.window = Window(first.window_blocks, first.window_blocks_max)
        self.retry_at = 0.0

    def step(self, state: ChainState) -> Compared | None:
        """One stretch of blocks; None when there is nothing to compare now."""
        now = time.monotonic()
        if self.node is None or now < self.retry_at:
            return None
        cursor = cursor_of(PROJECTOR, self.chain)
        first = max(cursor.block_number + 1, self.place.start_block)
        size = min(self.window.size, state.finalized - first + 1)
        if size <= 0 or any(first <= gap < first + size for gap in state.gaps):
            return None
        last = first + size - 1
        try:
            end = self.node.headers([last])[0]
            if end is None:
                raise RpcInconsistent(f"block {last} is not there yet")
            theirs = self._events(first, last)
        except RpcLimited:
            self.window.refused(size, now)
            return None
        except RpcUnavailable as error:
            log.warning("second node chain=%s: %s", self.chain, error)
            self.retry_at = now + AGAIN_SECONDS
            return None
        self.window.accepted(size, now)
        differs_at = self._difference(theirs, first, last)
        ours = Block.objects.filter(chain=self.chain, number=last, is_canonical=True).first()
        if differs_at is None and ours is not None and bytes(ours.hash) != end.hash:
            differs_at = last
        with transaction.atomic(durable=True):
            if differs_at is None:
                seen = ChainEvent(block_number=last, log_index=-1)
                projector_advance(projector=PROJECTOR, chain=self.chain, seen=seen, start=cursor)
                disagreements_close(self.chain)
            else:
                text = f"The second node contradicts the index about block {differs_at}, which is final."
                disagreement_note(self.chain, EVENTS, text)
                self.retry_at = now + AGAIN_SECONDS
        return Compared(first, last, differs_at)

    def _events(self, first: int, last: int) -> list[tuple]:
        logs = self.node.get_logs(list(self.place.names), first, last)
        return sorted(row for row in map(self._row, logs) if row is not None)

    def _row(self, entry: LogJson) -> tuple | None:
        address = bytes_of(entry.address, 20)
        contract = self.place.names.get(address)
        kind = codec.events(contract).get(bytes_of(entry.topics[0], 32)) if contract and entry.topics else None
        if kind is None:
            return None
        return (
            int_of(entry.blockNumber),
            int_of(entry.logIndex),
            bytes_of(entry.blockHash, 32),
            bytes_of(entry.transactionHash, 32),
            address,
            kind.name,
            repr(sorted(kind.decode(entry.topics, entry.data).items())),
        )

    def _difference(self, theirs: list[tuple], first: int, last: int) -> int | None:
        """The first block in which the index and the second node differ."""
        found = ChainEvent.objects.filter(
            chain=self.chain, is_canonical=True, block_number__gte=first, block_number__lte=last
        )
        columns = ("block_number", "log_index", "block_hash", "tx_hash", "address", "name", "args")
        rows = found.order_by("block_number", "log_index").values_list(*columns)
        ours = [
            (number, index, bytes(block), bytes(tx), bytes(address), name, repr(sorted(args.items())))
            for number, index, block, tx, address, name, args in rows
        ]
        different = set(ours) ^ set(theirs)
        return min(row[0] for row in different) if different else None


# -- what is shown -----------------------------------------------------------------------------------------------------


def disagreement_note(chain: str, ref: str, text: str) -> None:
    """An alarm for people, kept until the nodes have agreed again."""
    now = timezone.now()
    Finding.objects.bulk_create(
        [Finding(code=CODE, chain=chain, ref=ref[:64], text=text, first_at=now, last_at=now)],
        update_conflicts=True,
        unique_fields=["code", "chain", "ref"],
        update_fields=["text", "last_at", "cleared_at"],
    )
    log.error("nodes disagree chain=%s ref=%s: %s", chain, ref, text)


def disagreements_close(chain: str) -> None:
    """The events agree again; single answers that differed are shown for a day."""
    now = timezone.now()
    is_over = Q(ref=EVENTS) | Q(last_at__lte=now - timedelta(seconds=REMEMBERED_SECONDS))
    Finding.objects.filter(is_over, code=CODE, chain=chain, cleared_at__isnull=True).update(cleared_at=now)
