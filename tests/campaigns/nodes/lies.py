"""What a bad node does to answers. Each makes one change to one answer and says whether it really did.

TRANSPORT and WRONG are what the portal must notice by itself; SUBTLE looks right and is what a second node is for.
"""

import copy
import json

from tests.fakes.proxy import Http

READ_SECONDS = 0.4


# -- whole answers: fn(raw, rng) -> bytes or Http --------------------------------------------------------------------


def cut_body(raw, rng):
    return Http(raw, cut_after=rng.randrange(len(raw)))


def cut_json(raw, rng):
    return raw[: rng.randrange(len(raw) - 1)]


def html(raw, rng):
    return Http(b"<html><body>Bad gateway</body></html>", status=rng.choice([200, 403, 502, 504]))


def too_many(raw, rng):
    return Http(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"slow down"}}', status=429)


def down(raw, rng):
    return Http(b"", status=503)


def stall(raw, rng):
    return Http(raw, delay=1.5 * READ_SECONDS)


def drip(raw, rng):
    return Http(b" " * 200 + raw, drip=READ_SECONDS / 10)


def lost_answer(raw, rng):
    """The node did what it was asked; nobody hears of it."""
    return Http(raw, cut_after=0)


def too_large(raw, rng):
    return raw + b" " * 9_000_000


def garbage(raw, rng):
    return bytes(rng.randrange(256) for _ in range(len(raw) % 500 + 1))


def packed(raw, rng):
    return Http(raw, headers=(("content-encoding", "gzip"),))


def wrong_ids(raw, rng):
    found = json.loads(raw)
    for item in found if isinstance(found, list) else [found]:
        item["id"] += 1000
    return json.dumps(found).encode()


def shuffled_ids(raw, rng):
    """Answers under each other's numbers."""
    found = json.loads(raw)
    if not isinstance(found, list) or len(found) < 2:
        return wrong_ids(raw, rng)
    ids = [item["id"] for item in found]
    for item, other in zip(found, ids[1:] + ids[:1], strict=True):
        item["id"] = other
    return json.dumps(found).encode()


def one_missing(raw, rng):
    found = json.loads(raw)
    if isinstance(found, list):
        found.pop(rng.randrange(len(found)))
    return json.dumps(found if isinstance(found, list) else {}).encode()


def one_for_all(raw, rng):
    found = json.loads(raw)
    return json.dumps(found[0] if isinstance(found, list) else [found]).encode()


def not_json_rpc(raw, rng):
    return rng.choice([b"null", b"[]", b"{}", b'"0x1"', b"7", b'{"id":1}', b"[[[[[[[["])


TRANSPORT = [
    cut_body, cut_json, html, too_many, down, stall, drip, lost_answer, too_large, garbage, packed, wrong_ids,
    shuffled_ids, one_missing, one_for_all, not_json_rpc,
]  # fmt: skip


# -- single results: fn(liar, method, params, answer) -> bool --------------------------------------------------------


def a_block(method, answer):
    return method == "eth_getBlockByNumber" and isinstance(answer.get("result"), dict)


def some_logs(method, answer):
    return method == "eth_getLogs" and answer.get("result")


def another_block(liar, method, params, answer):
    """The block before, or after, the one that was asked for."""
    if not a_block(method, answer):
        return False
    number = int(answer["result"]["number"], 16)
    other = liar.node.rpc("eth_getBlockByNumber", hex(max(0, number + liar.rng.choice([-2, -1, 1]))), False)
    if other is None or params[0] in ("latest", "finalized"):
        return False
    answer["result"] = other
    return True


def stale_head(liar, method, params, answer):
    """Yesterday's newest block."""
    if not a_block(method, answer) or params[0] != "latest":
        return False
    number = int(answer["result"]["number"], 16)
    answer["result"] = liar.node.rpc("eth_getBlockByNumber", hex(max(1, number - liar.rng.randint(1, 70))), False)
    return True


def head_of_another_fork(liar, method, params, answer):
    if not a_block(method, answer) or params[0] != "latest":
        return False
    answer["result"]["hash"] = "0x" + liar.rng.randbytes(32).hex()
    return True


