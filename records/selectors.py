"""Reads for pages and API, as plain dataclasses. Lists show titles, never content; content passes the gate."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from chain import selectors as chain_selectors
from hospitals import keyring, roles
from hospitals.actors import Actor
from hospitals.models import Membership, Organisation, Patient
from hospitals.roles import Permission
from hospitals.tenancy import all_tenants
from hospitals.types import MembershipStatus
from records import grants
from records.models import (
    AccessGrant,
    Anchor,
    Epoch,
    GrantState,
    Record,
    RecordStatus,
    RecordVersion,
    Restriction,
    VersionState,
)

# The slowest chain decides what a person sees.
_ORDER = ("failed", "queued", "broadcast", "mined", "final")


@dataclass(frozen=True)
class TimelineRow:
    id: uuid.UUID
    title: str
    category: str
    care_on: date | None
    day: date
    created_at: datetime
    hospital: Organisation
    patient_id: uuid.UUID
    author_name: str
    version_number: int
    size: int
    chains: str
    state: str
    confirmations: int
    confirmations_needed: int
    added_note: str = ""
    line: str = ""
    grant_id: uuid.UUID | None = None


@dataclass(frozen=True)
class AnchorRow:
    chain: str
    state: str
    confirmations: int
    confirmations_needed: int
    tx_hash_hex: str
    block_number: int | None
    block_time: datetime | None


class TimelineRows(Sequence):
    """Sliceable rows, newest first; titles are opened only for the slice that is shown."""

    def __init__(self, records: QuerySet[Record]) -> None:
        self._records = records
        self._count: int | None = None

    def __len__(self) -> int:
        if self._count is None:
            self._count = self._records.count()
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _timeline_rows(list(self._records[index]))
        return _timeline_rows([self._records[index]])[0]

    def __iter__(self) -> Iterator[TimelineRow]:
        return iter(_timeline_rows(list(self._records)))


def timeline(
    patients: Sequence[Patient], *, actor: Actor, category: str = "", before: date | None = None, state: str = ""
) -> TimelineRows:
    """What this person may see listed of these registrations: the patient all, staff what is not hidden from them."""
    records = visible_records(patients, actor)
    if category:
        records = records.filter(category=category)
    if before is not None:
        records = records.filter(Q(care_on__lte=before) | Q(care_on__isnull=True, created_at__date__lte=before))
    if state:
        current = RecordVersion.objects.filter(record=OuterRef("pk"), number=OuterRef("current_version"))
        is_final = Exists(current.filter(state=VersionState.FINAL))
        records = records.filter(is_final if state == "confirmed" else ~is_final, status=RecordStatus.ACTIVE)
    return TimelineRows(records)


def visible_records(patients: Sequence[Patient], actor: Actor) -> QuerySet[Record]:
    records = (
        Record.objects.filter(patient__in=[patient.pk for patient in patients])
        .select_related("hospital", "created_by__user")
        .order_by(Coalesce("care_on", TruncDate("created_at")).desc(), "-created_at", "-pk")
    )
    if actor.is_patient:
        return records.filter(patient__user_id=actor.user.pk)
    if not roles.decide(actor, Permission.RECORD_LIST):
        return records.none()
    records = records.filter(hospital_id=actor.hospital_id)
    for hidden in Restriction.objects.filter(patient__in=patients, lifted_at__isnull=True):
        records = records.exclude(_restricted(hidden))
    return records


def _restricted(restriction: Restriction) -> Q:
    rule = Q(patient_id=restriction.patient_id)
    if restriction.scope_type == "category":
        rule &= Q(category=restriction.scope_value)
    elif restriction.scope_type == "record":
        rule &= Q(pk=uuid.UUID(restriction.scope_value))
    return rule


def _timeline_rows(records: Sequence[Record], grant_ids: dict[uuid.UUID, uuid.UUID] | None = None) -> list[TimelineRow]:
    versions = current_versions(records)
    anchors = anchors_of(versions.values())
    rows = []
    for record in records:
        version = versions.get(record.pk)
        if version is None:
            continue
        own = anchors.get(version.pk, [])
        state, confirmations, needed = version_progress(record, version, own)
        rows.append(
            TimelineRow(
                id=record.pk,
                title=record_title(record),
                category=record.category,
                care_on=record.care_on,
                day=record.care_on or timezone.localdate(record.created_at),
                created_at=record.created_at,
                hospital=record.hospital,
                patient_id=record.patient_id,
                author_name=record.created_by.user.name,
                version_number=version.number,
                size=version.size,
                chains=version.chains,
                state=state,
                confirmations=confirmations,
                confirmations_needed=needed,
                line=f"{record.created_by.user.name}, {record.hospital.name}",
                grant_id=(grant_ids or {}).get(record.pk),
            )
        )
    return rows


def current_versions(records: Sequence[Record]) -> dict[uuid.UUID, RecordVersion]:
    numbers = Record.objects.filter(pk=OuterRef("record_id")).values("current_version")[:1]
    found = RecordVersion.objects.filter(record__in=[record.pk for record in records], number=Subquery(numbers))
    return {version.record_id: version for version in found}


def anchors_of(versions: Any) -> dict[uuid.UUID, list[AnchorRow]]:
    """Where the current epoch of each version stands on each chain, live from the outbox."""
    found = list(
        Anchor.objects.filter(
            epoch__version__in=[version.pk for version in versions],
            epoch__number=Subquery(RecordVersion.objects.filter(pk=OuterRef("epoch__version_id")).values("epoch")[:1]),
        )
        .order_by("-chain")
        .values_list("epoch__version_id", "chain", "state", "ref", "tx_hash", "block_number", "block_time")
    )
    items = chain_selectors.items([row[3] for row in found])
    rows: dict[uuid.UUID, list[AnchorRow]] = {}
    for version_id, chain, state, ref, tx_hash, block_number, block_time in found:
        item = items.get(ref)
        rows.setdefault(version_id, []).append(
            AnchorRow(
                chain=chain,
                state=item.state if item else state,
                confirmations=item.confirmations if item else 0,
                confirmations_needed=item.confirmations_needed if item else 0,
                tx_hash_hex=(item.tx_hash or "") if item else "0x" + bytes(tx_hash).hex() if tx_hash else "",
                block_number=item.block_number if item else block_number,
                block_time=item.block_time if item else block_time,
            )
        )
    return rows


def version_progress(record: Record, version: RecordVersion, anchors: Sequence[AnchorRow]) -> tuple[str, int, int]:
    """One state for a person, with confirmations of the slower chain."""
    if record.status != RecordStatus.ACTIVE:
        return str(record.status), 0, 0
    if version.state == VersionState.SUPERSEDED:
        return "superseded", 0, 0
    if not anchors:
        return "sealed", 0, 0
    slowest = min(anchors, key=lambda row: (_ORDER.index(row.state) if row.state in _ORDER else 0, row.confirmations))
    return slowest.state, slowest.confirmations, slowest.confirmations_needed


def record_title(record: Record) -> str:
    """The title; an entry made in error shows only that it was one."""
    if record.status != RecordStatus.ACTIVE:
        return ""
    return keyring.open_text(
        hospital_id=record.hospital_id, purpose="record.title", row_id=record.pk, blob=bytes(record.title_sealed)
    )


def record_of(hospital: Organisation, record_id: uuid.UUID) -> Record | None:
    return Record.objects.select_related("patient", "hospital").filter(hospital=hospital, pk=record_id).first()


# Sharing


def grants_of(patients: Sequence[Patient]) -> QuerySet[AccessGrant]:
    return (
        AccessGrant.objects.filter(patient__in=[patient.pk for patient in patients])
        .select_related("hospital", "patient", "grantee_membership__user", "grantee_organisation")
        .order_by("-created_at")
    )


@dataclass(frozen=True)
class Preview:
    """What a grant would open, by the rule of the gate."""

    gained: int
    already: int
    by_category: dict[str, int]


def grant_preview(
    *,
    patient: Patient,
    grantee: Membership | Organisation,
    scope_type: str,
    scope_value: str = "",
    purpose: str = "TREAT",
) -> Preview:
    grants.scope_bytes(patient, scope_type, scope_value)
    records = _in_scope(patient, scope_type, scope_value)
    rule = (
        Q(grantee_membership=grantee)
        if isinstance(grantee, Membership)
        else Q(grantee_membership__isnull=True, grantee_organisation=grantee)
    )
    standing = AccessGrant.objects.filter(
        rule, patient=patient, purpose=purpose, state=GrantState.ACTIVE, expires_at__gt=timezone.now()
    )
    covered: set[uuid.UUID] = set()
    for grant in standing:
        covered |= set(_in_scope(patient, grant.scope_type, grant.scope_value).values_list("pk", flat=True))
    gained: dict[str, int] = {}
    already = 0
    for pk, category in records.values_list("pk", "category"):
        if pk in covered:
            already += 1
        else:
            gained[category] = gained.get(category, 0) + 1
    return Preview(sum(gained.values()), already, gained)


def _in_scope(patient: Patient, scope_type: str, scope_value: str) -> QuerySet[Record]:
    records = Record.objects.filter(patient=patient, status=RecordStatus.ACTIVE)
    if scope_type == "category":
        return records.filter(category=scope_value)
    if scope_type == "record":
        return records.filter(pk=uuid.UUID(scope_value))
    return records


def shared_with(membership: Membership) -> list[TimelineRow]:
    """Records of other hospitals that live grants open to this member or to the whole organisation."""
    if membership.status != MembershipStatus.ACTIVE:
        return []
    with all_tenants("records shared with a member"):
        live = AccessGrant.objects.filter(
            Q(grantee_membership=membership)
            | Q(grantee_membership__isnull=True, grantee_organisation_id=membership.hospital_id),
            state=GrantState.ACTIVE,
            expires_at__gt=timezone.now(),
        ).order_by("-expires_at")
        grant_ids: dict[uuid.UUID, uuid.UUID] = {}
        for grant in live.select_related("patient"):
            for pk in _in_scope(grant.patient, grant.scope_type, grant.scope_value).values_list("pk", flat=True):
                grant_ids.setdefault(pk, grant.pk)
        records = (
            Record.objects.filter(pk__in=grant_ids)
            .select_related("hospital", "created_by__user")
            .order_by("-created_at")
        )
        return _timeline_rows(list(records), grant_ids)


def epoch_of(version: RecordVersion) -> Epoch:
    return Epoch.objects.get(version=version, number=version.epoch)
