"""The canonical chain as a node tells it, read and decoded without any code of the product, against the index.

Only the standard library, the compiler's output and an ABI decoder: no module of `chain` is imported here, so that
a mistake in the indexer's own reading cannot hide itself.
"""

import hashlib
import json
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from django.db import connection
from eth_abi import decode
from eth_utils import keccak

BUILD = Path(__file__).resolve().parents[3] / "contracts" / "build"
PAGE = 500


def ask(url, method, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
    if "error" in found:
        raise RuntimeError(f"{method}: {found['error']}")
    return found["result"]


def ask_many(url, calls):
    """Results in order of one batch for each 200 questions."""
    found = []
    for start in range(0, len(calls), 200):
        part = [
            {"jsonrpc": "2.0", "id": n, "method": method, "params": params}
            for n, (method, *params) in enumerate(calls[start : start + 200])
        ]
        request = urllib.request.Request(url, json.dumps(part).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            by_id = {item["id"]: item["result"] for item in json.load(answer)}
        found += [by_id[n] for n in range(len(part))]
    return found


def _type(part):
    if part["type"].startswith("tuple"):
        return f"({','.join(_type(item) for item in part['components'])}){part['type'][5:]}"
    return part["type"]


@cache
def abi_events(contract):
    """Topic -> (name, inputs) of one contract."""
    entries = json.loads((BUILD / f"{contract}.json").read_text())["abi"]
    return {
        "0x" + keccak(text=f"{e['name']}({','.join(_type(i) for i in e['inputs'])})").hex(): (e["name"], e["inputs"])
        for e in entries
        if e["type"] == "event"
    }


def plain(value):
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.lower() if isinstance(value, str) and value.startswith("0x") else value


def arguments(inputs, topics, data):
    indexed = [part for part in inputs if part["indexed"]]
    others = [part for part in inputs if not part["indexed"]]
    found = {
        part["name"]: plain(decode([_type(part)], bytes.fromhex(topic[2:]))[0])
        for part, topic in zip(indexed, topics[1:], strict=True)
    }
    values = decode([_type(part) for part in others], bytes.fromhex(data[2:]))
    found.update((part["name"], plain(value)) for part, value in zip(others, values, strict=True))
    return found


@dataclass
class Table:
    """Rows as text, one line each, and a hash over all of them."""

    rows: list

    @property
    def digest(self):
        return hashlib.sha256("\n".join(self.rows).encode()).hexdigest()


def line(*values):
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def chain_events(url, places, first, last):
    """What eth_getLogs gives for the contracts (address -> contract name) from one block to another."""
    rows = []
    for start in range(first, last + 1, PAGE):
        end = min(last, start + PAGE - 1)
        query = {"address": sorted(places), "fromBlock": hex(start), "toBlock": hex(end)}
        logs = ask(url, "eth_getLogs", query)
        logs.sort(key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16)))
        numbers = sorted({int(log["blockNumber"], 16) for log in logs})
        found = ask_many(url, [("eth_getBlockByNumber", hex(number), False) for number in numbers])
        blocks = dict(zip(numbers, found, strict=True))
        for log in logs:
            contract = places[log["address"].lower()]
            kind = abi_events(contract).get(log["topics"][0])
            if kind is None:
                continue
            number = int(log["blockNumber"], 16)
            assert blocks[number]["hash"] == log["blockHash"]
            rows.append(
                line(
                    number,
                    int(log["logIndex"], 16),
                    log["blockHash"].lower(),
                    int(blocks[number]["timestamp"], 16),
                    log["transactionHash"].lower(),
                    log["address"].lower(),
                    contract,
                    kind[0],
                    arguments(kind[1], log["topics"], log["data"]),
                )
            )
    return Table(rows)


def _seconds(value):
    """Stored as text on SQLite, as a time with zone on PostgreSQL."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())


def index_events(chain, first, last):
    """The index's canonical events, straight from the table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT block_number, log_index, block_hash, block_time, tx_hash, address, contract, name, args "
            "FROM chain_chainevent WHERE chain = %s AND is_canonical AND block_number BETWEEN %s AND %s "
            "ORDER BY block_number, log_index",
            [chain, first, last],
        )
        found = cursor.fetchall()
    return Table(
        [
            line(
                number,
                index,
                "0x" + bytes(block_hash).hex(),
                _seconds(time),
                "0x" + bytes(tx_hash).hex(),
                "0x" + bytes(address).hex(),
                contract,
                name,
                json.loads(args) if isinstance(args, str) else args,
            )
            for number, index, block_hash, time, tx_hash, address, contract, name, args in found
        ]
    )


