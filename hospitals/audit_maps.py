"""Makes the maps of a hospital's patient lines, has them anchored, and proves one line in the newest of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from chain import selectors as chain_selectors
from chain import services as chain_services
from chain.models import ItemState
from chain.types import Inclusion
from hospitals import audit_map
from hospitals.conf import conf
from hospitals.models import AuditEntry, AuditHead, AuditLine, AuditMap, Organisation, Patient
from hospitals.tenancy import tenant
from hospitals.types import OrganisationStatus

log = logging.getLogger(__name__)
# MEDchain holds the log itself, so its newest head counts; SUPchain is a second witness of the same head.
CHAINS = ("MED", "SUP")
KIND = "AuditHeads"
_CHUNK = 1000
_WAITING = (ItemState.QUEUED, ItemState.BROADCAST, ItemState.MINED)


@dataclass(frozen=True)
class Sealed:
    """Up to where the newest anchored map covers a patient's line."""

    number: int
    count: int
    block_number: int
    block_time: datetime


@dataclass(frozen=True)
class LineProof:
    """One line in the newest anchored map, with all that a stranger needs to find it there."""

    map: AuditMap
    log_key: bytes
    count: int
    siblings: list[bytes]
    anchors: list[Inclusion]


def maps_make() -> int:
    """A new map for every active hospital whose last one is old enough; returns how many were made."""
    due = timezone.now() - timedelta(seconds=conf().log_map_seconds)
    made = 0
    for hospital in Organisation.objects.filter(status=OrganisationStatus.ACTIVE, account_address__isnull=False):
        with tenant(hospital):
            is_fresh = AuditMap.objects.filter(made_at__gt=due).exists()
        if not is_fresh and map_make(hospital):
            made += 1
    return made


def map_make(hospital: Organisation) -> AuditMap | None:
    """A map of all lines as they end now, queued for both chains; None when there is nothing new to say."""
    with tenant(hospital):
        head = AuditHead.objects.first()
        last = AuditMap.objects.defer("leaves").order_by("-number").first()
        # One at a time: the next map is made when the last one stands on the chain.
        if head is None or (last and last.seq >= head.seq) or (last and _state(last) in _WAITING):
            return None
        try:
            return _make(hospital, head.seq, last)
        except IntegrityError:  # another process made this number first
            log.info("map made elsewhere")
            return None


def _make(hospital: Organisation, seq: int, last: AuditMap | None) -> AuditMap:
    _lines_begin(hospital)
    lines = list(AuditLine.objects.order_by("pk"))
    number = last.number + 1 if last else 1
    moved = _lines_move(lines, last.seq if last else 0, seq, number)
    leaves = leaves_of(lines, number)
    link = bytes(AuditEntry.objects.values_list("link", flat=True).get(seq=seq))
    root, previous = audit_map.root_of(leaves), bytes(last.head) if last else bytes(32)
    made = AuditMap(
        hospital=hospital,
        number=number,
        seq=seq,
        link=link,
        lines=len(lines),
        root=root,
        previous=previous,
        leaves=b"".join(index + leaf for index, leaf in leaves),
    )
    made.head = head_of(made)
    with transaction.atomic(durable=True):
        made.save(force_insert=True)
        AuditLine.objects.bulk_update(moved, ["count", "link", "first_map"], batch_size=_CHUNK)
        for chain in CHAINS:
            chain_services.anchor_enqueue(
                chain=chain, sender=bytes(hospital.account_address), leaf=made.head, ref=made.ref(chain), kind=KIND
            )
        _forget_older(made)
    return made


def head_of(row: AuditMap) -> bytes:
    return audit_map.head_of(
        tenant=row.hospital_id,
        number=row.number,
        seq=row.seq,
        link=bytes(row.link),
        lines=row.lines,
        root=bytes(row.root),
        previous=bytes(row.previous),
    )


def leaves_of(lines: Iterable[AuditLine], number: int) -> list[tuple[bytes, bytes]]:
    """In the order of the tree."""
    return sorted(
        (
            audit_map.index_of(bytes(line.log_key)),
            audit_map.leaf_of_line(log_key=bytes(line.log_key), number=number, count=line.count, link=bytes(line.link)),
        )
        for line in lines
    )


