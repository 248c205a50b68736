"""A node with geth's pool rules and a price that can be moved, for what anvil is too kind to show."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import rlp
from eth_account import Account
from eth_utils import keccak

GWEI = 10**9


@dataclass
class Pending:
    hash: str
    sender: str
    nonce: int
    max_fee: int
    tip: int


@dataclass
class FakeGeth:
    """Switches: `base_fee`, `lose_answers` (accepts, then hangs up), `mangle` (bytes of every answer)."""

    chain_id: int
    base_fee: int = GWEI
    tip: int = GWEI
    lose_answers: bool = False
    status: int = 200
    code: str = "0x01"  # of every contract
    mangle: object = None
    headers: dict = field(default_factory=dict)
    views: dict = field(default_factory=dict)  # calldata -> what a contract answers
    blocks: list = field(default_factory=list)
    pool: dict = field(default_factory=dict)  # (sender, nonce) -> Pending
    mined: dict = field(default_factory=dict)  # hash -> (block number, Pending)
    sends: list = field(default_factory=list)
    requests: int = 0

    def __post_init__(self):
        self.blocks.append(self._block(0, "0x" + "00" * 32, []))
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                fake.requests += 1
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                many = isinstance(body, list)
                answers = [fake.answer(item) for item in (body if many else [body])]
                if fake.lose_answers and any(
                    i["method"] == "eth_sendRawTransaction" for i in ([body] if not many else body)
                ):
                    self.close_connection = True
                    self.connection.close()
                    return
                raw = json.dumps(answers if many else answers[0]).encode()
                raw = fake.mangle(raw) if fake.mangle else raw
                self.send_response(fake.status)
                self.send_header("content-length", str(len(raw)))
                for name, value in fake.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _block(self, number, parent, hashes):
        return {
            "number": hex(number),
            "hash": "0x" + keccak(text=f"{number}{parent}{hashes}").hex(),
            "parentHash": parent,
            "timestamp": hex(1_800_000_000 + number),
            "transactions": hashes,
            "gasUsed": "0x0",
            "gasLimit": hex(30_000_000),
            "baseFeePerGas": hex(self.base_fee),
        }

    def mine(self):
        """Takes what can pay, in nonce order for each sender."""
        number, taken = len(self.blocks), []
        for key in sorted(self.pool, key=lambda item: item[1]):
            entry = self.pool[key]
            if entry.max_fee >= self.base_fee and self.nonce_of(entry.sender) == entry.nonce:
                self.mined[entry.hash] = (number, entry)
                taken.append(key)
        for key in taken:
            del self.pool[key]
        hashes = [h for h, (n, _) in self.mined.items() if n == number]
        self.blocks.append(self._block(number, self.blocks[-1]["hash"], hashes))

    def nonce_of(self, sender):
        return sum(entry.sender == sender for _, entry in self.mined.values())

    def answer(self, request):
        try:
            result = getattr(self, request["method"])(*request["params"])
        except ValueError as refusal:
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32000, "message": str(refusal)}}
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    # -- methods of the node ------------------------------------------------------------------------------------

    def eth_chainId(self):  # noqa: N802
        return hex(self.chain_id)

    def eth_getBlockByNumber(self, block, full):  # noqa: N802
        number = len(self.blocks) - 1 if block == "latest" else int(block, 16)
        return self.blocks[number] if number < len(self.blocks) else None

    def eth_call(self, message, block):  # noqa: N802
        if message["data"] not in self.views:
            raise ValueError("execution reverted")
        return self.views[message["data"]]

    def eth_getTransactionByHash(self, tx_hash):  # noqa: N802
        return None

    def eth_getCode(self, address, block):  # noqa: N802
        return self.code

    def eth_maxPriorityFeePerGas(self):  # noqa: N802
        return hex(self.tip)

    def eth_estimateGas(self, message):  # noqa: N802
        return hex(21_000)

    def eth_getTransactionCount(self, address, block):  # noqa: N802
        return hex(self.nonce_of(address.lower()))

    def eth_getTransactionReceipt(self, tx_hash):  # noqa: N802
        if tx_hash not in self.mined:
            return None
        number, entry = self.mined[tx_hash]
        return {
            "transactionHash": tx_hash,
            "blockHash": self.blocks[number]["hash"],
            "blockNumber": hex(number),
            "gasUsed": hex(21_000),
            "status": "0x1",
            "effectiveGasPrice": hex(entry.max_fee),
            "logs": [],
        }

    def eth_sendRawTransaction(self, raw):  # noqa: N802
        data = bytes.fromhex(raw[2:])
        tx_hash = "0x" + keccak(data).hex()
        fields = rlp.decode(data[1:])
        nonce, tip, max_fee = (int.from_bytes(part, "big") for part in fields[1:4])
        sender = Account.recover_transaction(data).lower()
        self.sends.append(tx_hash)
        if self.nonce_of(sender) > nonce:
            raise ValueError("nonce too low")
        there = self.pool.get((sender, nonce))
        if there is not None:
            if there.hash == tx_hash:
                raise ValueError("already known")
            if max_fee * 10 < there.max_fee * 11 or tip * 10 < there.tip * 11:
                raise ValueError("replacement transaction underpriced")
        self.pool[sender, nonce] = Pending(tx_hash, sender, nonce, max_fee, tip)
        return tx_hash
