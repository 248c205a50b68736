"""Plain data that crosses the edges of this app."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Header:
    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: datetime
    transactions: tuple[bytes, ...] = ()
    base_fee: int | None = None
    gas_used: int = 0
    gas_limit: int = 0
    bloom: bytes | None = None  # which addresses and topics may be among the block's logs


@dataclass(frozen=True)
class EventView:
    contract: str
    name: str
    args: dict[str, Any]
    address: str
    log_index: int


@dataclass(frozen=True)
class Receipt:
    tx_hash: bytes
    block_hash: bytes
    block_number: int
    is_success: bool
    gas_used: int
    gas_price: int
    events: tuple[EventView, ...] = ()
    contract_address: bytes | None = None


@dataclass(frozen=True)
class Fees:
    """What to offer now; a legacy price has no priority part."""

    max_fee: int
    priority_fee: int
    is_legacy: bool

    @property
    def fields(self) -> dict[str, int]:
        if self.is_legacy:
            return {"gasPrice": self.max_fee}
        return {"maxFeePerGas": self.max_fee, "maxPriorityFeePerGas": self.priority_fee, "type": 2}


@dataclass(frozen=True)
class Signed:
    raw: bytes
    tx_hash: bytes


@dataclass(frozen=True)
class ItemStatus:
    ref: str
    state: str
    chain: str
    leaf: bytes | None
    tx_hash: str | None
    block_number: int | None
    block_time: datetime | None
    confirmations: int
    confirmations_needed: int
    error: str
    created_at: datetime


@dataclass(frozen=True)
class Inclusion:
    """All that a stranger needs to find one leaf under a root on chain."""

    chain: str
    chain_id: int
    contract: str
    organisation: str
    root: bytes
    leaf: bytes
    index: int
    count: int
    proof: list[bytes]
    tx_hash: str
    block_number: int
    block_hash: str
    block_time: datetime
    state: str


@dataclass(frozen=True)
class SyncStatus:
    chain: str
    chain_id: int
    head: int
    finalized: int
    cursor: int
    lag: int
    halted_reason: str
    checked_at: datetime | None
    last_fork: datetime | None
    last_fork_depth: int | None
    gaps: list[int] = field(default_factory=list)
    is_behind: bool = False


@dataclass(frozen=True)
class Alarm:
    """Something a person should look at. Code, chain and subject say which one; the message may change meanwhile."""

    code: str
    chain: str  # empty: no chain in particular
    message: str
    subject: str = ""


@dataclass(frozen=True)
class QueueStatus:
    waiting: int
    oldest_at: datetime | None


@dataclass(frozen=True)
class EventShown:
    """A final event of the index, for a page."""

    chain: str
    contract: str
    name: str
    args: dict[str, Any]
    block_number: int
    block_time: datetime
    tx_hash: str

    @property
    def contract_name(self) -> str:
        """The name in a ReleaseAnnounced event, as text."""
        return bytes.fromhex(self.args.get("name", "0x")[2:]).rstrip(b"\0").decode("ascii", "replace")


@dataclass(frozen=True)
class ContractInfo:
    name: str
    chain: str
    chain_id: int
    address: str
    version: int
    code_hash: str
    tx_hash: str
    block_number: int
    compiler: str
    is_matching: bool | None  # None: the chain could not be asked


@dataclass(frozen=True)
class TransactionView:
    chain: str
    tx_hash: str
    state: str  # pending, mined, final, reverted
    sender: str
    to: str | None
    contract: str
    function: str
    value: int
    account_nonce: int
    gas_limit: int
    gas_used: int | None
    fee_wei: int | None
    block_number: int | None
    block_hash: str | None
    block_time: datetime | None
    confirmations: int
    confirmations_needed: int
    events: tuple[EventView, ...]
    error: str = ""


@dataclass(frozen=True)
class BlockView:
    chain: str
    number: int
    hash: str
    parent_hash: str
    timestamp: datetime
    is_final: bool
    gas_used: int
    gas_limit: int
    transactions: tuple[TransactionView, ...]
    previous_number: int | None
    next_number: int | None
    transaction_count: int = 0


def hex0x(value: bytes) -> str:
    return "0x" + bytes(value).hex()
