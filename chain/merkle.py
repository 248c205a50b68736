"""RFC 9162 Merkle trees over SHA-256. Leaves here are leaf hashes already: SHA-256(0x00 || data)."""

from collections.abc import Sequence
from hashlib import sha256

HASH_BYTES = 32


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Every level from the leaves to the root; a last node without a partner goes up unchanged."""
    if not leaves:
        raise ValueError("a tree needs a leaf")
    if any(len(leaf) != HASH_BYTES for leaf in leaves):
        raise ValueError("a leaf is 32 bytes")
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        if len(below) % 2:
            above.append(below[-1])
        levels.append(above)
    return levels


def root(leaves: Sequence[bytes]) -> bytes:
    return _levels(leaves)[-1][0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings from the leaf upwards."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    proof = []
    for level in _levels(leaves)[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        index >>= 1
    return proof


def root_from_proof(*, leaf: bytes, index: int, count: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that this proof leads to (RFC 9162 §2.1.3.2); None when its shape is impossible."""
    if not 0 <= index < count or any(len(step) != HASH_BYTES for step in (leaf, *proof)):
        return None
    place, last, node = index, count - 1, leaf
    for step in proof:
        if last == 0:
            return None
        if place & 1 or place == last:
            node = node_hash(step, node)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            node = node_hash(node, step)
        place >>= 1
        last >>= 1
    return node if last == 0 else None


def verify(*, root: bytes, leaf: bytes, index: int, count: int, proof: Sequence[bytes]) -> bool:
    return root_from_proof(leaf=leaf, index=index, count=count, proof=proof) == root