def state_of(chain):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT cursor_number, cursor_hash, finalized, halted_reason FROM chain_chainstate WHERE name = %s",
            [chain],
        )
        number, cursor_hash, finalized, halted = cursor.fetchone()
    return number, "0x" + bytes(cursor_hash).hex(), finalized, halted


def is_begun(chain):
    """Whether the index has a place to stand on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM chain_chainstate WHERE name = %s AND cursor_hash IS NOT NULL", [chain])
        return cursor.fetchone() is not None


def gaps_of(chain):
    """Blocks whose events the index says that it does not have."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT gaps FROM chain_chainstate WHERE name = %s", [chain])
        found = cursor.fetchone()[0]
    return json.loads(found) if isinstance(found, str) else found


def _blocks(chain, first):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT number, hash, parent_hash, timestamp FROM chain_block "
            "WHERE chain = %s AND is_canonical AND number >= %s ORDER BY number",
            [chain, first],
        )
        return cursor.fetchall()


def blocks_of(chain, first):
    """(number, hash, parent hash) of the blocks that the index calls canonical."""
    rows = _blocks(chain, first)
    return [(number, "0x" + bytes(own).hex(), "0x" + bytes(parent).hex()) for number, own, parent, _ in rows]


def events_stored(chain):
    """Rows ever written, canonical or not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM chain_chainevent WHERE chain = %s", [chain])
        return cursor.fetchone()[0]


def differences(chain, url, places, *, first=0, to_head=True):
    """Everything in which the index and the chain differ, as text; empty means equal byte for byte.

    With `to_head` the index must have reached the node's head, else it may be behind but not wrong.
    """
    cursor, cursor_hash, finalized, halted = state_of(chain)
    head = int(ask(url, "eth_blockNumber"), 16)
    wrong = []
    if halted:
        wrong.append(f"halted: {halted}")
    if to_head and cursor != head:
        wrong.append(f"the index is at {cursor}, the chain at {head}")
    if cursor > head:
        return [*wrong, f"the index is at {cursor}, beyond the chain's {head}"]
    theirs, ours = chain_events(url, places, first, cursor), index_events(chain, first, 2**62)
    gaps = gaps_of(chain)
    if gaps and to_head:
        wrong.append(f"blocks {gaps} were left out")
    # A gap is said and projected by nobody; what is beyond it must be right all the same.
    theirs = Table([row for row in theirs.rows if json.loads(row)[0] not in gaps])
    if theirs.digest != ours.digest:
        wrong += [f"only on the chain: {row}" for row in theirs.rows if row not in set(ours.rows)][:3]
        wrong += [f"only in the index: {row}" for row in ours.rows if row not in set(theirs.rows)][:3]
        wrong.append(f"{len(theirs.rows)} events on the chain, {len(ours.rows)} in the index")
    rows = _blocks(chain, max(1, first))
    real = ask_many(url, [("eth_getBlockByNumber", hex(row[0]), False) for row in rows])
    for (number, block_hash, parent_hash, time), block in zip(rows, real, strict=True):
        stored = ("0x" + bytes(block_hash).hex(), "0x" + bytes(parent_hash).hex(), _seconds(time))
        if block is None or stored != (block["hash"], block["parentHash"], int(block["timestamp"], 16)):
            wrong.append(f"block {number} is {stored}, the chain has {block and block['hash']}")
    if rows and (rows[-1][0], "0x" + bytes(rows[-1][1]).hex()) != (cursor, cursor_hash):
        wrong.append(f"the cursor names {cursor} {cursor_hash}, the last block is {rows[-1][0]}")
    kept = {row[0] for row in rows}
    if any(number not in kept for number in range(max(1, first, finalized), cursor + 1)):
        wrong.append("a block that may still change is not kept")
    return wrong
