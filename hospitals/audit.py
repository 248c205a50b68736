"""The access log: written in the caller's transaction, before anything is released."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DatabaseError, models, transaction
from django.db.models import Max, Q
from django.utils import timezone

from chain import services as chain_services
from chain.failpoints import fp
from hospitals.actors import Actor
from hospitals.audit_check import Completeness, verify_hospital, verify_patient
from hospitals.audit_format import GENESIS, entry_body, leaf_of, link_of
from hospitals.errors import AuditUnavailable, TenantError
from hospitals.models import AuditEntry, AuditHead, Organisation, Patient, random32
from hospitals.tenancy import tenant
from hospitals.types import OrganisationStatus

__all__ = [
    "Completeness",
    "Draft",
    "append",
    "append_many",
    "entry_body",
    "leaf_of",
    "link_of",
    "publish",
    "publish_waiting",
    "verify_hospital",
    "verify_patient",
]

CHAIN = "MED"
LOGGING_STATES = (OrganisationStatus.ACTIVE, OrganisationStatus.SUSPENDED)


@dataclass(frozen=True)
class Draft:
    """What one entry says. `detail` holds ids, codes and counts, never content or names."""

    action: str
    patient: Patient | None = None
    target: Any = None
    basis: str = ""
    purpose: str = ""
    is_refused: bool = False
    detail: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = None


def append(
    *,
    hospital: Organisation,
    actor: Actor,
    action: str,
    patient: Patient | None = None,
    target: Any = None,
    basis: str = "",
    purpose: str = "",
    is_refused: bool = False,
    detail: dict[str, Any] | None = None,
    at: datetime | None = None,
) -> AuditEntry:
    """One entry. Raises AuditUnavailable when it cannot be written: then nothing may be released."""
    draft = Draft(action, patient, target, basis, purpose, is_refused, detail or {}, at)
    return append_many(hospital=hospital, actor=actor, drafts=[draft])[0]


def append_many(*, hospital: Organisation, actor: Actor, drafts: Sequence[Draft]) -> list[AuditEntry]:
    """Several entries of one act, e.g. each patient that a search lists, in a constant number of queries."""
    if not drafts:
        return []
    try:
        with transaction.atomic(savepoint=False), tenant(hospital):
            return _append(hospital, actor, drafts)
    except DatabaseError as error:
        raise AuditUnavailable() from error


def _append(hospital: Organisation, actor: Actor, drafts: Sequence[Draft]) -> list[AuditEntry]:
    AuditHead.objects.bulk_create([AuditHead(hospital=hospital)], ignore_conflicts=True)
    head = AuditHead.objects.select_for_update().get()
    ends = _patient_ends({draft.patient.pk for draft in drafts if draft.patient})
    now, seq, link = timezone.now(), head.seq, bytes(head.link)
    entries = []
    for draft in drafts:
        entry = _entry(hospital, actor, draft, now)
        seq += 1
        entry.seq, entry.previous_link = seq, link
        if draft.patient:
            patient_seq, patient_link = ends.get(draft.patient.pk, (0, GENESIS))
            entry.patient_seq, entry.patient_previous_link = patient_seq + 1, patient_link
        entry.leaf = leaf_of(entry)
        entry.link = link = link_of(entry.previous_link, entry.leaf)
        if draft.patient:
            entry.patient_link = link_of(entry.patient_previous_link, entry.leaf)
            ends[draft.patient.pk] = (entry.patient_seq, entry.patient_link)
        entries.append(entry)
    AuditEntry.objects.bulk_create(entries)
    fp("audit.entries_saved")
    AuditHead.objects.filter(pk=head.pk).update(seq=seq, link=link)
    fp("audit.head_moved")
    if hospital.status in LOGGING_STATES:
        publish(hospital, entries)
        fp("audit.published")
    return entries


def publish(hospital: Organisation, entries: Sequence[AuditEntry]) -> None:
    """Queue the leaves for the chain; a repeat does nothing. Entries from before admission wait for it."""
    chain_services.access_enqueue_many(
        chain=CHAIN,
        sender=bytes(hospital.account_address),
        leaves=[(bytes(entry.leaf), entry.chain_ref) for entry in entries],
    )


def publish_waiting(hospital: Organisation) -> None:
    with tenant(hospital):
        publish(hospital, list(AuditEntry.objects.order_by("seq")))


def _entry(hospital: Organisation, actor: Actor, draft: Draft, now: datetime) -> AuditEntry:
    if draft.patient and draft.patient.hospital_id != hospital.pk:
        raise TenantError("the patient belongs to another tenant")
    _check_detail(draft.detail)
    target_type, target_id = _target(draft.target)
    entry_id = uuid.uuid4()
    return AuditEntry(
        id=entry_id,
        hospital=hospital,
        patient=draft.patient,
        actor_user=actor.user,
        actor_membership=actor.membership,
        actor_role=actor.role,
        channel=actor.channel,
        request_id=actor.request_id,
        action=draft.action,
        basis=draft.basis,
        purpose=draft.purpose,
        target_type=target_type,
        target_id=target_id,
        is_refused=draft.is_refused,
        at=draft.at or now,
        detail=draft.detail,
        salt=random32(),
        chain_ref=f"audit:{entry_id.hex}",
    )


def _patient_ends(patients: set[uuid.UUID]) -> dict[uuid.UUID, tuple[int, bytes]]:
    """Where each patient's line ends: (counter, link). The head's lock keeps it still."""
    if not patients:
        return {}
    last = (
        AuditEntry.objects.filter(patient_id__in=patients)
        .order_by()
        .values_list("patient_id")
        .annotate(end=Max("patient_seq"))
    )
    places = Q()
    for patient_id, end in last:
        places |= Q(patient_id=patient_id, patient_seq=end)
    if not places:
        return {}
    rows = AuditEntry.objects.filter(places).values_list("patient_id", "patient_seq", "patient_link")
    return {patient_id: (end, bytes(link)) for patient_id, end, link in rows}


def _target(target: Any) -> tuple[str, str]:
    if target is None:
        return "", ""
    if isinstance(target, models.Model):
        return target._meta.model_name, str(target.pk)
    kind, key = target
    return str(kind), str(key)


def _check_detail(value: Any) -> None:
    """Only what canonical JSON writes one way."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("detail keys are strings")
        for item in value.values():
            _check_detail(item)
    elif isinstance(value, list):
        for item in value:
            _check_detail(item)
    elif value is not None and type(value) not in (str, int, bool):
        raise TypeError(f"detail holds {type(value).__name__}; use str, int, bool, None, list, dict")
