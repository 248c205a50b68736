"""Where two versions of a chain part. Pure: the caller says what either side has at a height."""

from collections.abc import Callable

HashAt = Callable[[int], bytes | None]


def common_ancestor(*, tip: int, floor: int, ours: HashAt, theirs: HashAt) -> int | None:
    """The highest number from `tip` down to `floor` where both sides agree; None when even the floor differs.

    A height that either side does not know counts as different, so a rewound chain leads below its new head.
    """
    for number in range(tip, floor - 1, -1):
        mine = ours(number)
        if mine is not None and mine == theirs(number):
            return number
    return None


def is_linked(parent: bytes, hashes: list[tuple[bytes, bytes]]) -> bool:
    """Whether (hash, parent hash) pairs hang on `parent` and on each other, in order."""
    for block_hash, parent_hash in hashes:
        if parent_hash != parent:
            return False
        parent = block_hash
    return True
