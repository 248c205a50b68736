"""Is the access log whole? Compares the rows with their links, their leaves, and what the chain recorded."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from chain import selectors as chain_selectors
from hospitals.audit_format import GENESIS, leaf_of, link_of
from hospitals.models import AuditEntry, AuditHead, Organisation, Patient
from hospitals.tenancy import tenant

CHAIN = "MED"
CHUNK = 500


@dataclass(frozen=True)
class Fault:
    """`number` counts in the line that was checked; kind: missing, changed, moved, truncated, unknown_on_chain."""

    number: int
    kind: str


@dataclass(frozen=True)
class Completeness:
    """The patient's "1 to n, none missing"."""

    count: int
    is_complete: bool
    first_missing: int | None
    anchored_count: int
    anchored_to_block: int | None
    faults: tuple[Fault, ...] = field(default=())


def verify_patient(patient: Patient) -> Completeness:
    """Check one patient's line, each anchored leaf against the chain, and the end of the hospital's log."""
    with tenant(patient.hospital_id):
        entries = AuditEntry.objects.filter(patient=patient).order_by("patient_seq")
        line = _Line("patient_seq", "patient_previous_link", "patient_link")
        result = _verify(entries.iterator(chunk_size=CHUNK), line)
        is_cut = _last_seq() < chain_count(patient.hospital)
    faults = list(result.faults)
    if is_cut:
        faults.append(Fault(result.count + 1, "truncated"))
    return _completeness(result, faults)


def verify_hospital(hospital: Organisation) -> Completeness:
    """Check a whole log. Every leaf of this organisation on the chain must belong to a row here."""
    leaves = chain_leaves(hospital)
    with tenant(hospital):
        entries = AuditEntry.objects.order_by("seq")
        line = _Line("seq", "previous_link", "link")
        result = _verify(entries.iterator(chunk_size=CHUNK), line)
        head = AuditHead.objects.first()
    faults = list(result.faults)
    if head and (head.seq, bytes(head.link)) != (line.number, line.link):
        faults.append(Fault(line.number + 1, "truncated"))
    faults += [Fault(place + 1, "unknown_on_chain") for place, leaf in enumerate(leaves) if leaf not in line.leaves]
    return _completeness(result, faults)


def chain_leaves(hospital: Organisation) -> list[bytes]:
    """The leaves that final AccessLogged events carry for this organisation, in chain order."""
    if hospital.account_address is None:
        return []
    return chain_selectors.access_leaves(chain=CHAIN, organisation=bytes(hospital.account_address))


def chain_count(hospital: Organisation) -> int:
    if hospital.account_address is None:
        return 0
    return chain_selectors.access_count(chain=CHAIN, organisation=bytes(hospital.account_address))


class _Line:
    """Walks one numbered, linked line of entries."""

    def __init__(self, number: str, previous: str, link: str):
        self.names = (number, previous, link)
        self.number, self.link = 0, GENESIS
        self.leaves: set[bytes] = set()

    def step(self, entry: AuditEntry) -> Fault | None:
        number, previous, link = (getattr(entry, name) for name in self.names)
        expected, before = self.number + 1, self.link
        self.number, self.link = number, bytes(link)
        self.leaves.add(bytes(entry.leaf))
        if number != expected:
            return Fault(expected, "missing")
        if leaf_of(entry) != bytes(entry.leaf):
            return Fault(number, "changed")
        if bytes(previous) != before or link_of(previous, entry.leaf) != bytes(link):
            return Fault(number, "moved")
        return None


@dataclass
class _Result:
    count: int = 0
    anchored: int = 0
    block: int | None = None
    faults: list[Fault] = field(default_factory=list)


def _verify(entries: Iterator[AuditEntry], line: _Line) -> _Result:
    result = _Result()
    chunk: list[AuditEntry] = []
    for entry in entries:
        result.count += 1
        if fault := line.step(entry):
            result.faults.append(fault)
        chunk.append(entry)
        if len(chunk) == CHUNK:
            _compare(chunk, line, result)
            chunk = []
    _compare(chunk, line, result)
    return result


def _compare(chunk: list[AuditEntry], line: _Line, result: _Result) -> None:
    """A final item's leaf is the one in the row."""
    items = chain_selectors.items([entry.chain_ref for entry in chunk])
    for entry in chunk:
        item = items.get(entry.chain_ref)
        if item is None or item.state != "final":
            continue
        result.anchored += 1
        if item.block_number is not None:
            result.block = max(result.block or 0, item.block_number)
        if item.leaf is not None and bytes(item.leaf) != bytes(entry.leaf):
            result.faults.append(Fault(getattr(entry, line.names[0]), "changed"))


def _completeness(result: _Result, faults: list[Fault]) -> Completeness:
    faults = sorted(set(faults), key=lambda fault: (fault.number, fault.kind))
    return Completeness(
        count=result.count,
        is_complete=not faults,
        first_missing=faults[0].number if faults else None,
        anchored_count=result.anchored,
        anchored_to_block=result.block,
        faults=tuple(faults),
    )


def _last_seq() -> int:
    return AuditEntry.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
