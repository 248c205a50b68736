"""A block's bloom: which addresses and topics may be among its logs. Pure."""

from collections.abc import Iterable, Mapping

from eth_utils import keccak

BITS = 2048


def mask_of(value: bytes) -> int:
    """The three bits that an address or a topic sets."""
    digest = keccak(value)
    mask = 0
    for place in (0, 2, 4):
        mask |= 1 << (int.from_bytes(digest[place : place + 2], "big") % BITS)
    return mask


Masks = list[tuple[int, list[int]]]


def masks_of(events: Mapping[bytes, Iterable[bytes]]) -> Masks:
    """For each address its mask and those of its topics."""
    return [(mask_of(address), [mask_of(topic) for topic in topics]) for address, topics in events.items()]


def may_hold(bloom: bytes, masks: Masks) -> bool:
    """False means surely none of these events; True means that it is worth looking."""
    bits = int.from_bytes(bloom, "big")
    return any(
        bits & address == address and any(bits & topic == topic for topic in topics) for address, topics in masks
    )
