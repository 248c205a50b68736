"""Looks for known values, their hashes, and for anything that ties two things together, in what a chain shows."""

import re
from collections import defaultdict
from dataclasses import dataclass

from tests.campaigns.privacy import known as forms

WINDOW = 8  # bytes of a digest that have to agree: by chance once in ten million million scans
UNTOLD = ("creation code", "contract code", "event name", "return data")  # the same for everybody
PRECOMPILES = 0x100
GAP = b"\x00\xff\x00\xfe\x00"
# By chance once in ten thousand scans. Shorter texts count when they fill a word from its start, with nothing behind.
READABLE = re.compile(rb"[\x20-\x7e]{20,}")
WORD_OF_TEXT = re.compile(rb"([\x20-\x7e]{5,28})\0+")  # four could be the name of a function


@dataclass(frozen=True)
class Leak:
    """What was found and where."""

    kind: str
    what: str
    seen: object

    def __str__(self):
        return f"{self.kind}: {self.what} at {self.seen}"


class Scanner:
    def __init__(self, seen):
        self.places = defaultdict(list)
        for item in seen:
            self.places[item.data].append(item)
        self.blob = GAP.join(self.places)
        self.lowered = self.blob.lower()
        self.windows = set()
        for data in self.places:
            self.windows.update(data[i : i + WINDOW] for i in range(max(1, len(data) - WINDOW + 1)))
        self.windows.discard(bytes(WINDOW))
        self.compared = 0

    # -- known values -----------------------------------------------------------------------------------------------

    def known_values(self, knowns):
        """As they are, in every shape."""
        leaks = []
        for known in knowns:
            tried = set()
            for name, shape in forms.shapes(known):
                if len(shape) >= forms.SHORTEST and shape not in tried:
                    tried.add(shape)
                    leaks += self._raw(known, name, shape)
            for name, word in forms.words(known):
                if word not in tried:
                    tried.add(word)
                    leaks += self._exact(known, name, word)
            self.compared += len(tried)
        return leaks

    def _raw(self, known, name, shape):
        low = shape.lower()
        if low not in self.lowered:
            return []
        found = [item for data, items in self.places.items() if low in data.lower() for item in items]
        return [Leak("value", f"{known} as {name}", item) for item in found]

    def _exact(self, known, name, word):
        if word not in self.blob:
            return []
        found = [item for data, items in self.places.items() if word in data for item in items]
        return [Leak("value", f"{known} as {name}", item) for item in found]

    # -- hashes -----------------------------------------------------------------------------------------------------

    def hashes(self, knowns):
        """Plain hashes of each value alone."""
        leaks = []
        for known in knowns:
            for source in forms.sources(known):
                for name, digest in forms.digests(source):
                    leaks += self._digest(f"{name} of {known}", digest)
            if known.kind == "content":
                for name, digest in forms.cid_digests(known.value):
                    leaks += self._digest(f"{name} of {known}", digest)
        return leaks

    def joined_hashes(self, knowns, depth):
        """Hashes of something personal with an id beside it."""
        leaks = []
        for known, other, name, digest in forms.joined_digests(knowns, depth):
            leaks += self._digest(f"{name} of {known} with {other}", digest)
        return leaks

    def hashes_with_public_salt(self, knowns):
        """A salt that stands on the chain in the same transaction is none."""
        by_tx = defaultdict(set)
        for data, items in self.places.items():
            for item in items:
                if item.tx and "code" not in item.place:
                    by_tx[item.tx].update(_opaque_words(data))
        salts = {word for words in by_tx.values() for word in words}
        leaks = []
        personal = [
            (known, source) for known in knowns if known.kind in forms.SENSITIVE for source in forms.main(known)
        ]
        for salt in salts:
            for known, source in personal:
                for data in (salt + source, source + salt, b"\0" + salt + forms.FAST["sha256"](source)):
                    leaks += self._digest(
                        f"sha256 of {known} with a salt that is on the chain", forms.FAST["sha256"](data)
                    )
        return leaks

    def _digest(self, what, digest):
        self.compared += 1
        probes = (digest[:WINDOW], digest[-WINDOW:], digest[::-1][:WINDOW], digest[-20:-12], digest.hex()[:16].encode())
        for probe in probes:
            if len(probe) == WINDOW and probe in self.windows:
                return [Leak("hash", what, item) for item in self._where(probe)]
        text = probes[-1]
        if text[:WINDOW] in self.windows and text in self.lowered:
            return [Leak("hash", f"{what} as hex text", item) for item in self._where(text)]
        return []

    def _where(self, part):
        return [item for data, items in self.places.items() if part in data.lower() or part in data for item in items]

    # -- what nobody put in by that name -----------------------------------------------------------------------------

    def readable(self, is_public):
        """Text that a person can read, outside of contract code; `is_public` says which may be."""
        leaks = []
        for data, items in self.places.items():
            found = {match.group().decode() for match in READABLE.finditer(data)}
            rest = data
            for text in filter(is_public, found):
                rest = rest.replace(text.encode(), bytes(len(text)))
            found |= {match.group(1).decode() for word in _words(rest) if (match := WORD_OF_TEXT.fullmatch(word))}
            for text in found:
                if not is_public(text):
                    leaks += [Leak("readable", repr(text[:60]), item) for item in items if "code" not in item.place]
        return leaks

    def strangers(self, public):
        """Addresses, in whatever place, of nobody who is known to the public."""
        leaks = []
        made = {data for data, items in self.places.items() if any(item.place == "new contract" for item in items)}
        for data, items in self.places.items():
            for address in _addresses(data):
                if address not in public and address not in made and int.from_bytes(address) > PRECOMPILES:
                    leaks += [
                        Leak("stranger", f"address 0x{address.hex()}", item)
                        for item in items
                        if "code" not in item.place
                    ]
        return leaks

    def repeated(self, may_repeat, is_setup):
        """Opaque words that stand in more than one transaction, on one chain or on both: they tie these together."""
        used = defaultdict(dict)
        for data, items in self.places.items():
            for item in items:
                if item.tx and item.place not in UNTOLD and not is_setup(item):
                    for word in _opaque_words(data):
                        used[word].setdefault(item.tx, item)
        leaks = []
        for word, by_tx in used.items():
            if len(by_tx) > 1 and not may_repeat(word, list(by_tx.values())):
                leaks += [Leak("repeated", f"word 0x{word.hex()}", item) for item in by_tx.values()]
        return leaks


