"""One organisation's access log as the chain holds it: from the index, and, to check the index, from the node."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from chain import codec
from chain.artefacts import deployment
from chain.conf import conf
from chain.gateway import bytes_of, gateway, number_of
from chain.models import ChainEvent, ChainState, Lane, Transaction
from chain.outbox import KINDS
from chain.types import hex0x

ROLLING_START = bytes(24)


def indexed_to(chain: str) -> int:
    """The last final block that the index has read without a gap before it; -1 before the first."""
    state = ChainState.objects.filter(name=chain).first()
    if state is None:
        return -1
    return min([state.finalized, state.cursor_number, *(gap - 1 for gap in state.gaps)])


def leaves_indexed(*, chain: str, organisation: bytes, to_block: int) -> Iterator[bytes]:
    """In the order of the log."""
    events = _events(chain, organisation, to_block).filter(contract="AccessLog", name="AccessLogged")
    for args in events.order_by("block_number", "log_index").values_list("args", flat=True).iterator(chunk_size=200):
        yield from (bytes_of(leaf) for leaf in args["leaves"])


def leaves_asked(*, chain: str, organisation: bytes, to_block: int) -> Iterator[bytes]:
    """The same, read from the node window by window: slow, for when the index itself is in doubt."""
    place = deployment(chain)["AccessLog"]
    topic, event = next(
        (topic, kind) for topic, kind in codec.events("AccessLog").items() if kind.name == "AccessLogged"
    )
    step = conf().chain(chain).window_blocks
    for start in range(place.block_number, to_block + 1, step):
        logs = gateway(chain).get_logs([place.address], start, min(start + step - 1, to_block))
        for log in sorted(logs, key=lambda log: (number_of(log.blockNumber), number_of(log.logIndex))):
            if bytes_of(log.topics[0]) != event.topic:
                continue
            args = event.decode(log.topics, log.data)
            if bytes_of(args["organisation"]) == organisation:
                yield from (bytes_of(leaf) for leaf in args["leaves"])


def rolling(head: bytes, leaves: Iterable[bytes]) -> bytes:
    """AccessLog's own head over more leaves."""
    for leaf in leaves:
        head = hashlib.sha256(head + leaf).digest()[:24]
    return head


def head_asked(*, chain: str, organisation: bytes, block: int) -> tuple[bytes, int]:
    """(rolling head, count) that the contract had at the end of a block."""
    head, count = gateway(chain).call("AccessLog", "head", organisation, block=block)
    return bytes_of(head) if isinstance(head, str) else bytes(head), count


def anchors_indexed(*, chain: str, organisation: bytes, kind: str, to_block: int) -> Sequence[bytes]:
    """Roots that an organisation anchored for one kind of leaf, oldest first."""
    events = _events(chain, organisation, to_block).filter(
        contract="AnchorLog", name="Anchored", args__kind=KINDS.index(kind)
    )
    roots = events.order_by("block_number", "log_index").values_list("args", flat=True)
    return [bytes_of(args["root"]) for args in roots.iterator()]


def anchors_sent(*, chain: str, organisation: bytes, kind: str) -> dict[bytes, Transaction]:
    """Our own transactions by the root that they carry, whatever became of them."""
    sent = Transaction.objects.filter(chain=chain, sender=organisation, lane=Lane.ANCHOR, kind=kind).defer("data")
    return {bytes(row.root): row for row in sent.iterator()}


def _events(chain: str, organisation: bytes, to_block: int):
    return ChainEvent.objects.filter(
        chain=chain, is_canonical=True, args__organisation=hex0x(organisation), block_number__lte=to_block
    )
