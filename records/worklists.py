"""Uploads on their way: what a member of staff waits for, and what needs a hand."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import F, OuterRef, Q, Subquery
from django.utils import timezone

from chain import selectors as chain_selectors
from hospitals import keyring
from hospitals.models import Membership, Organisation, Patient
from records.models import Anchor, AnchorState, Record, RecordStatus, Restriction, ScopeType, Upload, UploadState

# The slowest chain decides what a person is told.
ORDER = [AnchorState.FAILED, AnchorState.QUEUED, AnchorState.BROADCAST, AnchorState.MINED, AnchorState.FINAL]


@dataclass(frozen=True)
class UploadRow:
    """`state` goes on where the upload ends: sealed, queued, broadcast, mined, final."""

    id: uuid.UUID
    title: str
    name: str
    patient_id: uuid.UUID
    patient_name: str
    uploader_id: uuid.UUID
    uploader_name: str
    category: str
    chains: str
    size: int
    state: str
    reason_text: str
    record_id: uuid.UUID | None
    created_at: datetime
    final_at: datetime | None
    block_number: int | None
    confirmations: int
    confirmations_needed: int


def uploads(hospital: Organisation, *, uploader: Membership | None = None, states: Sequence[str] | None = None) -> Any:
    """Newest first, to be sliced; `uploader` narrows to one member's own."""
    found = Upload.objects.filter(hospital=hospital).select_related("patient", "uploader__user", "record")
    if uploader is not None:
        found = found.filter(uploader=uploader)
    if states is not None:
        found = found.filter(state__in=states)
    return found.order_by("-created_at", "-id")


def upload_rows(found: Iterable[Upload]) -> list[UploadRow]:
    """Rows in words; three queries however many there are. Titles are opened for the one page that shows them."""
    found = list(found)
    anchors = _anchors([upload.record_id for upload in found if upload.record_id])
    return [_row(upload, anchors.get((upload.record_id, (upload.base_version or 0) + 1), [])) for upload in found]


def upload_of(hospital: Organisation, upload_id: uuid.UUID) -> Upload | None:
    return uploads(hospital).filter(pk=upload_id).first()


def newest_records(patients: Sequence[Patient]) -> list[tuple[uuid.UUID, str, date]]:
    """(patient, category, day) of each patient's newest record that the patient does not hide from staff."""
    keys = [patient.pk for patient in patients]
    hidden = list(Restriction.objects.filter(patient_id__in=keys, lifted_at__isnull=True))
    shown = Record.objects.filter(status=RecordStatus.ACTIVE)
    for rule in hidden:
        shown = shown.exclude(_hidden_by(rule))
    newest = shown.filter(patient_id=OuterRef("patient_id")).order_by("-created_at", "-pk").values("pk")[:1]
    found = Record.objects.filter(patient_id__in=keys, pk=Subquery(newest))
    return [
        (patient_id, category, care_on or timezone.localdate(created_at))
        for patient_id, category, care_on, created_at in found.values_list(
            "patient_id", "category", "care_on", "created_at"
        )
    ]


def _hidden_by(rule: Restriction) -> Q:
    covered = Q(patient_id=rule.patient_id)
    if rule.scope_type == ScopeType.CATEGORY:
        covered &= Q(category=rule.scope_value)
    elif rule.scope_type == ScopeType.RECORD:
        covered &= Q(pk=uuid.UUID(rule.scope_value))
    return covered


def _anchors(record_ids: list[uuid.UUID]) -> dict[tuple[uuid.UUID, int], list[tuple[Anchor, Any]]]:
    """Anchors of the current epoch of each version, with what the chain says about each."""
    rows = list(
        Anchor.objects.filter(epoch__version__record_id__in=record_ids, epoch__number=F("epoch__version__epoch"))
        .select_related("epoch__version")
        .order_by("chain")
    )
    items = chain_selectors.items([row.ref for row in rows]) if rows else {}
    grouped: dict[tuple[uuid.UUID, int], list[tuple[Anchor, Any]]] = {}
    for row in rows:
        version = row.epoch.version
        grouped.setdefault((version.record_id, version.number), []).append((row, items.get(row.ref)))
    return grouped


def _row(upload: Upload, anchors: list[tuple[Anchor, Any]]) -> UploadRow:
    state, item, anchor = str(upload.state), None, None
    if state == UploadState.SEALED and anchors:
        # The chain's own word first: our copy of it follows a moment later.
        found = [(str(status.state) if status else str(row.state), row, status) for row, status in anchors]
        state, anchor, item = min(found, key=lambda entry: ORDER.index(entry[0]) if entry[0] in ORDER else 0)
    if state == UploadState.SEALED and upload.record and upload.record.status != RecordStatus.ACTIVE:
        state = str(upload.record.status)
    return UploadRow(
        id=upload.pk,
        title=_open(upload, "upload.title", upload.title_sealed),
        name=_open(upload, "upload.name", upload.name_sealed),
        patient_id=upload.patient_id,
        patient_name=upload.patient.full_name,
        uploader_id=upload.uploader_id,
        uploader_name=upload.uploader.user.name,
        category=upload.category,
        chains=upload.chains,
        size=upload.size,
        state=state,
        reason_text=upload.reason_text,
        record_id=upload.record_id,
        created_at=upload.created_at,
        final_at=anchor.block_time if anchor is not None and state == AnchorState.FINAL else None,
        block_number=item.block_number if item else None,
        confirmations=item.confirmations if item else 0,
        confirmations_needed=item.confirmations_needed if item else 0,
    )


def _open(upload: Upload, purpose: str, blob: Any) -> str:
    return keyring.open_text(hospital_id=upload.hospital_id, purpose=purpose, row_id=upload.pk, blob=bytes(blob))