def scan(seen, knowns, public, *, depth=forms.THOROUGH, is_setup=lambda item: False):
    """Everything that gives something away, and how many comparisons that took."""
    scanner = Scanner(seen)
    leaks = scanner.known_values(knowns) + scanner.hashes(knowns) + scanner.joined_hashes(knowns, depth)
    leaks += scanner.hashes_with_public_salt(knowns)
    leaks += scanner.readable(public.readable) + scanner.strangers(public.addresses)
    leaks += scanner.repeated(public.may_repeat, is_setup)
    return leaks, scanner.compared


def same_salts(salts):
    """`{where from: value}`: two commitments under one salt can be compared with each other."""
    owners = defaultdict(list)
    for label, value in salts:
        owners[value].append(label)
    return [
        Leak("salt", f"{value.hex()[:16]} of {' and '.join(labels)}", None)
        for value, labels in owners.items()
        if len(labels) > 1
    ]


def _words(data):
    """The words of call data (behind the four bytes that name the function), events, slots and values."""
    offset = len(data) % 32 if len(data) % 32 in (0, 4) else 0
    return [data[start : start + 32] for start in range(offset, len(data) - 31, 32)]


def _opaque_words(data):
    """Those that look random, also when they fill only twenty bytes."""
    return [word for word in _words(data) if len(set(word)) >= 15]


def _addresses(data):
    """20 bytes that look random: alone, or at the end of a word."""
    if len(data) == 20:
        yield data
    for word in _words(data):
        if not word[:12].strip(b"\0") and len(set(word[12:])) >= 10 and word[12:16].strip(b"\0"):
            yield word[12:]
