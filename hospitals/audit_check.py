"""Is the access log whole? Compares the rows with their links, their leaves, and what the chain recorded."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from chain import accesslog
from chain import selectors as chain_selectors
from chain.errors import ChainError
from chain.models import ItemState, TransactionState
from hospitals import audit_map, audit_maps
from hospitals.audit_format import GENESIS, leaf_of, link_of
from hospitals.models import AuditEntry, AuditHead, AuditLine, AuditMap, Organisation, Patient
from hospitals.tenancy import tenant
from hospitals.types import OrganisationStatus

CHAIN = "MED"
CHUNK = 500
MAPS_REMADE = 3  # the newest; a head names the one before it, so older ones cannot change alone
LOGGED_STATES = (OrganisationStatus.ACTIVE, OrganisationStatus.SUSPENDED)


@dataclass(frozen=True)
class Fault:
    """`number` counts in the line that was checked; the kinds are the keys of WORDS."""

    number: int
    kind: str


WORDS = {
    "missing": "Entry {n} is missing.",
    "changed": "Entry {n} was changed.",
    "moved": "Entry {n} does not follow the one before it.",
    "truncated": "The log ends before entry {n}, which was written.",
    "head": "The log's own end stands before entry {n}, which is there.",
    "put_in": "Entry {n} was put in from outside: it was never sent to the chain.",
    "not_on_chain": "Entry {n} is not on the chain as it stands here.",
    "unknown_on_chain": "The chain holds an entry {n} that is not here.",
    "index": "The index of the chain does not hold the entries up to {n} as the chain does.",
    "line": "A patient's line up to entry {n} is not the one of the last map.",
    "map": "The map up to entry {n} is not the one that was anchored.",
    "unknown_map": "The chain holds a map of this log that is not here.",
}


ABOUT_MANY = ("head", "index", "line", "map", "unknown_map")  # these name no single row, so they stand last


@dataclass(frozen=True)
class Completeness:
    """The patient's "1 to n, none missing"."""

    count: int
    is_complete: bool
    first_missing: int | None
    anchored_count: int
    anchored_to_block: int | None
    faults: tuple[Fault, ...] = field(default=())
    sealed: audit_maps.Sealed | None = None


def verify_patient(patient: Patient) -> Completeness:
    """Check one patient's line, each anchored leaf against the chain, and the end of the hospital's log."""
    on_chain = _chain_count(patient.hospital)  # first: entries that come meanwhile must not look cut off
    with tenant(patient.hospital_id):
        rows = AuditEntry.objects.filter(patient=patient).order_by("patient_seq")
        line = _Line("patient_seq", "patient_previous_link", "patient_link")
        result = _Result(is_logged=patient.hospital.status in LOGGED_STATES)
        for chunk in _chunks(rows):
            for entry in chunk:
                result.faults += line.step(entry)
            _compare(chunk, "patient_seq", result)
        is_cut = _last_seq() < on_chain
        sealed = audit_maps.sealed(patient)
    if is_cut or (sealed and sealed.count > line.number):
        result.faults.append(Fault(result.count + 1, "truncated"))
    return _completeness(result, sealed)


def verify_hospital(hospital: Organisation) -> Completeness:
    """Check a whole log: every row, every patient's line, every map, and every leaf that the chain has of it."""
    organisation, to_block = bytes(hospital.account_address or b""), accesslog.indexed_to(CHAIN)
    sent = accesslog.leaves_sent(chain=CHAIN, organisation=organisation)  # before: the log grows meanwhile
    leaves = accesslog.leaves_indexed(chain=CHAIN, organisation=organisation, to_block=to_block)
    walk = _walk(hospital, _Ledger(leaves, to_block))
    if organisation and not _is_as_on_chain(walk.ledger, organisation, to_block):
        # Somebody changed the index as well: the node itself says what is right.
        asked = accesslog.leaves_asked(chain=CHAIN, organisation=organisation, to_block=to_block)
        walk = _walk(hospital, _Ledger(asked, to_block))
        walk.result.faults.append(Fault(walk.ledger.count, "index"))
    if sent > walk.result.sent:
        walk.result.faults.append(Fault(walk.result.count + 1, "truncated"))
    walk.result.faults += _maps_against_chain(hospital, organisation, to_block)
    return _completeness(walk.result, None)


