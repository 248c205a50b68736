"""What must not be on a chain, and the many shapes in which it could be there all the same."""

import base64
import hashlib
import unicodedata
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime

from eth_utils import keccak

# Of a person: joined with every id before it is hashed, because such a hash looks opaque and is guessed in seconds.
SENSITIVE = {"name", "email", "phone", "number", "date", "file name", "title", "content", "statement", "word"}
IDS = {"id", "number", "key"}
SHORTEST = 5  # bytes found anywhere; shorter ones count only as a whole word of the machine
ALGORITHMS = (
    *("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha512_256", "sha3_224", "sha3_256", "sha3_384"),
    *("sha3_512", "blake2b", "blake2s", "ripemd160"),
)


@dataclass(frozen=True)
class Known:
    """One value that people or programs put in: what kind it is and where it came from."""

    kind: str
    label: str
    value: str | bytes

    def __str__(self):
        return f"{self.kind} ({self.label})"


# -- as it is -------------------------------------------------------------------------------------------------------


def text_shapes(text):
    """Ways to write a text as bytes, each with its name."""
    plain = unicodedata.normalize("NFKC", text)
    yield "utf-8", text.encode()
    yield "utf-8, composed", plain.encode()
    yield "without accents", unicodedata.normalize("NFKD", text).encode("ascii", "ignore")
    yield "latin-1", text.encode("latin-1", "ignore")
    yield "utf-16", text.encode("utf-16-le")
    yield "utf-16, big end first", text.encode("utf-16-be")
    yield "without blanks", "".join(plain.split()).encode()
    yield "reversed", text.encode()[::-1]
    yield "deflated", zlib.compress(text.encode())[2:-4]
    digits = "".join(sign for sign in text if sign.isdigit())
    if 6 <= len(digits) >= len(text) // 2:
        yield "its digits", digits.encode()


def encoded_shapes(data):
    """Hex and base64 as text. Base64 depends on what stands before, so all three places are tried."""
    yield "hex text", data.hex().encode()
    for shift in range(3):
        for alphabet, name in ((b"+/", "base64"), (b"-_", "base64 for addresses")):
            body = base64.b64encode(bytes(shift) + data, alphabet).rstrip(b"=")
            yield name, body[(0, 2, 3)[shift] : len(body) - 1]


def shapes(known):
    """(name of the shape, bytes) that are looked for anywhere on the chain, in upper or lower case."""
    value = known.value
    if isinstance(value, str):
        yield from text_shapes(value)
        if known.kind == "id" and _uuid(value):
            yield "id as bytes", uuid.UUID(value).bytes
            yield "id as text", str(uuid.UUID(value)).encode()
            yield "id as hex text", uuid.UUID(value).hex.encode()
        if known.kind == "date":
            yield from date_shapes(value)
        value = value.encode()
    else:
        yield "bytes", value
    if len(value) >= SHORTEST:
        yield from encoded_shapes(value[:256])
    # A part of something long gives it away as well: every run of 24 bytes holds one of these.
    yield from (("an excerpt", value[start : start + 16]) for start in range(0, len(value) - 23, 8))
    if known.kind == "content":
        yield from ((name, text.encode()) for name, text in cids(value))


def words(known):
    """The same as whole 32-byte words: short texts and numbers hide in these."""
    value = known.value
    if isinstance(value, bytes):
        if 4 <= len(value) < 32:
            yield "in a word", value.rjust(32, b"\0")
            yield "in a word", value.ljust(32, b"\0")
        return
    raw = value.encode()
    if 2 <= len(raw) < 32:
        yield "text in a word", raw.ljust(32, b"\0")
        yield "text in a word", raw.rjust(32, b"\0")
    digits = "".join(sign for sign in value if sign.isdigit())
    if 6 <= len(digits) <= 18 and len(digits) >= len(value) // 2:
        yield "number in a word", int(digits).to_bytes(32)
        yield "number in 8 bytes", int(digits).to_bytes(8)
    if known.kind == "date":
        moment = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
        yield "seconds since 1970", int(moment.timestamp()).to_bytes(32, signed=True)


def date_shapes(text):
    day = date.fromisoformat(text)
    for form in ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y%m%d", "%d%m%Y", "%d %B %Y"):
        yield "date", day.strftime(form).encode()


def _uuid(text):
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


# -- hashed ---------------------------------------------------------------------------------------------------------


def sources(known):
    """The byte strings that somebody would hash when asked to hash this value."""
    value = known.value
    if known.kind == "preimage":  # random, and its hash is on the chain as a lock
        return set()
    if isinstance(value, bytes):
        return {value, value.hex().encode(), b"0x" + value.hex().encode()}
    found = {value.encode(), value.lower().encode(), value.upper().encode(), value.strip().encode()}
    found |= {unicodedata.normalize("NFKD", value).encode("ascii", "ignore"), "".join(value.split()).encode()}
    if known.kind == "id" and _uuid(value):
        key = uuid.UUID(value)
        found |= {key.bytes, str(key).encode(), key.hex.encode()}
    if known.kind == "date":
        found |= {shape for _, shape in date_shapes(value)}
    return {source for source in found if len(source) >= 2}


