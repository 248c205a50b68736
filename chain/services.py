"""Wishes towards a chain. Each is written in the caller's transaction and is idempotent by its `ref`."""

from collections.abc import Sequence
from typing import Any

from chain import codec
from chain.conf import conf
from chain.errors import RefConflict
from chain.identity import verify_deployment
from chain.models import ItemState, Lane, OutboxItem
from chain.outbox import KINDS
from chain.types import hex0x

__all__ = [
    "access_enqueue",
    "access_enqueue_many",
    "anchor_enqueue",
    "call_enqueue",
    "consent_record_enqueue",
    "failed_retry",
    "head_enqueue",
    "transfer_enqueue",
    "verify_deployment",
]


def _enqueue(wishes: Sequence[OutboxItem]) -> list[OutboxItem]:
    """All of them in a constant number of queries; a repeated ref gives the row that is there already."""
    for wish in wishes:
        conf().chain(wish.chain)
        if not 0 < len(wish.ref) <= 64:
            raise ValueError("a ref has 1 to 64 characters")
        if len(wish.sender) != 20 or (wish.leaf is not None and len(wish.leaf) != 32):
            raise ValueError("a sender has 20 bytes, a leaf 32")
    OutboxItem.objects.bulk_create(wishes, ignore_conflicts=True)
    there = {item.ref: item for item in OutboxItem.objects.filter(ref__in=[wish.ref for wish in wishes])}
    for wish in wishes:
        found = there[wish.ref]
        same = all(
            getattr(found, name) == getattr(wish, name) for name in ("chain", "sender", "lane", "leaf", "payload")
        )
        if not same:
            raise RefConflict(f"{wish.ref} was used for something else")
    return [there[wish.ref] for wish in wishes]


def anchor_enqueue(*, chain: str, sender: bytes, leaf: bytes, ref: str, kind: str = "Records") -> OutboxItem:
    """A leaf for the organisation's next Merkle root."""
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}")
    return _enqueue(
        [OutboxItem(chain=chain, sender=sender, lane=Lane.ANCHOR, leaf=leaf, ref=ref, payload={"kind": kind})]
    )[0]


def head_enqueue(*, chain: str, sender: bytes, of: str, number: int, block_hash: bytes, leaf: bytes) -> OutboxItem:
    """The final block of one chain as a leaf for the other. The hash in the ref keeps two versions of a block apart."""
    payload = {"kind": "ChainHead", "of": of, "number": number, "hash": hex0x(block_hash)}
    ref = f"head:{of}:{number}:{block_hash.hex()[:16]}"
    return _enqueue([OutboxItem(chain=chain, sender=sender, lane=Lane.ANCHOR, leaf=leaf, ref=ref, payload=payload)])[0]


def access_enqueue(*, chain: str, sender: bytes, leaf: bytes, ref: str) -> OutboxItem:
    return access_enqueue_many(chain=chain, sender=sender, leaves=[(leaf, ref)])[0]


def access_enqueue_many(*, chain: str, sender: bytes, leaves: Sequence[tuple[bytes, str]]) -> list[OutboxItem]:
    """Leaves for the organisation's access log, in this order."""
    return _enqueue(
        [OutboxItem(chain=chain, sender=sender, lane=Lane.ACCESS, leaf=leaf, ref=ref) for leaf, ref in leaves]
    )


def consent_record_enqueue(*, chain: str, sender: bytes, digest: bytes, lock: bytes, ref: str) -> OutboxItem:
    if len(digest) != 32 or len(lock) != 20:
        raise ValueError("a digest has 32 bytes, a revocation lock 20")
    payload = {"digest": hex0x(digest), "lock": hex0x(lock)}
    return _enqueue([OutboxItem(chain=chain, sender=sender, lane=Lane.CONSENT, ref=ref, payload=payload)])[0]


def call_enqueue(
    *, chain: str, sender: bytes, contract: str, function: str, args: Sequence[Any], ref: str
) -> OutboxItem:
    """One contract call; a wrong name or argument is refused here and not in the sender."""
    stored = codec.to_json(list(args))
    codec.function(contract, function).encode(stored)
    payload = {"contract": contract, "function": function, "args": stored}
    return _enqueue([OutboxItem(chain=chain, sender=sender, lane=Lane.CALL, ref=ref, payload=payload)])[0]


def transfer_enqueue(*, chain: str, sender: bytes, to: bytes, value: int, ref: str) -> OutboxItem:
    """Gas money for another account."""
    if len(to) != 20 or value < 0:
        raise ValueError("a transfer needs an address and an amount")
    payload = {"to": hex0x(to), "value": str(value)}
    return _enqueue([OutboxItem(chain=chain, sender=sender, lane=Lane.TRANSFER, ref=ref, payload=payload)])[0]


def failed_retry(*, ref: str) -> bool:
    """Puts a refused wish into the queue again, once whatever was in its way is gone."""
    failed = OutboxItem.objects.filter(ref=ref, state=ItemState.FAILED)
    return failed.update(state=ItemState.QUEUED, transaction=None, leaf_index=None, error="", retry_at=None) == 1