def another_hash(liar, method, params, answer):
    if not a_block(method, answer) or params[0] in ("latest", "0x0", "0x1"):
        return False
    answer["result"]["hash"] = "0x" + liar.rng.randbytes(32).hex()
    return True


def no_block(liar, method, params, answer):
    if not a_block(method, answer):
        return False
    answer["result"] = None
    return True


def impossible_numbers(liar, method, params, answer):
    if not a_block(method, answer):
        return False
    field = liar.rng.choice(["number", "timestamp", "gasUsed", "baseFeePerGas"])
    answer["result"][field] = liar.rng.choice(["0x" + "f" * 64, "-0x1", "0x", "soon", "0x_1", "12"])
    return True


def another_chain(liar, method, params, answer):
    if method != "eth_chainId":
        return False
    answer["result"] = "0x1"
    return True


def another_genesis(liar, method, params, answer):
    if not a_block(method, answer) or params[0] != "0x1":
        return False
    answer["result"]["parentHash"] = "0x" + liar.rng.randbytes(32).hex()
    return True


def an_error(liar, method, params, answer):
    answer.pop("result", None)
    answer["error"] = liar.rng.choice(
        [
            {"code": -32000, "message": "header not found"},
            {"code": -32603, "message": "internal error"},
            {"code": -32005, "message": "limit exceeded"},
            {"code": -32601, "message": "method not found"},
            {"code": -32000, "message": "timeout"},
        ]
    )
    return True


def nothing(liar, method, params, answer):
    if method in ("eth_getTransactionReceipt", "eth_getBlockByNumber") or "result" not in answer:
        return False
    answer["result"] = None
    return True


def another_type(liar, method, params, answer):
    if answer.get("result") is None:
        return False
    answer["result"] = liar.rng.choice([7, True, ["0x1"], {"a": "0x1"}, "not hex"])
    return True


def logs_of_another_block(liar, method, params, answer):
    if not some_logs(method, answer):
        return False
    liar.rng.choice(answer["result"])["blockHash"] = "0x" + liar.rng.randbytes(32).hex()
    return "blockHash" in params[0] or len({log["blockNumber"] for log in answer["result"]}) < len(answer["result"])


def logs_that_were_not_asked_for(liar, method, params, answer):
    if not some_logs(method, answer):
        return False
    log = liar.rng.choice(answer["result"])
    what = liar.rng.randrange(3)
    if what == 0:
        log["address"] = "0x" + liar.rng.randbytes(20).hex()
    elif what == 1:
        log["removed"] = True
    else:
        log["blockNumber"] = hex(int(log["blockNumber"], 16) + 1_000_000)
    return True


def logs_twice(liar, method, params, answer):
    if not some_logs(method, answer):
        return False
    answer["result"].append(copy.deepcopy(liar.rng.choice(answer["result"])))
    return True


def logs_kept_back(liar, method, params, answer):
    """A block is there before its logs are: none of them."""
    if not some_logs(method, answer) or "blockHash" not in params[0]:
        return False
    answer["result"] = []
    return True


def logs_that_do_not_decode(liar, method, params, answer):
    if not some_logs(method, answer):
        return False
    log = liar.rng.choice(answer["result"])
    what = liar.rng.randrange(4)
    if what == 0:
        log["topics"] = log["topics"][:1]
    elif what == 1:
        log["topics"][-1] = log["topics"][-1][:40]
    elif what == 2:
        log["data"] = log["data"][:-2] if len(log["data"]) > 2 else "0x1"
    else:
        log["logIndex"] = liar.rng.choice(["0x" + "f" * 16, "-0x1", "first"])
    return True


def a_receipt_of_another(liar, method, params, answer):
    if method != "eth_getTransactionReceipt" or not isinstance(answer.get("result"), dict):
        return False
    answer["result"]["transactionHash"] = "0x" + liar.rng.randbytes(32).hex()
    return True


def a_receipt_out_of_nothing(liar, method, params, answer):
    """Of the very transaction, in a real block that it is not in."""
    if method != "eth_getTransactionReceipt" or answer.get("result") is not None:
        return False
    block = liar.node.rpc("eth_getBlockByNumber", hex(max(1, liar.node.head - liar.rng.randint(0, 70))), False)
    if params[0] in block["transactions"]:
        return False
    answer["result"] = {
        "transactionHash": params[0],
        "blockHash": block["hash"],
        "blockNumber": block["number"],
        "gasUsed": "0x5208",
        "status": liar.rng.choice(["0x1", "0x0"]),
        "effectiveGasPrice": "0x0",
        "logs": [],
    }
    return True