def digests(data, *, deep=True):
    """(algorithm, digest). `deep` adds what contracts and trees make of a value."""
    for name in ALGORITHMS:
        yield name, hashlib.new(name, data, usedforsecurity=False).digest()
    yield "keccak256", keccak(data)
    if not deep:
        return
    once = hashlib.sha256(data).digest()
    yield "sha256 twice", hashlib.sha256(once).digest()
    yield "tree leaf", hashlib.sha256(b"\0" + data).digest()
    yield "tree leaf of sha256", hashlib.sha256(b"\0" + once).digest()
    yield "keccak256 of sha256", keccak(once)
    yield "keccak256 of the text of sha256", keccak(once.hex().encode())
    padded = data + bytes(-len(data) % 32)
    yield "keccak256 of abi.encode(string)", keccak((32).to_bytes(32) + len(data).to_bytes(32) + padded)
    if len(data) < 32:
        yield "keccak256 of a word", keccak(data.ljust(32, b"\0"))
        yield "keccak256 of a number", keccak(data.rjust(32, b"\0"))
    for slot in range(8):  # where a mapping with this key would lie
        yield f"place in mapping {slot}", keccak(data + slot.to_bytes(32))
        if len(data) <= 32:
            yield f"place in mapping {slot}", keccak(data.ljust(32, b"\0") + slot.to_bytes(32))
            if len(data) < 32:
                yield f"place in mapping {slot}", keccak(data.rjust(32, b"\0") + slot.to_bytes(32))


FAST = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    "keccak256": keccak,
}
SEPARATORS = (b"", b":", b"|", b"-", b"/", b" ", b"\0")


@dataclass(frozen=True)
class Depth:
    """How many ways of joining two values are tried. Keccak in Python takes thirty times as long as SHA-256."""

    separators: tuple[bytes, ...] = SEPARATORS
    keccak_separators: tuple[bytes, ...] = SEPARATORS
    algorithms: tuple[str, ...] = tuple(FAST)


THOROUGH = Depth()
QUICK = Depth((b"", b":"), (b"",), ("sha256", "keccak256"))


def joined_digests(knowns, depth):
    """Hashes of something personal together with an id: (both, algorithm, digest)."""
    personal = [(known, source) for known in knowns if known.kind in SENSITIVE for source in main(known)]
    ids = [(known, source) for known in knowns if known.kind in IDS for source in id_spellings(known)]
    for known, source in personal:
        for other, key in ids:
            if other is known:
                continue
            for separator in depth.separators:
                pair = (source + separator + key, key + separator + source)
                for name in depth.algorithms:
                    if name != "keccak256" or separator in depth.keccak_separators:
                        for data in pair:
                            yield known, other, name, FAST[name](data)


def main(known):
    """One or two spellings: joined hashes multiply."""
    if isinstance(known.value, bytes):
        return [hashlib.sha256(known.value).digest()]
    return list({known.value.encode(), known.value.lower().encode()})


def id_spellings(known):
    if isinstance(known.value, bytes):
        return [known.value]
    key = _uuid(known.value)
    return [key.bytes, str(key).encode(), key.hex.encode()] if key else [known.value.encode()]


# -- addresses of contents ------------------------------------------------------------------------------------------

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def cids(content):
    """How IPFS would name this file: raw block, and the UnixFS node that `ipfs add` makes of up to 256 KiB."""
    raw, node = hashlib.sha256(content).digest(), hashlib.sha256(unixfs(content)).digest()
    for name, codec, digest in (("raw", 0x55, raw), ("file", 0x70, node)):
        multihash = b"\x12\x20" + digest
        yield (
            f"CID of the {name}",
            "b" + base64.b32encode(b"\x01" + bytes([codec]) + multihash).decode().rstrip("=").lower(),
        )
        yield f"CIDv0 of the {name}", base58(multihash)


def cid_digests(content):
    yield "sha256 in a CID", hashlib.sha256(content).digest()
    yield "sha256 in the CID of the file", hashlib.sha256(unixfs(content)).digest()


def unixfs(content):
    """A dag-pb node with the whole file in it."""
    inner = b"\x08\x02\x12" + varint(len(content)) + content + b"\x18" + varint(len(content))
    return b"\x0a" + varint(len(inner)) + inner


def varint(number):
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def base58(data):
    number, text = int.from_bytes(data), ""
    while number:
        number, place = divmod(number, 58)
        text = BASE58[place] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text
