"""The map of a hospital's patient lines: one root that says how long each line is and how it ends.

Without it a list that stops early would look whole. docs/formats.md and the offline checker repeat these bytes.

index = SHA-256("medportal/log-index/v1" 0 || log_key32)
line  = SHA-256("medportal/log-line/v1" 0 || log_key32 || u64 number || u64 count || link32)
leaf  = SHA-256(0x00 || index || line)
node  = SHA-256(0x01 || left || right), by the bits of the index from the first on
empty = 32 zero bytes; a subtree that holds one leaf is that leaf
head  = SHA-256(0x00 || "medportal/log-map/v1" 0 || tenant16 || u64 number || u64 seq || link32 || u64 lines
        || root32 || previous head32)                        the leaf that is anchored
"""

import hashlib
import struct
import uuid
from bisect import bisect_left
from collections.abc import Sequence

EMPTY = bytes(32)
_BITS = 256


def index_of(log_key: bytes) -> bytes:
    """Where a line stands: random to everybody who does not hold the key."""
    return hashlib.sha256(b"medportal/log-index/v1\0" + log_key).digest()


def leaf_of_line(*, log_key: bytes, number: int, count: int, link: bytes) -> bytes:
    """The map's number makes every leaf new, so a neighbour in the tree cannot see whether a line grew."""
    line = hashlib.sha256(b"medportal/log-line/v1\0" + log_key + struct.pack(">QQ", number, count) + link).digest()
    return hashlib.sha256(b"\0" + index_of(log_key) + line).digest()


def head_of(
    *, tenant: uuid.UUID, number: int, seq: int, link: bytes, lines: int, root: bytes, previous: bytes
) -> bytes:
    """What is anchored: the map, the end of the hospital's own line, and the map before."""
    body = tenant.bytes + struct.pack(">QQ", number, seq) + link + struct.pack(">Q", lines) + root + previous
    return hashlib.sha256(b"\0medportal/log-map/v1\0" + body).digest()


def root_of(leaves: Sequence[tuple[bytes, bytes]]) -> bytes:
    """`leaves`: (index, leaf), sorted, each index once."""
    indexes = [int.from_bytes(index) for index, _ in leaves]
    return _subtree(indexes, [leaf for _, leaf in leaves], 0, len(leaves), 0, 0)


def proof_of(leaves: Sequence[tuple[bytes, bytes]], index: bytes) -> list[bytes]:
    """The siblings of the leaf at `index`, from the leaf upwards."""
    indexes, values = [int.from_bytes(item) for item, _ in leaves], [leaf for _, leaf in leaves]
    wanted = int.from_bytes(index)
    low, high, prefix, depth, siblings = 0, len(leaves), 0, 0, []
    while high - low > 1:
        middle, right = _split(indexes, low, high, prefix, depth)
        if wanted >= right:
            siblings.append(_subtree(indexes, values, low, middle, prefix, depth + 1))
            low, prefix = middle, right
        else:
            siblings.append(_subtree(indexes, values, middle, high, right, depth + 1))
            high = middle
        depth += 1
    if low == high or indexes[low] != wanted:
        raise KeyError(index.hex())
    return siblings[::-1]


def root_from_proof(*, index: bytes, leaf: bytes, siblings: Sequence[bytes]) -> bytes | None:
    """The root that these siblings lead to; None when there are more than an index has bits."""
    if len(siblings) > _BITS:
        return None
    place, node = int.from_bytes(index) >> (_BITS - len(siblings)), leaf
    for sibling in siblings:
        node = _node(sibling, node) if place & 1 else _node(node, sibling)
        place >>= 1
    return node


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _split(indexes: Sequence[int], low: int, high: int, prefix: int, depth: int) -> tuple[int, int]:
    """Where the right half begins: its place in the list, and its first index."""
    right = prefix | 1 << (_BITS - 1 - depth)
    return bisect_left(indexes, right, low, high), right


def _subtree(indexes: Sequence[int], values: Sequence[bytes], low: int, high: int, prefix: int, depth: int) -> bytes:
    if high - low < 2:
        return values[low] if high > low else EMPTY
    middle, right = _split(indexes, low, high, prefix, depth)
    return _node(
        _subtree(indexes, values, low, middle, prefix, depth + 1),
        _subtree(indexes, values, middle, high, right, depth + 1),
    )
