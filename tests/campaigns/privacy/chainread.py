"""Everything a chain shows to whoever runs a node of it: raw JSON-RPC and nothing of the product.

A node that traces steps (`anvil --steps-tracing`) also gives the writes that a later one covered up and those of
transactions that failed; without that the difference of the states is read.
"""

import itertools
import re
from collections import Counter
from dataclasses import dataclass

import httpx

ZERO = bytes(32)
BATCH = 50


@dataclass(frozen=True)
class Seen:
    """Some bytes on a chain and where they stand."""

    chain: str
    block: int
    tx: str
    place: str
    data: bytes
    sender: str = ""
    to: str = ""

    def __str__(self):
        return f"{self.chain} block {self.block} {self.tx[:12] or '-'} {self.place}"


class Blind(AssertionError):
    """The node did not show what a scan has to see."""


class ChainReader:
    def __init__(self, name, url):
        self.name, self.url = name, url
        self.client = httpx.Client(timeout=120, trust_env=False)
        self.ids = itertools.count(1)
        self.counts = Counter()

    def close(self):
        self.client.close()

    def call(self, method, *params):
        return self.batch([(method, params)])[0]

    def batch(self, calls):
        found = []
        for start in range(0, len(calls), BATCH):
            part = [
                {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": list(params)}
                for method, params in calls[start : start + BATCH]
            ]
            answers = {row["id"]: row for row in self.client.post(self.url, json=part).raise_for_status().json()}
            for row in part:
                answer = answers[row["id"]]
                if "error" in answer:
                    raise Blind(f"{self.name}: {row['method']}: {answer['error']}")
                found.append(answer["result"])
        return found

    def read(self, first=0):
        """Blocks from `first` on, as a list of Seen."""
        head = int(self.call("eth_blockNumber"), 16)
        blocks = self.batch([("eth_getBlockByNumber", (hex(n), True)) for n in range(first, head + 1)])
        seen = []
        for block in blocks:
            number = int(block["number"], 16)
            self.counts["blocks"] += 1
            seen.append(Seen(self.name, number, "", "extra data of the block", _bytes(block["extraData"])))
            for tx in block["transactions"]:
                seen += self._transaction(number, tx)
        if self.counts["events"] and not self.counts["storage writes"]:
            raise Blind(f"{self.name}: events, and no write is shown")
        return [item for item in seen if item.data.strip(b"\0")]

    def _transaction(self, number, tx):
        self.counts["transactions"] += 1
        receipt = self.call("eth_getTransactionReceipt", tx["hash"])
        sender, to = tx["from"].lower(), (tx["to"] or receipt["contractAddress"] or "").lower()

        def at(place, data):
            return Seen(self.name, number, tx["hash"], place, _bytes(data), sender, to)

        yield at("sender", tx["from"])
        yield at("input" if tx["to"] else "creation code", tx["input"])
        if tx["to"]:
            yield at("to", tx["to"])
        else:
            yield at("new contract", receipt["contractAddress"])
            yield at("contract code", self.call("eth_getCode", receipt["contractAddress"], hex(number)))
        yield at("amount", _word(tx["value"]))
        for entry in tx.get("accessList") or ():
            yield at("access list", entry["address"])
            for key in entry["storageKeys"]:
                yield at("access list", key)
        for log in receipt["logs"]:
            self.counts["events"] += 1
            for place, topic in enumerate(log["topics"]):
                yield at(f"topic {place}" if place else "event name", topic)
            yield at("event data", log["data"])
        if receipt["status"] != "0x1":
            self.counts["failed transactions"] += 1
        yield from self._calls(at, self.call("debug_traceTransaction", tx["hash"], {"tracer": "callTracer"}), 0)
        writes = list(self._writes(at, tx["hash"]))
        self.counts["storage writes"] += sum(item.place == "storage value" for item in writes)
        yield from writes

    def _calls(self, at, call, depth):
        """Inner calls, what they returned, and why they failed."""
        self.counts["calls"] += 1
        is_creation = call["type"].startswith("CREATE")
        if depth:
            yield at("inner call", call.get("input", "0x"))
            yield at("new contract" if is_creation else "inner call to", call.get("to") or "0x")
        if not is_creation:  # a creation returns the code, which stands in its input
            yield at("revert data" if call.get("error") else "return data", call.get("output") or "0x")
        for inner in call.get("calls", ()):
            yield from self._calls(at, inner, depth + 1)

    def _writes(self, at, tx_hash):
        written = list(self._steps(tx_hash)) or list(self._difference(tx_hash))
        for slot, value in written:
            yield at("storage slot", slot)
            yield at("storage value", value)
        # Long values lie in one slot after the other.
        places = {}
        for slot, value in written:
            if value.strip("0x"):  # also what was wiped again at once
                places.setdefault(int(slot, 16), value[2:])
        for slot in sorted(places):
            if slot - 1 not in places and slot + 1 in places:
                run = itertools.takewhile(lambda place: place in places, itertools.count(slot))
                yield at("storage values in a row", "0x" + "".join(places[place] for place in run))

    def _steps(self, tx_hash):
        options = {"disableStorage": True, "enableMemory": False, "enableReturnData": False}
        for step in self.call("debug_traceTransaction", tx_hash, options)["structLogs"]:
            if step["op"] in ("SSTORE", "TSTORE"):
                yield _word(step["stack"][-1]), _word(step["stack"][-2])

    def _difference(self, tx_hash):
        diff = {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}}
        for account in self.call("debug_traceTransaction", tx_hash, diff)["post"].values():
            for slot, value in account.get("storage", {}).items():
                yield _word(slot), _word(value)


HEX = re.compile(r"0x[0-9a-f]{2,}", re.IGNORECASE)


def questions_seen(asked):
    """What a node learned from being asked: (chain, method, parameters as JSON)."""
    seen = set()
    for chain, method, params in asked:
        seen.add(Seen(chain, 0, "", f"{method}, its words", HEX.sub("", params).encode()))
        for text in HEX.findall(params):
            selector = f" {text[2:10]}" if method == "eth_call" and len(text) > 66 else ""
            seen.add(Seen(chain, 0, "", f"{method}{selector}", _bytes(text)))
    return sorted(seen, key=str)


def _bytes(text):
    digits = text[2:]
    return bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)


def _word(text):
    return "0x" + text[2:].rjust(64, "0")
