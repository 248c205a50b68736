"""One transaction or block, read from the node and decoded, for the public viewer (M7)."""

import msgspec
from eth_utils import to_checksum_address

from chain import codec
from chain.artefacts import deployment
from chain.conf import conf
from chain.errors import DeploymentMismatch, RpcInconsistent
from chain.gateway import Gateway, Look, bytes_of, gateway, int_of, time_of
from chain.rpc import BlockJson, Call, TransactionJson
from chain.types import BlockView, Receipt, TransactionView, hex0x

BLOCK_TRANSACTIONS_MAX = 200


class _Names:
    """Which of our contracts an address is; a chain without a deployment has none."""

    def __init__(self, chain: str) -> None:
        try:
            self.names = deployment(chain).names
        except DeploymentMismatch:
            self.names = {}

    def call(self, to: str | None, data: str) -> tuple[str, str]:
        contract = self.names.get(bytes_of(to, 20), "") if to else ""
        found = codec.function_of(contract, bytes_of(data)) if contract else None
        return contract, found.name if found else ""


def _view(
    chain: str, names: _Names, look: Look, found: TransactionJson, receipt: Receipt | None, block: BlockJson | None
) -> TransactionView:
    contract, function = names.call(found.to, found.input)
    state, confirmations, number = "pending", 0, None
    if receipt is not None:
        number = receipt.block_number
        confirmations = max(0, look.head.number - number)
        state = "final" if number <= look.finalized else "mined"
        state = state if receipt.is_success else "reverted"
    return TransactionView(
        chain=chain,
        tx_hash=found.hash,
        state=state,
        sender=to_checksum_address(found.sender),
        to=to_checksum_address(found.to) if found.to else None,
        contract=contract,
        function=function,
        value=int_of(found.value),
        account_nonce=int_of(found.nonce),
        gas_limit=int_of(found.gas),
        gas_used=receipt.gas_used if receipt else None,
        fee_wei=receipt.gas_used * receipt.gas_price if receipt else None,
        block_number=number,
        block_hash=hex0x(receipt.block_hash) if receipt else None,
        block_time=time_of(int_of(block.timestamp)) if block else None,
        confirmations=confirmations,
        confirmations_needed=conf().chain(chain).finality.depth_of(look.head.number, look.finalized),
        events=receipt.events if receipt else (),
    )


def _hash(text: str | bytes) -> bytes:
    """32 bytes from what a visitor typed; ValueError when it is no hash."""
    value = text if isinstance(text, bytes) else bytes.fromhex(text.strip().lower().removeprefix("0x"))
    if len(value) != 32:
        raise ValueError("a hash has 32 bytes")
    return value


def transaction_view(chain: str, tx_hash: str | bytes) -> TransactionView | None:
    """None when the node does not know it, ValueError when it is no hash, RpcUnavailable when nobody answers."""
    wanted = _hash(tx_hash)
    node = gateway(chain)
    found = node.transactions([wanted])[0]
    if found is None:
        return None
    look = node.look()
    receipt = node.receipt(wanted)
    block = None
    if receipt is not None:
        block = node.rpc.call("eth_getBlockByHash", hex0x(receipt.block_hash), False, type=BlockJson | None)
    return _view(chain, _Names(chain), look, found, receipt, block)


def block_view(chain: str, number_or_hash: int | str | bytes) -> BlockView | None:
    """A block with its transactions decoded, and where its neighbours are."""
    node = gateway(chain)
    block = _block(node, number_or_hash)
    if block is None:
        return None
    look = node.look()
    names = _Names(chain)
    shown = _full(block)[:BLOCK_TRANSACTIONS_MAX]
    receipts = node.receipts([bytes_of(item.hash, 32) for item in shown])
    number = int_of(block.number)
    return BlockView(
        chain=chain,
        number=number,
        hash=block.hash,
        parent_hash=block.parentHash,
        timestamp=time_of(int_of(block.timestamp)),
        is_final=number <= look.finalized,
        gas_used=int_of(block.gasUsed),
        gas_limit=int_of(block.gasLimit),
        transactions=tuple(
            _view(chain, names, look, item, receipt, block) for item, receipt in zip(shown, receipts, strict=True)
        ),
        previous_number=number - 1 if number else None,
        next_number=number + 1 if number < look.head.number else None,
        transaction_count=len(block.transactions),
    )


def _block(node: Gateway, number_or_hash: int | str | bytes) -> BlockJson | None:
    text = number_or_hash
    if isinstance(text, str) and text.strip().isdecimal() and len(text.strip()) < 19:
        text = int(text)
    if isinstance(text, int):
        if not 0 <= text < 2**63:
            return None
        call = Call("eth_getBlockByNumber", (hex(text), True), BlockJson | None)
    else:
        call = Call("eth_getBlockByHash", (hex0x(_hash(text)), True), BlockJson | None)
    try:
        return node.rpc.call(call.method, *call.params, type=call.type)
    except RpcInconsistent:  # some nodes refuse a height above their head
        return None


def _full(block: BlockJson) -> list[TransactionJson]:
    return [msgspec.convert(item, TransactionJson) for item in block.transactions]


def blocks_newest(chain: str, *, limit: int) -> list[BlockView]:
    """The last blocks, newest first, without their transactions."""
    node = gateway(chain)
    look = node.look()
    numbers = range(look.head.number, max(-1, look.head.number - limit), -1)
    headers = [header for header in node.headers(numbers) if header is not None]
    return [
        BlockView(
            chain=chain,
            number=header.number,
            hash=hex0x(header.hash),
            parent_hash=hex0x(header.parent_hash),
            timestamp=header.timestamp,
            is_final=header.number <= look.finalized,
            gas_used=header.gas_used,
            gas_limit=header.gas_limit,
            transactions=(),
            previous_number=header.number - 1 if header.number else None,
            next_number=header.number + 1 if header.number < look.head.number else None,
            transaction_count=len(header.transactions),
        )
        for header in headers
    ]