def a_receipt_in_another_block(liar, method, params, answer):
    if method != "eth_getTransactionReceipt" or not isinstance(answer.get("result"), dict):
        return False
    number = max(1, int(answer["result"]["blockNumber"], 16) - liar.rng.randint(1, 5))
    block = liar.node.rpc("eth_getBlockByNumber", hex(number), False)
    answer["result"] |= {"blockNumber": block["number"], "blockHash": block["hash"]}
    return True


def no_receipt(liar, method, params, answer):
    """The node's list of transactions lags behind its blocks."""
    if method != "eth_getTransactionReceipt" or answer.get("result") is None:
        return False
    answer["result"] = None
    return True


def a_higher_count(liar, method, params, answer):
    """Of an account's transactions."""
    if method != "eth_getTransactionCount" or "result" not in answer:
        return False
    answer["result"] = hex(int(answer["result"], 16) + liar.rng.choice([1, 2, 3, 1000, 10**9]))
    return True


WRONG = [
    another_block, stale_head, head_of_another_fork, another_hash, no_block, impossible_numbers, another_chain,
    another_genesis, an_error, nothing, another_type, logs_of_another_block, logs_that_were_not_asked_for, logs_twice,
    logs_kept_back, logs_that_do_not_decode, a_receipt_of_another, a_receipt_out_of_nothing,
    a_receipt_in_another_block, no_receipt, a_higher_count,
]  # fmt: skip


# -- lies that look right --------------------------------------------------------------------------------------------


def a_log_left_out(liar, method, params, answer):
    if not some_logs(method, answer):
        return False
    answer["result"].pop(liar.rng.randrange(len(answer["result"])))
    return True


def a_value_changed(liar, method, params, answer):
    if not some_logs(method, answer):
        return False
    logs = [log for log in answer["result"] if len(log["topics"]) > 1]
    if not logs:
        return False
    topics = liar.rng.choice(logs)["topics"]
    last = topics[-1]
    topics[-1] = last[:-1] + liar.rng.choice([digit for digit in "0123456789abcdef" if digit != last[-1].lower()])
    return True


def another_transaction(liar, method, params, answer):
    if not some_logs(method, answer):
        return False
    liar.rng.choice(answer["result"])["transactionHash"] = "0x" + liar.rng.randbytes(32).hex()
    return True


def a_log_invented(liar, method, params, answer):
    if not some_logs(method, answer):
        return False
    log = copy.deepcopy(liar.rng.choice(answer["result"]))
    log["logIndex"] = hex(10_000 + liar.rng.randrange(10_000))
    answer["result"].append(log)
    return True


SUBTLE = [a_log_left_out, a_value_changed, another_transaction, a_log_invented]


class Liar:
    """Sets a proxy up to do one bad thing to the n-th answer it can be done to."""

    def __init__(self, proxy, node, rng, fired):
        self.proxy, self.node, self.rng, self.fired = proxy, node, rng, fired
        self.left = 0
        self.what = None

    def will(self, what, after=0):
        self.what, self.left = what, after
        if what in TRANSPORT:
            self.proxy.spoil, self.proxy.twist = self._spoil, None
        else:
            self.proxy.spoil, self.proxy.twist = None, self._twist

    @property
    def is_waiting(self):
        return self.what is not None

    def stop(self):
        self.what = None
        self.proxy.honest()

    def _spoil(self, raw):
        if self.what is None or self.left > 0:
            self.left -= 1
            return raw
        what, self.what = self.what, None
        self.fired(what.__name__)
        return what(raw, self.rng)

    def _twist(self, method, params, answer):
        if self.what is None:
            return
        before = copy.deepcopy(answer)
        if not self.what(self, method, params, answer):
            answer.clear()
            answer.update(before)
            return
        if self.left > 0:
            self.left -= 1
            answer.clear()
            answer.update(before)
            return
        self.fired(self.what.__name__)
        self.what = None