def line_of(patient: Patient) -> AuditLine:
    """The patient's place in the map; made when it is first needed."""
    with tenant(patient.hospital_id):
        AuditLine.objects.bulk_create([AuditLine(hospital=patient.hospital, patient=patient)], ignore_conflicts=True)
        return AuditLine.objects.get(patient=patient)


def _lines_begin(hospital: Organisation) -> None:
    """Every patient has a line, so that also an empty log has a place where it is proven to be empty."""
    there = AuditLine.objects.values("patient_id")
    new = Patient.objects.exclude(pk__in=there).only("pk", "hospital_id").order_by("pk")
    rows = [AuditLine(hospital=hospital, patient=patient) for patient in new]
    AuditLine.objects.bulk_create(rows, ignore_conflicts=True, batch_size=_CHUNK)


def _lines_move(lines: Sequence[AuditLine], after: int, to: int, number: int) -> list[AuditLine]:
    """Sets count and link of the lines that grew or are new; entries up to `to` are committed and never change."""
    entries = AuditEntry.objects.filter(seq__gt=after, seq__lte=to, patient__isnull=False).order_by("seq")
    ends = {
        patient: (count, bytes(link))
        for patient, count, link in entries.values_list("patient_id", "patient_seq", "patient_link").iterator(_CHUNK)
    }
    moved = [line for line in lines if line.patient_id in ends or line.first_map is None]
    for line in moved:
        line.count, line.link = ends.get(line.patient_id, (line.count, line.link))
        line.first_map = line.first_map or number
    return moved


def _state(row: AuditMap) -> str | None:
    """Where its head is on MEDchain."""
    item = chain_selectors.item(row.ref(CHAINS[0]))
    return item and item.state


def newest_anchored() -> AuditMap | None:
    """The newest map of the open tenant whose head is final on MEDchain."""
    rows = list(AuditMap.objects.order_by("-number").defer("leaves")[:10])
    items = chain_selectors.items([row.ref(CHAINS[0]) for row in rows])
    finals = (row for row in rows if (item := items.get(row.ref(CHAINS[0]))) and item.state == ItemState.FINAL)
    return next(finals, None)


def _forget_older(made: AuditMap) -> None:
    """Leaves are needed for the newest anchored map and for those that follow it."""
    anchored = newest_anchored()
    if anchored:
        AuditMap.objects.filter(number__lt=anchored.number, leaves__isnull=False).update(leaves=None)


def sealed(patient: Patient) -> Sealed | None:
    """What the newest anchored map says about a patient's line, without making the proof."""
    with tenant(patient.hospital_id):
        row = newest_anchored()
        if row is None or not AuditLine.objects.filter(patient=patient, first_map__lte=row.number).exists():
            return None
        item = chain_selectors.item(row.ref(CHAINS[0]))
        count = AuditEntry.objects.filter(patient=patient, seq__lte=row.seq).aggregate(end=Max("patient_seq"))["end"]
        return Sealed(row.number, count or 0, item.block_number, item.block_time)


def line_proof(patient: Patient) -> LineProof | None:
    """None before a map with this line is anchored, and when our rows no longer lead to the anchored root."""
    line = line_of(patient)
    with tenant(patient.hospital_id):
        newest = newest_anchored()
        row = newest and AuditMap.objects.get(pk=newest.pk)
        if row is None or row.leaves is None:
            return None
        leaves = _unpacked(bytes(row.leaves))
        log_key, index = bytes(line.log_key), audit_map.index_of(bytes(line.log_key))
        end = AuditEntry.objects.filter(patient=patient, seq__lte=row.seq).order_by("-patient_seq").first()
        count, link = (end.patient_seq, bytes(end.patient_link)) if end else (0, bytes(32))
        leaf = audit_map.leaf_of_line(log_key=log_key, number=row.number, count=count, link=link)
        if (index, leaf) not in leaves or audit_map.root_of(leaves) != bytes(row.root):
            return None
        found = [chain_selectors.inclusion(row.ref(chain)) for chain in CHAINS]
        anchors = [item for item in found if item and item.state == ItemState.FINAL]
        return LineProof(row, log_key, count, audit_map.proof_of(leaves, index), anchors)


def _unpacked(packed: bytes) -> list[tuple[bytes, bytes]]:
    return [(packed[at : at + 32], packed[at + 32 : at + 64]) for at in range(0, len(packed), 64)]
