"""ABI in both directions, prepared once for each contract: bytes and 20-byte addresses inside, words outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi import decode as abi_decode
from eth_abi import encode as abi_encode
from eth_abi.exceptions import DecodingError
from eth_utils import keccak, to_checksum_address

from chain import artefacts
from chain.errors import RpcInconsistent, UnknownContract

REVERT_TEXT = bytes.fromhex("08c379a0")  # Error(string)
PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)


def type_of(part: Mapping[str, Any]) -> str:
    """The canonical type: structs are written out as tuples."""
    kind = part["type"]
    if kind.startswith("tuple"):
        inner = ",".join(type_of(component) for component in part["components"])
        return f"({inner}){kind[5:]}"
    return kind


def signature_of(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(type_of(part) for part in entry['inputs'])})"


def to_abi(part: Mapping[str, Any], value: Any) -> Any:
    """Python value, or its JSON form, to what the encoder takes."""
    kind = part["type"]
    if kind.endswith("]"):
        inner = {**part, "type": kind[: kind.rindex("[")]}
        return [to_abi(inner, item) for item in value]
    if kind == "tuple":
        names = [component["name"] for component in part["components"]]
        values = [value[name] for name in names] if isinstance(value, Mapping) else value
        return tuple(to_abi(c, v) for c, v in zip(part["components"], values, strict=True))
    if kind == "address":
        return to_checksum_address(value)
    if kind.startswith("bytes") and isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    if kind.startswith("bytes"):
        return bytes(value)
    if kind.startswith(("uint", "int")) and isinstance(value, str):
        return int(value, 0)
    return value


def from_abi(part: Mapping[str, Any], value: Any) -> Any:
    kind = part["type"]
    if kind.endswith("]"):
        inner = {**part, "type": kind[: kind.rindex("[")]}
        return [from_abi(inner, item) for item in value]
    if kind == "tuple":
        return tuple(from_abi(c, v) for c, v in zip(part["components"], value, strict=True))
    if kind == "address":
        return bytes.fromhex(value[2:])
    return value


def to_json(value: Any) -> Any:
    """Bytes as lower-case 0x text, so that a payload or event survives JSON."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "0x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


@dataclass(frozen=True)
class Function:
    name: str
    selector: bytes
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    input_types: tuple[str, ...]
    output_types: tuple[str, ...]

    def encode(self, args: Any) -> bytes:
        values = [to_abi(part, value) for part, value in zip(self.inputs, args, strict=True)]
        return self.selector + abi_encode(self.input_types, values)

    def decode_result(self, data: bytes) -> Any:
        try:
            values = abi_decode(self.output_types, data)
        except DecodingError as error:
            raise RpcInconsistent(f"{self.name}: the answer is not what the contract returns") from error
        decoded = [from_abi(part, value) for part, value in zip(self.outputs, values, strict=True)]
        return decoded[0] if len(decoded) == 1 else tuple(decoded)

    def decode_args(self, data: bytes) -> dict[str, Any]:
        """Arguments of a call by name, as JSON holds them; empty when the bytes are not a call of this function."""
        try:
            values = abi_decode(self.input_types, data[4:])
        except DecodingError:
            return {}
        return {part["name"]: to_json(from_abi(part, value)) for part, value in zip(self.inputs, values, strict=True)}


WordReader = Callable[[str], Any]
WORD = 64  # hex digits of 32 bytes


def _word_reader(kind: str) -> WordReader | None:
    """JSON form of one word of hex digits, for the types that fill exactly one; None for all others."""
    if kind.startswith("uint"):
        return lambda word: int(word, 16)
    if kind.startswith("int"):
        return lambda word: int.from_bytes(bytes.fromhex(word), "big", signed=True)
    if kind == "address":
        return lambda word: "0x" + word[24:]
    if kind == "bool":
        return lambda word: int(word, 16) == 1
    if kind.startswith("bytes") and kind[5:].isdecimal():
        digits = 2 * int(kind[5:])
        return lambda word: "0x" + word[:digits]
    return None


def _whole(word: str) -> str:
    """Of a longer value a topic holds only the hash."""
    return "0x" + word


