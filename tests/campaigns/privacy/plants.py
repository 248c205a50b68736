"""Leaks made on purpose: something that must not be on a chain, hidden in one of the places that a chain has.

The contracts are a few bytes of machine code. They get their secret masked, so that it stands in no call data: only
who reads the place itself finds it.
"""

import base64
import hashlib
import secrets
import uuid

from eth_utils import keccak

from tests.campaigns.privacy import known as forms

ALGORITHMS = (*forms.ALGORITHMS, "keccak256")


def digest(name, data):
    return keccak(data) if name == "keccak256" else hashlib.new(name, data, usedforsecurity=False).digest()


# -- what -----------------------------------------------------------------------------------------------------------


def text(rng, story, knowns):
    known = _some(rng, knowns, {"name", "email", "phone", "file name", "title"}, least=5)
    shape = rng.choice(["utf-8", "upper", "utf-16", "hex", "base64", "reversed", "int"])
    data = known.value.encode()
    made = {
        "utf-8": data,
        "upper": known.value.upper().encode(),
        "utf-16": known.value.encode("utf-16-le"),
        "hex": data.hex().encode(),
        "base64": base64.b64encode(data),
        "reversed": data[::-1],
        "int": int.from_bytes(data).to_bytes(-(-len(data) // 32) * 32),
    }
    return made[shape], {"value"}, f"{known.kind} as {shape}"


def number(rng, story, knowns):
    known = _some(rng, knowns, {"phone", "number", "date"})
    digits = "".join(sign for sign in known.value if sign.isdigit())
    return int(digits).to_bytes(32), {"value"}, f"{known.kind} as a number"


def identifier(rng, story, knowns):
    known = _some(rng, knowns, {"id"})
    key = uuid.UUID(known.value)
    return rng.choice([key.bytes, str(key).encode(), key.hex.encode(), key.bytes.rjust(32, b"\0")]), {"value"}, "an id"


def content(rng, story, knowns):
    known = _some(rng, knowns, {"content"})
    return known.value[:64], {"value", "readable"}, "the content of a file"


def plain_hash(rng, story, knowns):
    known = _some(rng, knowns, {"name", "email", "phone", "number", "date", "title", "content", "id"})
    name = rng.choice(ALGORITHMS)
    data = known.value if isinstance(known.value, bytes) else known.value.encode()
    return digest(name, data), {"hash"}, f"plain {name}"


def joined_hash(rng, story, knowns):
    known, other = _some(rng, knowns, {"name", "email", "phone", "title"}), _some(rng, knowns, {"id"})
    name, key = rng.choice(["sha256", "keccak256"]), rng.choice(forms.id_spellings(other))
    separator = b"" if name == "keccak256" else rng.choice([b"", b":"])
    pair = [known.value.encode(), key]
    rng.shuffle(pair)
    return digest(name, separator.join(pair)), {"hash"}, f"{name} with an id"


def short_hash(rng, story, knowns):
    """Cut to the length of an address, as keys of mappings often are."""
    known = _some(rng, knowns, {"email", "phone", "number"})
    return keccak(known.value.encode())[12:].rjust(32, b"\0"), {"hash", "stranger"}, "a hash cut to 20 bytes"


def file_hash(rng, story, knowns):
    known = _some(rng, knowns, {"content"})
    names = dict(forms.cids(known.value))
    name = rng.choice(["sha256", "leaf", *names])
    if name == "sha256":
        return hashlib.sha256(known.value).digest(), {"hash", "value"}, "hash of a file"
    if name == "leaf":
        return hashlib.sha256(b"\0" + hashlib.sha256(known.value).digest()).digest(), {"hash"}, "tree leaf of a file"
    return names[name].encode(), {"value"}, name


def hash_with_open_salt(rng, story, knowns):
    known, salt = _some(rng, knowns, {"name", "email", "phone"}), rng.randbytes(32)
    return salt + hashlib.sha256(salt + known.value.encode()).digest(), {"hash"}, "a hash with its salt beside it"


def secret(rng, story, knowns):
    known = _some(rng, knowns, {"secret", "salt", "preimage"}, of=bytes)
    return known.value[:64], {"value"}, f"a {known.kind}"


def identity(rng, story, knowns):
    """The account that signs a patient's consents: one look and both hospitals' consents lie together."""
    known = _some(rng, knowns, {"patient address"})
    return known.value.rjust(32, b"\0"), {"stranger", "value"}, "the address of a patient"


def wallet(rng, story, knowns):
    return rng.randbytes(20).rjust(32, b"\0"), {"stranger"}, "the address of somebody"


def remark(rng, story, knowns):
    """Words that nobody had on a list."""
    return rng.choice([b"admitted with chest pain, ward 7", b"see the other registration"]), {"readable"}, "a remark"


def same_word(rng, story, knowns):
    """A commitment that stands in two transactions, each unsuspicious."""
    return rng.randbytes(32), {"repeated"}, "one word in two transactions"


def innocent(rng, story, knowns):
    """What belongs there: a salted digest."""
    known = _some(rng, knowns, {"name", "content"})
    data = known.value if isinstance(known.value, bytes) else known.value.encode()
    return hashlib.sha256(b"\0" + rng.randbytes(32) + hashlib.sha256(data).digest()).digest(), set(), "a salted digest"


CONTENTS = (text, plain_hash, joined_hash, file_hash, secret, identity, same_word, number, content, identifier)
CONTENTS += (hash_with_open_salt, short_hash, wallet, remark, innocent)


def _some(rng, knowns, kinds, *, least=1, of=None):
    found = [item for item in knowns if item.kind in kinds and len(item.value) >= least]
    found = [item for item in found if of is None or isinstance(item.value, of)]
    return rng.choice(sorted(found, key=lambda item: (item.kind, item.label, repr(item.value))))


# -- where ----------------------------------------------------------------------------------------------------------

PUSH1, PUSH32 = b"\x60", b"\x7f"
LOAD, XOR, KEEP, PUT, MAKE, GIVE, FAIL, STOP = b"\x35", b"\x18", b"\x52", b"\x55", b"\xf0", b"\xf3", b"\xfd", b"\x00"
LOG1, CALL, GAS, POP = b"\xa1", b"\xf1", b"\x5a", b"\x50"


def small(number):
    return PUSH1 + bytes([number])


def unmask(place, mask):
    """word = calldata[place] ^ mask, on the stack."""
    return PUSH32 + mask + small(place) + LOAD + XOR


def into_memory(masks):
    return b"".join(unmask(32 * n, mask) + small(32 * n) + KEEP for n, mask in enumerate(masks))


def into_storage(masks, first=7):
    return b"".join(unmask(32 * n, mask) + small(first + n) + PUT for n, mask in enumerate(masks))


def storage(masks, size):
    return into_storage(masks) + STOP


def covered_storage(masks, size):
    """Written and wiped in one transaction: no later state shows it."""
    return into_storage(masks) + b"".join(small(0) + small(7 + n) + PUT for n in range(len(masks))) + STOP


def failed_storage(masks, size):
    """Written, then everything undone."""
    return into_storage(masks) + small(0) + small(0) + FAIL


def revert_data(masks, size):
    return into_memory(masks) + small(size) + small(0) + FAIL


def event(masks, size):
    return into_memory(masks) + small(1) + small(size) + small(0) + LOG1 + STOP


def returned(masks, size):
    return into_memory(masks) + small(size) + small(0) + GIVE


def inner_call(masks, size):
    """To nobody, who takes everything."""
    parts = small(0) + small(0) + small(size) + small(0) + small(0) + PUSH1 + b"\xff" + GAS + CALL
    return into_memory(masks) + parts + POP + STOP


MACHINES = (storage, event, revert_data, covered_storage, inner_call, failed_storage, returned)
PLACES = ("call data", "creation code", *(machine.__name__ for machine in MACHINES))
# What these places show is the same for every call of a contract, so a repetition there says nothing.
NOT_FOR = {"same_word": ("creation code", "returned"), "remark": ("creation code",), "wallet": ("creation code",)}
NOT_FOR |= {"hash_with_open_salt": ("creation code", "storage", "covered_storage", "failed_storage")}


class Planter:
    """Sends as an organisation that is known to everybody, so that only what is planted can be suspicious."""

    def __init__(self, node, sender):
        self.node, self.sender = node, "0x" + bytes(sender).hex()
        node.rpc("anvil_impersonateAccount", self.sender)
        node.fund(sender)

    def send(self, data, to=None):
        call = {"from": self.sender, "data": "0x" + data.hex(), "gas": hex(1_500_000)}
        tx_hash = self.node.rpc("eth_sendTransaction", {**call, **({"to": to} if to else {})})
        self.node.mine()
        return tx_hash

    def plant(self, data, place, rng):
        """The hash of the transaction that shows `data` at this place."""
        words = [data[start : start + 32].ljust(32, b"\0") for start in range(0, len(data), 32)]
        if place == "call data":
            return self.send(secrets.token_bytes(4) + b"".join(words), to="0x" + "00" * 19 + "ff")
        if place == "creation code":
            return self.send(self._creation(STOP + data))
        masks = [rng.randbytes(32) for _ in words]
        machine = next(item for item in MACHINES if item.__name__ == place)
        made = self.send(self._creation(machine(masks, 32 * len(words))))
        contract = self.node.rpc("eth_getTransactionReceipt", made)["contractAddress"]
        masked = b"".join(
            bytes(a ^ b for a, b in zip(word, mask, strict=True)) for word, mask in zip(words, masks, strict=True)
        )
        return self.send(masked, to=contract)

    @staticmethod
    def _creation(code):
        """Twelve bytes that copy the rest into the new account."""
        return b"\x61" + len(code).to_bytes(2) + b"\x80\x60\x0c\x60\x00\x39\x60\x00" + GIVE + code