def _is_as_on_chain(ledger: "_Ledger", organisation: bytes, to_block: int) -> bool:
    """The contract's own rolling head over the leaves of the index. A node that does not answer says nothing."""
    try:
        asked = accesslog.heads_asked(chain=CHAIN, organisation=organisation, block=to_block)
    except ChainError:
        return True
    start = (accesslog.ROLLING_START, 0)
    return all(ledger.heads.get(place, start) == asked.get(place, start) for place in {*asked, *ledger.heads})


class _Line:
    """Walks one numbered, linked line of entries."""

    def __init__(self, number: str, previous: str, link: str):
        self.names = (number, previous, link)
        self.number, self.link = 0, GENESIS

    def step(self, entry: AuditEntry) -> list[Fault]:
        number, previous, link = (getattr(entry, name) for name in self.names)
        expected, before = self.number + 1, self.link
        self.number, self.link = number, bytes(link)
        if number != expected:
            return [Fault(expected, "missing")]
        if leaf_of(entry) != bytes(entry.leaf):
            return [Fault(number, "changed")]
        if bytes(previous) != before or link_of(previous, entry.leaf) != bytes(link):
            return [Fault(number, "moved")]
        return []


class _Ledger:
    """The leaves on the chain beside those of the rows. Both come in nearly the same order, so little is held."""

    def __init__(self, leaves: Iterator[tuple[bytes, bytes]], to_block: int):
        self.leaves, self.to_block, self.count = leaves, to_block, 0
        self.heads: dict[bytes, tuple[bytes, int]] = {}
        self.rows: dict[bytes, tuple[int, bool]] = {}
        self.chain: dict[bytes, int] = {}

    def add(self, leaf: bytes, number: int, is_final: bool) -> None:
        if self.chain.pop(leaf, None) is None:
            self.rows[leaf] = (number, is_final)

    def take(self, most: int | None) -> None:
        """The next leaves of the chain; None for all that are left."""
        for place, leaf in islice(self.leaves, most):
            self.count += 1
            head, count = self.heads.get(place, (accesslog.ROLLING_START, 0))
            self.heads[place] = accesslog.rolling(head, leaf), count + 1
            if self.rows.pop(leaf, None) is None:
                self.chain[leaf] = self.count

    def faults(self) -> list[Fault]:
        self.take(None)
        unknown = [Fault(place, "unknown_on_chain") for place in self.chain.values()]
        return unknown + [Fault(number, "not_on_chain") for number, is_final in self.rows.values() if is_final]


@dataclass
class _Result:
    is_logged: bool
    count: int = 0
    sent: int = 0
    anchored: int = 0
    block: int | None = None
    faults: list[Fault] = field(default_factory=list)


@dataclass
class _Walk:
    result: _Result
    ledger: _Ledger


def _walk(hospital: Organisation, ledger: _Ledger) -> _Walk:
    """One pass over all rows, in their order."""
    result = _Result(is_logged=hospital.status in LOGGED_STATES)
    line, ends = _Line("seq", "previous_link", "link"), _Ends()
    with tenant(hospital):
        before = AuditHead.objects.first()
        maps = {row.seq: row for row in AuditMap.objects.defer("leaves").order_by("-number")[:MAPS_REMADE]}
        for chunk in _chunks(AuditEntry.objects.order_by("seq")):
            for entry in chunk:
                result.faults += line.step(entry) + ends.step(entry)
                if before and entry.seq == before.seq and bytes(entry.link) != bytes(before.link):
                    result.faults.append(Fault(entry.seq, "head"))
                if row := maps.get(entry.seq):
                    result.faults += _map_faults(row, entry, ends)
            _compare(chunk, "seq", result, ledger)
            ledger.take(len(chunk))
        result.faults += [Fault(seq, "map") for seq in maps if seq > line.number]
        after = AuditHead.objects.first()
    # Entries may have come since the first look at the end, none can have gone.
    if before and line.number < before.seq:
        result.faults.append(Fault(line.number + 1, "truncated"))
    if line.number and (after is None or after.seq < line.number):
        result.faults.append(Fault(after.seq + 1 if after else 1, "head"))
    result.faults += ledger.faults()
    return _Walk(result, ledger)


class _Ends:
    """Where each patient's line ends so far."""

    def __init__(self) -> None:
        self.of: dict[Any, tuple[int, bytes]] = {}

    def step(self, entry: AuditEntry) -> list[Fault]:
        if entry.patient_id is None:
            return []
        count, link = self.of.get(entry.patient_id, (0, GENESIS))
        self.of[entry.patient_id] = (entry.patient_seq, bytes(entry.patient_link))
        follows = (entry.patient_seq, bytes(entry.patient_previous_link)) == (count + 1, link)
        if follows and link_of(link, entry.leaf) == bytes(entry.patient_link):
            return []
        return [Fault(entry.seq, "moved")]