class Event:
    """Decodes one kind of log. Words are cut out of the node's text directly: this is the indexer's hot path."""

    def __init__(self, contract: str, entry: Mapping[str, Any]) -> None:
        self.contract = contract
        self.name: str = entry["name"]
        self.topic = keccak(text=signature_of(entry))
        inputs = entry["inputs"]
        indexed = [part for part in inputs if part["indexed"]]
        self.plain = [part for part in inputs if not part["indexed"]]
        self.types = tuple(type_of(part) for part in self.plain)
        self.topics = len(indexed)
        readers = [_word_reader(part["type"]) for part in self.plain]
        # All arguments of one word each: then the data is read like one more row of topics.
        self.is_flat = None not in readers
        words = [(part["name"], _word_reader(part["type"]) or _whole) for part in indexed]
        if self.is_flat:
            words += [(part["name"], read) for part, read in zip(self.plain, readers, strict=True)]
        self.words = [(name, read, WORD * at) for at, (name, read) in enumerate(words)]

    def decode(self, topics: list[str], data: str) -> dict[str, Any]:
        """Arguments by name, indexed ones first, from 0x text as a node gives it."""
        try:
            found = [topic[2:] for topic in topics[1:]]
            if len(found) != self.topics or any(len(digits) != WORD for digits in found):
                raise ValueError(topics)
            if self.is_flat:
                found.append(data[2:])
            digits = "".join(found).lower()
            # `fromhex` refuses what is no digit but skips blanks: the number of bytes shows those.
            if len(digits) != WORD * len(self.words) or 2 * len(bytes.fromhex(digits)) != len(digits):
                raise ValueError(data)
            args = {name: read(digits[at : at + WORD]) for name, read, at in self.words}
            if not self.is_flat:
                values = abi_decode(self.types, bytes.fromhex(data[2:]))
                for part, value in zip(self.plain, values, strict=True):
                    args[part["name"]] = to_json(from_abi(part, value))
        except (ValueError, DecodingError) as error:
            raise RpcInconsistent(f"{self.name}: the log does not decode") from error
        return args


@cache
def functions(contract: str) -> dict[str, Function]:
    found: dict[str, Function] = {}
    for entry in artefacts.abi(contract):
        if entry["type"] == "function":
            found[entry["name"]] = Function(
                name=entry["name"],
                selector=keccak(text=signature_of(entry))[:4],
                inputs=tuple(entry["inputs"]),
                outputs=tuple(entry["outputs"]),
                input_types=tuple(type_of(part) for part in entry["inputs"]),
                output_types=tuple(type_of(part) for part in entry["outputs"]),
            )
    return found


def function(contract: str, name: str) -> Function:
    try:
        return functions(contract)[name]
    except KeyError:
        raise UnknownContract(f"{contract} has no function {name}") from None


@cache
def _functions_by_selector(contract: str) -> dict[bytes, Function]:
    return {item.selector: item for item in functions(contract).values()}


def function_of(contract: str, data: bytes) -> Function | None:
    return _functions_by_selector(contract).get(data[:4])


@cache
def events(contract: str) -> dict[bytes, Event]:
    found = (Event(contract, entry) for entry in artefacts.abi(contract) if entry["type"] == "event")
    return {event.topic: event for event in found}


@cache
def _errors() -> dict[bytes, tuple[str, tuple[dict[str, Any], ...]]]:
    entries = (e for name in artefacts.NAMES for e in artefacts.abi(name) if e["type"] == "error")
    return {keccak(text=signature_of(e))[:4]: (e["name"], tuple(e["inputs"])) for e in entries}


def revert_reason(data: bytes) -> tuple[str, tuple[Any, ...]]:
    """The named error in a revert's data and its arguments."""
    try:
        if data[:4] == REVERT_TEXT:
            return "Error", tuple(abi_decode(["string"], data[4:]))
        if data[:4] == PANIC:
            return "Panic", tuple(abi_decode(["uint256"], data[4:]))
        if data[:4] in _errors():
            name, inputs = _errors()[data[:4]]
            values = abi_decode([type_of(part) for part in inputs], data[4:])
            return name, tuple(from_abi(part, value) for part, value in zip(inputs, values, strict=True))
    except DecodingError:
        return "reverted", ()
    return "reverted", ()


def constructor_data(contract: str, args: list[Any]) -> bytes:
    """Creation code with its encoded arguments."""
    entry = next((e for e in artefacts.abi(contract) if e["type"] == "constructor"), {"inputs": []})
    values = [to_abi(part, value) for part, value in zip(entry["inputs"], args, strict=True)]
    return artefacts.bytecode(contract) + abi_encode([type_of(part) for part in entry["inputs"]], values)
