"""One chain as its node tells it: logs, transactions, nonces. Decoded with the ABI files alone."""

import json
from collections import Counter, defaultdict
from pathlib import Path

from eth_abi import decode
from eth_utils import keccak

BUILD = Path(__file__).absolute().parents[3] / "contracts" / "build"


def abi_type(part):
    if not part["type"].startswith("tuple"):
        return part["type"]
    return "(" + ",".join(abi_type(inner) for inner in part["components"]) + ")" + part["type"][5:]


class Chain:
    def __init__(self, node, deployment):
        self.node = node
        record = json.loads(Path(deployment).read_text())
        self.start = min(item["block_number"] for item in record["contracts"].values())
        self.names = {item["address"].lower(): name for name, item in record["contracts"].items()}
        self.kinds = {}
        for address, name in self.names.items():
            for item in json.loads((BUILD / f"{name}.json").read_text())["abi"]:
                if item["type"] == "event":
                    text = f"{item['name']}({','.join(abi_type(part) for part in item['inputs'])})"
                    self.kinds[address, "0x" + keccak(text=text).hex()] = name, item
        self.hashes = {}

    def read(self):
        """Everything the node has about our contracts, now."""
        self.head = self.node.head
        query = {"address": list(self.names), "fromBlock": hex(self.start), "toBlock": hex(self.head)}
        self.logs = self.node("eth_getLogs", query)
        self.hashes, self.mined = {}, set()
        calls = [
            ("eth_getBlockByNumber", (hex(number), False)) for number in range(max(0, self.start - 1), self.head + 1)
        ]
        parent = None
        for block in self.node.many(calls):
            if parent is not None and block["parentHash"] != parent:
                raise AssertionError("the chain changed while it was read")
            parent = block["hash"]
            self.hashes[int(block["number"], 16)] = block["hash"][2:]
            self.mined.update(tx[2:] for tx in block["transactions"])
        self.counts = Counter()
        self.roots, self.accesses, self.consents = defaultdict(list), defaultdict(dict), defaultdict(list)
        for log in self.logs:
            found = self.kinds.get((log["address"].lower(), log["topics"][0]))
            if found is None:
                continue
            args = self.decoded(found[1], log)
            self.counts[found[1]["name"]] += 1
            if found[1]["name"] == "Anchored":
                self.roots[args["root"][2:]].append({"count": args["count"], "tx_hash": log["transactionHash"][2:]})
            elif found[1]["name"] == "AccessLogged":
                self.accesses[args["organisation"].lower()][args["firstSeq"]] = [x[2:] for x in args["leaves"]]
            elif found[1]["name"] in ("ConsentRecorded", "ConsentRevoked"):
                self.consents[args["digest"][2:]].append(found[1]["name"])

    def block_hash(self, number):
        return self.hashes.get(number)

    def nonces(self, address):
        account = "0x" + address.hex()
        calls = [("eth_getTransactionCount", (account, tag)) for tag in ("latest", "pending")]
        return tuple(int(value, 16) for value in self.node.many(calls))

    def leaves(self, account):
        """An organisation's access log, in its own numbering; a gap in it raises."""
        parts = self.accesses["0x" + account.hex()] if account else {}
        found = []
        for first in sorted(parts):
            found += parts[first]
        return found

    def events(self, until):
        rows = []
        for log in self.logs:
            kind = self.kinds.get((log["address"].lower(), log["topics"][0]))
            number = int(log["blockNumber"], 16)
            if kind is None or number > until:
                continue
            args = self.decoded(kind[1], log)
            rows.append(
                (
                    number,
                    int(log["logIndex"], 16),
                    log["blockHash"][2:],
                    log["transactionHash"][2:],
                    log["address"].lower()[2:],
                    kind[0],
                    kind[1]["name"],
                    json.dumps(args, sort_keys=True),
                )
            )
        return sorted(rows)

    @staticmethod
    def decoded(kind, log):
        topics, args = list(log["topics"][1:]), {}
        plain = [part for part in kind["inputs"] if not part["indexed"]]
        values = iter(decode([abi_type(part) for part in plain], bytes.fromhex(log["data"][2:])))
        for part in kind["inputs"]:
            if part["indexed"]:
                (value,) = decode([abi_type(part)], bytes.fromhex(topics.pop(0)[2:]))
            else:
                value = next(values)
            args[part["name"]] = as_json(value)
        return args


def as_json(value):
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value