def _map_faults(row: AuditMap, last: AuditEntry, ends: _Ends) -> list[Fault]:
    """A map made again from the rows."""
    lines = list(AuditLine.objects.filter(first_map__lte=row.number))
    newest = AuditMap.objects.order_by("-number").values_list("number", flat=True).first()
    found = []
    if row.number == newest and any((n.count, bytes(n.link)) != ends.of.get(n.patient_id, (0, GENESIS)) for n in lines):
        found.append(Fault(row.seq, "line"))
    for line in lines:
        line.count, line.link = ends.of.get(line.patient_id, (0, GENESIS))
    is_same = (
        len(lines) == row.lines
        and audit_map.root_of(audit_maps.leaves_of(lines, row.number)) == bytes(row.root)
        and bytes(last.link) == bytes(row.link)
    )
    return found if is_same else [*found, Fault(row.seq, "map")]


def _maps_against_chain(hospital: Organisation, organisation: bytes, to_block: int) -> list[Fault]:
    """Every head follows from its row and names the one before; every anchored head is one of ours."""
    found, previous, number, seqs = [], bytes(32), 0, {}
    with tenant(hospital):
        for row in AuditMap.objects.defer("leaves").order_by("number").iterator(chunk_size=CHUNK):
            follows = (row.number, bytes(row.previous)) == (number + 1, previous)
            if not follows or audit_maps.head_of(row) != bytes(row.head):
                found.append(Fault(row.seq, "map"))
            number, previous = row.number, bytes(row.head)
            seqs[previous] = row.seq
    last = max(seqs.values(), default=0)
    where = {"chain": CHAIN, "organisation": organisation, "kind": audit_maps.KIND}
    indexed, sent = set(accesslog.anchors_indexed(**where, to_block=to_block)), accesslog.anchors_sent(**where)
    several = {root for root, row in sent.items() if row.count > 1}
    if indexed - set(seqs) - several:
        found.append(Fault(last, "unknown_map"))
    for root, row in sent.items():
        if row.state == TransactionState.FINAL and row.block_number <= to_block and root not in indexed:
            found.append(Fault(seqs.get(root, last), "map"))
    return found


def _chunks(rows: Any) -> Iterator[list[AuditEntry]]:
    entries: Iterable[AuditEntry] = rows.iterator(chunk_size=CHUNK)
    while chunk := list(islice(entries, CHUNK)):
        yield chunk


def _compare(chunk: list[AuditEntry], name: str, result: _Result, ledger: _Ledger | None = None) -> None:
    """Each row was sent to the chain, and a final one's leaf is the one in the row."""
    items = chain_selectors.items([entry.chain_ref for entry in chunk])
    for entry in chunk:
        number, item, is_final = getattr(entry, name), items.get(entry.chain_ref), False
        result.count += 1
        if item is None:
            if result.is_logged:
                result.faults.append(Fault(number, "put_in"))
        else:
            result.sent += 1
            if item.leaf is None or bytes(item.leaf) != bytes(entry.leaf):
                result.faults.append(Fault(number, "changed"))
            if item.state == ItemState.FINAL:
                result.anchored += 1
                if item.block_number is not None:
                    result.block = max(result.block or 0, item.block_number)
                    is_final = ledger is not None and item.block_number <= ledger.to_block
        if ledger is not None:
            ledger.add(bytes(entry.leaf), number, is_final)


def _completeness(result: _Result, sealed: audit_maps.Sealed | None) -> Completeness:
    kinds = list(WORDS)
    faults = sorted(set(result.faults), key=lambda f: (f.kind in ABOUT_MANY, f.number, kinds.index(f.kind)))
    return Completeness(
        count=result.count,
        is_complete=not faults,
        first_missing=faults[0].number if faults else None,
        anchored_count=result.anchored,
        anchored_to_block=result.block,
        faults=tuple(faults),
        sealed=sealed,
    )


def _chain_count(hospital: Organisation) -> int:
    if hospital.account_address is None:
        return 0
    return chain_selectors.access_count(chain=CHAIN, organisation=bytes(hospital.account_address))


def _last_seq() -> int:
    return AuditEntry.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
