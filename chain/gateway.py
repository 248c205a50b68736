"""The way to a node. The only module that imports web3; hot paths speak JSON-RPC themselves (chain/rpc.py)."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from eth_utils import to_checksum_address

from chain import codec
from chain.artefacts import deployment
from chain.conf import ChainConf, conf
from chain.errors import DeploymentMismatch, RpcInconsistent, RpcLimited, RpcRefused
from chain.rpc import BlockJson, Call, LogJson, ReceiptJson, Rpc, TransactionJson
from chain.signing import (
    address_of,
    checksum,
    consent_digest,
    consent_sign,
    consent_typed_data,
    identity_commitment,
    keccak,
    lock_of,
    recover,
    registration_digest,
    registration_sign,
    revocation_lock,
    sign_digest,
)
from chain.types import EventView, Fees, Header, Receipt, hex0x

__all__ = [
    "Gateway",
    "Look",
    "Placed",
    "address_of",
    "checksum",
    "consent_digest",
    "consent_sign",
    "consent_typed_data",
    "gateway",
    "gateway_of",
    "identity_commitment",
    "keccak",
    "lock_of",
    "recover",
    "registration_digest",
    "registration_sign",
    "revocation_lock",
    "sign_digest",
]


def bytes_of(text: str, size: int | None = None) -> bytes:
    try:
        if text[:2] != "0x":
            raise ValueError(text)
        value = bytes.fromhex(text[2:])
    except (ValueError, TypeError) as error:
        raise RpcInconsistent("a value is not 0x hex") from error
    if size is not None and len(value) != size:
        raise RpcInconsistent(f"a value has {len(value)} bytes, not {size}")
    return value


def int_of(text: str) -> int:
    try:
        # `int` alone would take a sign, spaces and underscores, and numbers of any length.
        if text[:2] != "0x" or len(text) > 66 or not text[2:].isalnum():
            raise ValueError(text)
        return int(text, 16)
    except (ValueError, TypeError) as error:
        raise RpcInconsistent("a number is not 0x hex") from error


def number_of(text: str) -> int:
    """The number of a block: one that a database column can hold."""
    number = int_of(text)
    if number >= 2**63:
        raise RpcInconsistent("no chain has a block with that number")
    return number


def time_of(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise RpcInconsistent("no block was made at that time") from error


def _hash_in(item: Any) -> bytes:
    """A transaction in a block: its hash, or an object that has it."""
    text = item.get("hash") if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise RpcInconsistent("a block's transaction has no hash")
    return bytes_of(text, 32)


def header_of(block: BlockJson) -> Header:
    return Header(
        number=number_of(block.number),
        hash=bytes_of(block.hash, 32),
        parent_hash=bytes_of(block.parentHash, 32),
        timestamp=time_of(int_of(block.timestamp)),
        transactions=tuple(_hash_in(item) for item in block.transactions),
        base_fee=None if block.baseFeePerGas is None else int_of(block.baseFeePerGas),
        gas_used=int_of(block.gasUsed),
        gas_limit=int_of(block.gasLimit),
        bloom=None if block.logsBloom is None else bytes_of(block.logsBloom, 256),
    )


@dataclass(frozen=True)
class Look:
    """One glance at a node, in one round trip."""

    chain_id: int
    genesis_hash: bytes
    head: Header
    finalized: int


@dataclass(frozen=True)
class Placed:
    """An answer together with where the node that gave it stands."""

    chain_id: int
    block_hash: bytes | None  # of the block that was named; None when the node is not there yet
    head: Header
    value: Any


class Gateway:
    def __init__(self, chain: ChainConf) -> None:
        self.conf = chain
        self.rpc = Rpc(chain)

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self) -> Look:
        calls = [
            Call("eth_chainId", ()),
            Call("eth_getBlockByNumber", ("0x0", False), BlockJson | None),
            Call("eth_getBlockByNumber", ("0x1", False), BlockJson | None),
            Call("eth_getBlockByNumber", ("latest", False), BlockJson | None),
        ]
        if self.conf.finality.mode == "tag":
            calls.append(Call("eth_getBlockByNumber", ("finalized", False), BlockJson | None))
        chain_id, genesis, first, latest, *tagged = self.rpc.batch(calls)
        if genesis is None or latest is None:
            raise RpcInconsistent(f"{self.conf.name}: the node has no blocks")
        if number_of(genesis.number) != 0 or (first is not None and number_of(first.number) != 1):
            raise RpcInconsistent(f"{self.conf.name}: the node gave other blocks than the first two")
        head = header_of(latest)
        if self.conf.finality.mode == "tag":
            finalized = min(head.number, number_of(tagged[0].number)) if tagged[0] else 0
        else:
            finalized = max(0, head.number - self.conf.finality.depth)
        # The first block is the one that the second was built on: an anvil that was restarted from its state file has
        # a block 0 for each start and shows any of them.
        genesis_hash = bytes_of(first.parentHash if first else genesis.hash, 32)
        return Look(int_of(chain_id), genesis_hash, head, finalized)

    def head(self) -> Header:
        return self._header("latest")

    def finalized(self) -> int:
        return self.look().finalized

    def chain_id(self) -> int:
        return int_of(self.rpc.call("eth_chainId"))

    def _header(self, block: str) -> Header:
        found = self.rpc.call("eth_getBlockByNumber", block, False, type=BlockJson | None)
        if found is None:
            raise RpcInconsistent(f"{self.conf.name}: no block {block}")
        return header_of(found)

    def block_by_number(self, number: int) -> Header | None:
        return self.headers([number])[0]

    def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        calls = [Call("eth_getBlockByNumber", (hex(number), False), BlockJson | None) for number in numbers]
        headers = [header_of(found) if found else None for found in self.rpc.batch(calls)]
        if any(header and header.number != number for number, header in zip(numbers, headers, strict=True)):
            raise RpcInconsistent(f"{self.conf.name}: the node gave another block than was asked for")
        return headers

    def get_logs(self, addresses: Sequence[bytes], from_block: int, to_block: int) -> list[LogJson]:
        query = {
            "address": [hex0x(address) for address in addresses],
            "fromBlock": hex(from_block),
            "toBlock": hex(to_block),
        }
        return self.rpc.call("eth_getLogs", query, type=list[LogJson])

    def logs_by_block(self, addresses: Sequence[bytes], headers: Sequence[Header]) -> list[list[LogJson]]:
        """By hash, so that logs and header cannot come from two versions of a block. What is too much for one answer
        is put together from the receipts of the block."""
        wanted = [hex0x(address) for address in addresses]
        calls = [
            Call("eth_getLogs", ({"address": wanted, "blockHash": hex0x(header.hash)},), list[LogJson])
            for header in headers
        ]
        found = self.rpc.batch_settled(calls)
        for place, header in enumerate(headers):
            if isinstance(found[place], RpcLimited):
                found[place] = self._logs_in_receipts(set(wanted), header)
            elif isinstance(found[place], Exception):
                raise found[place]
        return found

    def _logs_in_receipts(self, wanted: set[str], header: Header) -> list[LogJson]:
        calls = [Call("eth_getTransactionReceipt", (hex0x(h),), ReceiptJson | None) for h in header.transactions]
        receipts = self.rpc.batch(calls)
        if None in receipts or any(item.blockHash.lower() != hex0x(header.hash) for item in receipts):
            raise RpcInconsistent(f"{self.conf.name}: receipts of another version of block {header.number}")
        return [log for item in receipts for log in item.logs if log.address.lower() in wanted]

    def receipts(self, tx_hashes: Sequence[bytes]) -> list[Receipt | None]:
        calls = [Call("eth_getTransactionReceipt", (hex0x(h),), ReceiptJson | None) for h in tx_hashes]
        found = self.rpc.batch(calls)
        for tx_hash, receipt in zip(tx_hashes, found, strict=True):
            if receipt is not None and bytes_of(receipt.transactionHash, 32) != tx_hash:
                raise RpcInconsistent("a receipt belongs to another transaction")
        return [self._receipt(item) if item else None for item in found]

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        return self.receipts([tx_hash])[0]

    def transactions(self, tx_hashes: Sequence[bytes]) -> list[TransactionJson | None]:
        return self.rpc.batch(
            [Call("eth_getTransactionByHash", (hex0x(h),), TransactionJson | None) for h in tx_hashes]
        )

    def _receipt(self, found: ReceiptJson) -> Receipt:
        return Receipt(
            tx_hash=bytes_of(found.transactionHash, 32),
            block_hash=bytes_of(found.blockHash, 32),
            block_number=number_of(found.blockNumber),
            is_success=found.status == "0x1",
            gas_used=int_of(found.gasUsed),
            gas_price=int_of(found.effectiveGasPrice or "0x0"),
            events=tuple(self._event(log) for log in found.logs),
            contract_address=bytes_of(found.contractAddress, 20) if found.contractAddress else None,
        )

    def _event(self, log: LogJson) -> EventView:
        address = bytes_of(log.address, 20)
        try:
            contract = deployment(self.conf.name).names.get(address, "")
        except DeploymentMismatch:
            contract = ""
        kind = codec.events(contract).get(bytes_of(log.topics[0])) if contract and log.topics else None
        args = kind.decode(log.topics, log.data) if kind else {}
        name = kind.name if kind else ""
        return EventView(contract, name, args, to_checksum_address(address), int_of(log.logIndex))

    # -- accounts and calls -------------------------------------------------------------------------------------

    def code(self, address: bytes) -> bytes:
        return bytes_of(self.rpc.call("eth_getCode", hex0x(address), "latest"))

    def transaction_count(self, address: bytes, block: str | int = "latest") -> int:
        block = hex(block) if isinstance(block, int) else block
        return int_of(self.rpc.call("eth_getTransactionCount", hex0x(address), block))

    def call(self, contract: str, function: str, *args: Any, block: str | int = "latest", sender: bytes | None = None):
        """A view of a deployed contract, decoded: one value as it is, several as a tuple."""
        place = deployment(self.conf.name)[contract]
        prepared = codec.function(contract, function)
        answer = self.call_raw(place.address, prepared.encode(args), block=block, sender=sender)
        if not answer and prepared.outputs:
            raise DeploymentMismatch(
                f"{self.conf.name}: nothing answers at {place.checksum} ({contract}); is this the right chain? "
                f"Run `manage.py chain_deploy --chain {self.conf.name}`"
            )
        return prepared.decode_result(answer) if prepared.outputs else None

    def call_placed(self, contract: str, function: str, *args: Any, number: int) -> Placed:
        """A view as of the newest block, and in the same round trip which chain this is and its block `number`."""
        place = deployment(self.conf.name)[contract]
        prepared = codec.function(contract, function)
        message = {"to": hex0x(place.address), "data": hex0x(prepared.encode(args))}
        # Of the first block only the second one speaks reliably, as in `look`.
        asked = max(1, number)
        chain_id, block, latest, answer = self.rpc.batch(
            [
                Call("eth_chainId", ()),
                Call("eth_getBlockByNumber", (hex(asked), False), BlockJson | None),
                Call("eth_getBlockByNumber", ("latest", False), BlockJson | None),
                Call("eth_call", (message, "latest")),
            ]
        )
        if latest is None or (block is not None and number_of(block.number) != asked):
            raise RpcInconsistent(f"{self.conf.name}: the node gave another block than was asked for")
        there = header_of(block) if block else None
        block_hash = there and (there.parent_hash if number == 0 else there.hash)
        value = bytes_of(answer)
        if not value:
            raise RpcInconsistent(f"{self.conf.name}: nothing answers at {place.checksum} ({contract})")
        return Placed(int_of(chain_id), block_hash, header_of(latest), prepared.decode_result(value))

    def call_raw(self, to: bytes, data: bytes, *, block: str | int = "latest", sender: bytes | None = None) -> bytes:
        message = {"to": hex0x(to), "data": hex0x(data)}
        if sender is not None:
            message["from"] = hex0x(sender)
        block = hex(block) if isinstance(block, int) else block
        return bytes_of(self.rpc.call("eth_call", message, block))

    def estimate(self, *, sender: bytes, to: bytes | None, data: bytes, value: int = 0) -> int:
        message = {"from": hex0x(sender), "data": hex0x(data), "value": hex(value)}
        if to is not None:
            message["to"] = hex0x(to)
        return int_of(self.rpc.call("eth_estimateGas", message))

    def send_raw(self, raw: bytes) -> bytes:
        return bytes_of(self.rpc.call("eth_sendRawTransaction", hex0x(raw)), 32)

    # -- cold paths through web3 --------------------------------------------------------------------------------

    @cached_property
    def web3(self):
        """web3 over our own capped transport, so that its retries and its HTTP client stay out of the way."""
        # Here and not above: the import takes a second, and most processes never need it.
        from web3 import Web3
        from web3.middleware import ExtraDataToPOAMiddleware
        from web3.providers import BaseProvider

        rpc = self.rpc

        class OwnTransport(BaseProvider):
            def make_request(self, method, params):
                return {"jsonrpc": "2.0", "id": 1, "result": rpc.call(method, *params, type=Any)}

        web3 = Web3(OwnTransport(), middleware=[])
        web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        return web3

    def fees(self) -> Fees:
        """What a transaction must offer to get into one of the next blocks."""
        if self.conf.gas_price_wei is not None:
            return Fees(self.conf.gas_price_wei, 0, is_legacy=True)
        base = self.head().base_fee
        if base is None:
            return Fees(int(self.web3.eth.gas_price), 0, is_legacy=True)
        try:
            tip = int(self.web3.eth.max_priority_fee)
        except RpcRefused:  # an older node without that method
            tip = 10**9
        return Fees(min(2 * base + tip, self.conf.fee_max_wei), min(tip, self.conf.fee_max_wei), is_legacy=False)

    def balance(self, address: bytes) -> int:
        return int(self.web3.eth.get_balance(to_checksum_address(address)))


_gateways: dict[tuple[int, ChainConf], Gateway] = {}
_lock = threading.Lock()


def gateway(name: str) -> Gateway:
    """The process's gateway to a chain."""
    return gateway_of(conf().chain(name))


def gateway_of(chain: ChainConf) -> Gateway:
    """The process's gateway to a node; a forked child gets its own, sockets cannot be shared."""
    key = (os.getpid(), chain)
    with _lock:
        if key not in _gateways:
            _gateways[key] = Gateway(key[1])
        return _gateways[key]


def gateways_close() -> None:
    """Ends this process's connections; the next call opens new ones."""
    with _lock:
        while _gateways:
            _gateways.popitem()[1].rpc.close()
