"""JSON-RPC over HTTP for the hot paths: capped, timed, strictly checked, never retried in here."""

import random
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import httpx
import msgspec

from chain.codec import revert_reason
from chain.conf import ChainConf
from chain.errors import Reverted, RpcInconsistent, RpcLimited, RpcUnavailable, rpc_error

FAILURES_BEFORE_PAUSE = 3
PAUSE_SECONDS = 1.0
DEADLINE_FACTOR = 3  # a node that drips bytes keeps each read alive; the whole answer has a limit too


class BlockJson(msgspec.Struct):
    number: str
    hash: str
    parentHash: str  # noqa: N815
    timestamp: str
    transactions: list[Any] = []
    gasUsed: str = "0x0"  # noqa: N815
    gasLimit: str = "0x0"  # noqa: N815
    baseFeePerGas: str | None = None  # noqa: N815
    logsBloom: str | None = None  # noqa: N815


class LogJson(msgspec.Struct, gc=False):  # many thousands at once, and never part of a circle
    address: str
    topics: list[str]
    data: str
    blockNumber: str  # noqa: N815
    blockHash: str  # noqa: N815
    transactionHash: str  # noqa: N815
    logIndex: str  # noqa: N815
    removed: bool = False
    blockTimestamp: str | int | None = None  # noqa: N815


class ReceiptJson(msgspec.Struct):
    transactionHash: str  # noqa: N815
    blockHash: str  # noqa: N815
    blockNumber: str  # noqa: N815
    gasUsed: str  # noqa: N815
    status: str | None = None
    effectiveGasPrice: str | None = None  # noqa: N815
    contractAddress: str | None = None  # noqa: N815
    logs: list[LogJson] = []


class TransactionJson(msgspec.Struct):
    hash: str
    sender: str = msgspec.field(name="from")
    nonce: str
    gas: str
    input: str
    value: str
    to: str | None = None
    blockHash: str | None = None  # noqa: N815
    blockNumber: str | None = None  # noqa: N815
    gasPrice: str | None = None  # noqa: N815
    maxFeePerGas: str | None = None  # noqa: N815


class _Error(msgspec.Struct):
    code: int
    message: str = ""
    data: Any = None


class _Answer(msgspec.Struct):
    id: int | None
    jsonrpc: str = ""
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None


@dataclass(frozen=True)
class Call:
    method: str
    params: Sequence[Any]
    type: Any = str


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder:
    return msgspec.json.Decoder(kind)


def _revert_data(data: Any) -> bytes:
    """Nodes put a revert's bytes at different places."""
    if isinstance(data, dict):
        data = data.get("data") or next((v.get("return") for v in data.values() if isinstance(v, dict)), None)
    if isinstance(data, str):
        try:
            return bytes.fromhex(data.removeprefix("Reverted ").removeprefix("0x"))
        except ValueError:
            return b""
    return b""


@cache
def _authorities() -> ssl.SSLContext:
    """Read once: the list of authorities costs 27 ms of work, and each client would read it anew."""
    return httpx.create_ssl_context(trust_env=False)


