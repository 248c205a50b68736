"""One chain, an organisation that writes to it without the product, and the product's indexer following."""

import secrets
from pathlib import Path

from eth_abi import encode
from eth_account import Account
from eth_utils import keccak, to_checksum_address

from tests.campaigns.nodes import truth

GWEI = 10**9
KINDS = ("dropped", "moved", "replaced")


class Writer:
    """Signs and places transactions of one organisation. Keeps what it signed by block, to place it again."""

    def __init__(self, anvil, places, key):
        self.anvil, self.account = anvil, Account.from_key(key)
        self.address = bytes.fromhex(self.account.address[2:])
        self.at = {name: address for address, name in places.items()}
        self.by_block = {}  # number -> [raw]

    def sign(self, contract, call, types, values, nonce, *, gas=400_000):
        data = keccak(text=f"{call}({','.join(types)})")[:4] + encode(types, values)
        wish = {
            "chainId": self.anvil.chain_id,
            "nonce": nonce,
            "to": to_checksum_address(self.at[contract]),
            "data": data,
            "gas": gas,
            "gasPrice": 0,
            "value": 0,
        }
        return "0x" + self.account.sign_transaction(wish).raw_transaction.hex()

    def some(self, rng, nonce, seqs):
        """One signed transaction of a random kind; `seqs` are the next numbers in the two logs."""
        which = rng.randrange(4)
        if which == 0:
            count = rng.randint(1, 5)
            values = [rng.randbytes(32), seqs["anchor"], count, rng.randrange(4)]
            seqs["anchor"] += count
            return self.sign("AnchorLog", "anchor", ["bytes32", "uint64", "uint32", "uint8"], values, nonce)
        if which == 1:
            leaves = [rng.randbytes(32) for _ in range(rng.randint(1, 4))]
            values = [seqs["access"], leaves]
            seqs["access"] += len(leaves)
            return self.sign("AccessLog", "append", ["uint64", "bytes32[]"], values, nonce)
        pairs = [(rng.randbytes(32), rng.randbytes(20)) for _ in range(rng.randint(1, 3))]
        if which == 2:
            return self.sign("Consents", "record", ["bytes32", "bytes20"], list(pairs[0]), nonce)
        digests, locks = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        return self.sign("Consents", "recordMany", ["bytes32[]", "bytes20[]"], [digests, locks], nonce)

    def seqs(self, block="latest"):
        """Where both logs of the organisation stand in a block."""
        found = {}
        for name, contract, call, place in (
            ("anchor", "AnchorLog", "nextSeq", 0),
            ("access", "AccessLog", "head", 1),
        ):
            data = keccak(text=f"{call}(address)")[:4] + encode(["address"], [self.account.address])
            answer = truth.ask(self.anvil.url, "eth_call", {"to": self.at[contract], "data": "0x" + data.hex()}, block)
            found[name] = int(answer[2 + 64 * place : 66 + 64 * place], 16)
        return found

    def nonce(self, block="latest"):
        return int(truth.ask(self.anvil.url, "eth_getTransactionCount", self.account.address, block), 16)

    def grow(self, rng, blocks, *, most=3):
        """Some blocks with up to `most` transactions each; the last is never empty."""
        nonce, seqs = self.nonce(), self.seqs()
        for place in range(blocks):
            raws = []
            for _ in range(rng.randint(int(place == blocks - 1), most)):
                raws.append(self.some(rng, nonce, seqs))
                self.anvil.rpc("eth_sendRawTransaction", raws[-1])
                nonce += 1
            self.anvil.mine()
            self.by_block[self.anvil.head] = raws

    def reorganise(self, rng, depth, kind):
        """Takes the last `depth` blocks away and puts others there: empty ones, the same transactions elsewhere, or
        other transactions with the same nonces. Returns how many transactions were lost and placed."""
        head = self.anvil.head
        gone = [raw for number in range(head - depth + 1, head + 1) for raw in self.by_block.get(number, [])]
        if kind == "dropped":
            placed = []
        elif kind == "moved":
            placed = gone
        else:
            before = hex(head - depth)
            nonce, seqs = self.nonce(before), self.seqs(before)
            placed = [self.some(rng, nonce + n, seqs) for n in range(len(gone) or 1)]
        # Nonces must follow each other, so the new places are in order; blocks hold as many as fall on them.
        offsets = sorted(rng.randrange(depth) for _ in placed)
        self.anvil.rpc("anvil_reorg", depth, [[raw, offset] for raw, offset in zip(placed, offsets, strict=True)])
        for number in range(head - depth + 1, head + 1):
            self.by_block[number] = []
        for raw, offset in zip(placed, offsets, strict=True):
            self.by_block[head - depth + 1 + offset].append(raw)
        return len(gone), len(placed)


def places_of(chain_id, folder):
    """Address -> contract name from the record of the deployment, earlier versions included."""
    import json

    data = json.loads((Path(folder) / f"{chain_id}.json").read_text())
    versions = [data["contracts"], *data.get("previous", [])]
    return {item["address"].lower(): name for part in versions for name, item in part.items()}


def new_key():
    return secrets.token_bytes(32)
