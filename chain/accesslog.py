"""One organisation's access log as the chain holds it: from the index, and, to check the index, from the node."""

import hashlib
from collections.abc import Iterator, Sequence

from django.db.models import Q

from chain import codec
from chain.artefacts import deployment
from chain.conf import conf
from chain.gateway import bytes_of, gateway, number_of
from chain.models import ChainEvent, ChainState, Lane, OutboxItem, Transaction
from chain.outbox import KINDS
from chain.types import hex0x

ROLLING_START = bytes(24)


def indexed_to(chain: str) -> int:
    """The last final block that the index has read without a gap before it; -1 before the first."""
    state = ChainState.objects.filter(name=chain).first()
    if state is None:
        return -1
    return min([state.finalized, state.cursor_number, *(gap - 1 for gap in state.gaps)])


def leaves_indexed(*, chain: str, organisation: bytes, to_block: int) -> Iterator[tuple[bytes, bytes]]:
    """(contract, leaf) in the order of the log; a released version of the contract goes on where the last ended."""
    events = ChainEvent.objects.filter(
        chain=chain,
        is_canonical=True,
        contract="AccessLog",
        name="AccessLogged",
        args__organisation=hex0x(organisation),
        block_number__lte=to_block,
    )
    rows = events.order_by("block_number", "log_index").values_list("address", "args")
    for address, args in rows.iterator(chunk_size=200):
        yield from ((address, bytes_of(leaf)) for leaf in args["leaves"])


def leaves_asked(*, chain: str, organisation: bytes, to_block: int) -> Iterator[tuple[bytes, bytes]]:
    """The same, read from the node window by window: slow, for when the index itself is in doubt."""
    event = next(kind for kind in codec.events("AccessLog").values() if kind.name == "AccessLogged")
    places, step = contracts(chain), conf().chain(chain).window_blocks
    for start in range(deployment(chain)["AccessLog"].block_number if len(places) == 1 else 0, to_block + 1, step):
        logs = gateway(chain).get_logs(places, start, min(start + step - 1, to_block))
        for log in sorted(logs, key=lambda log: (number_of(log.blockNumber), number_of(log.logIndex))):
            if bytes_of(log.topics[0]) != event.topic:
                continue
            args = event.decode(log.topics, log.data)
            if bytes_of(args["organisation"]) == organisation:
                yield from ((bytes_of(log.address), bytes_of(leaf)) for leaf in args["leaves"])


def contracts(chain: str) -> list[bytes]:
    """Every version of the log's contract that was ever in use."""
    return [address for address, name in deployment(chain).names.items() if name == "AccessLog"]


def leaves_sent(*, chain: str, organisation: bytes) -> int:
    """How many leaves were given to the sender, whatever became of them."""
    return OutboxItem.objects.filter(chain=chain, sender=organisation, lane=Lane.ACCESS).count()


def rolling(head: bytes, leaf: bytes) -> bytes:
    """The contract's own head after one more leaf."""
    return hashlib.sha256(head + leaf).digest()[:24]


def heads_asked(*, chain: str, organisation: bytes, block: int) -> dict[bytes, tuple[bytes, int]]:
    """(rolling head, count) that each version of the contract had at the end of a block."""
    function, found = codec.function("AccessLog", "head"), {}
    for address in contracts(chain):
        answer = gateway(chain).call_raw(address, function.encode([organisation]), block=block)
        if answer:  # nothing: a version that was not there yet
            found[address] = function.decode_result(answer)
    return found


def anchors_indexed(*, chain: str, organisation: bytes, kind: str, to_block: int) -> Sequence[bytes]:
    """Roots that an organisation anchored for one kind of leaf, oldest first."""
    events = _anchors(chain, kind).filter(args__organisation=hex0x(organisation), block_number__lte=to_block)
    roots = events.order_by("block_number", "log_index").values_list("args", flat=True)
    return [bytes_of(args["root"]) for args in roots.iterator()]


def anchor_indexed(*, chain: str, root: bytes, kind: str) -> ChainEvent | None:
    """The event by which a root came onto the chain, final or not."""
    return _anchors(chain, kind).filter(args__root=hex0x(root)).first()


def anchor_after(event: ChainEvent) -> ChainEvent | None:
    """The next anchor of the same organisation for the same kind of leaf."""
    later = Q(block_number__gt=event.block_number) | Q(block_number=event.block_number, log_index__gt=event.log_index)
    same = ChainEvent.objects.filter(later, chain=event.chain, is_canonical=True, contract="AnchorLog", name="Anchored")
    same = same.filter(args__organisation=event.args["organisation"], args__kind=event.args["kind"])
    return same.order_by("block_number", "log_index").first()


def anchors_sent(*, chain: str, organisation: bytes, kind: str) -> dict[bytes, Transaction]:
    """Our own transactions by the root that they carry, whatever became of them."""
    sent = Transaction.objects.filter(chain=chain, sender=organisation, lane=Lane.ANCHOR, kind=kind).defer("data")
    return {bytes(row.root): row for row in sent.iterator()}


def _anchors(chain: str, kind: str):
    return ChainEvent.objects.filter(
        chain=chain, is_canonical=True, contract="AnchorLog", name="Anchored", args__kind=KINDS.index(kind)
    )