class Rpc:
    """One node. After three failures in a row it is left alone for a second or so."""

    def __init__(self, conf: ChainConf) -> None:
        self.conf = conf
        self._ids = count(1)
        self._failures = 0
        self._paused_until = 0.0
        self._lock = threading.Lock()
        self._client = httpx.Client(
            timeout=httpx.Timeout(conf.read_seconds, connect=conf.connect_seconds),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=8),
            trust_env=False,  # a proxy from the environment must not see or change chain traffic
            verify=_authorities(),
            # Never unpacked (see `_exchange`): a small packed answer can be a very large one.
            headers={"content-type": "application/json", "accept-encoding": "identity"},
        )

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, *params: Any, type: Any = str) -> Any:
        request_id = next(self._ids)
        body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        answer = self._decode(self._post(msgspec.json.encode(body)), _Answer)
        if answer.id is None and answer.error is not None:
            raise self._error(answer.error)
        if answer.id != request_id:
            raise RpcInconsistent(f"{method}: the answer belongs to another question")
        return self._result(answer, method, type)

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in order; the first refused call raises. Sent in parts that small nodes accept."""
        return [self._value(found) for found in self.batch_settled(calls)]

    def batch_settled(self, calls: Sequence[Call]) -> list[Any]:
        """Like `batch`, but a refused call stands in the list as its error."""
        results: list[Any] = []
        size = self.conf.calls_per_batch
        for start in range(0, len(calls), size):
            part = calls[start : start + size]
            ids = [next(self._ids) for _ in part]
            body = [
                {"jsonrpc": "2.0", "id": request_id, "method": call.method, "params": call.params}
                for request_id, call in zip(ids, part, strict=True)
            ]
            raw = self._post(msgspec.json.encode(body))
            if raw[:1] == b"{":  # a refusal of the whole batch
                answer = self._decode(raw, _Answer)
                raise self._error(answer.error) if answer.error else RpcInconsistent("one answer for many questions")
            answers = self._decode(raw, list[_Answer])
            by_id = {answer.id: answer for answer in answers}
            if set(by_id) != set(ids) or len(answers) != len(ids):
                raise RpcInconsistent("answers and questions of a batch do not match")
            for request_id, call in zip(ids, part, strict=True):
                try:
                    results.append(self._result(by_id[request_id], call.method, call.type))
                except Exception as error:  # noqa: BLE001 - handed to the caller in its place
                    results.append(error)
        return results

    @staticmethod
    def _value(found: Any) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    def _result(self, answer: _Answer, method: str, kind: Any) -> Any:
        if answer.error is not None:
            raise self._error(answer.error)
        if not bytes(answer.result):
            raise RpcInconsistent(f"{method}: neither result nor error")
        return self._decode(answer.result, kind)

    def _error(self, error: _Error) -> Exception:
        typed = rpc_error(error.code, error.message)
        return Reverted(*revert_reason(_revert_data(error.data))) if isinstance(typed, Reverted) else typed

    @staticmethod
    def _decode(raw: Any, kind: Any) -> Any:
        try:
            return _decoder(kind).decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RpcInconsistent("the answer does not have the expected form") from error

    def _post(self, body: bytes) -> bytes:
        if time.monotonic() < self._paused_until:
            raise RpcUnavailable(f"{self.conf.name}: the node did not answer a moment ago")
        try:
            status, raw = self._exchange(body)
        except httpx.HTTPError as error:
            self._failed()
            raise RpcUnavailable(f"{self.conf.name}: {type(error).__name__}") from error
        except RuntimeError as error:
            if not self._client.is_closed:
                raise
            raise RpcUnavailable(f"{self.conf.name}: closed by another thread") from error
        if status in (413, 429):
            raise RpcLimited(f"{self.conf.name}: HTTP {status}")
        # Some nodes answer a JSON-RPC error with a 4xx status; a body of that form counts.
        if status >= 500 or (status != 200 and raw[:1] not in (b"{", b"[")):
            self._failed()
            raise RpcUnavailable(f"{self.conf.name}: HTTP {status}")
        with self._lock:
            self._failures = 0
        return raw

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        deadline = time.monotonic() + DEADLINE_FACTOR * self.conf.read_seconds
        with self._client.stream("POST", self.conf.rpc_url, content=body) as response:
            parts, size = [], 0
            for part in response.iter_raw():
                size += len(part)
                if size > self.conf.body_bytes_max:
                    raise RpcLimited(f"{self.conf.name}: the answer is larger than {self.conf.body_bytes_max} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the whole answer took too long")
                parts.append(part)
            return response.status_code, b"".join(parts)

    def _failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES_BEFORE_PAUSE:
                # Jitter: many processes must not come back in the same instant.
                self._paused_until = time.monotonic() + PAUSE_SECONDS * (1 + random.random() / 2)  # noqa: S311
