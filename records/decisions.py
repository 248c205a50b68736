"""May this person do this with this record now? The rules of the Control Module; gate.py acts on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.utils import timezone

from chain import selectors as chain_selectors
from chain.errors import ChainError
from chain.witness import agreed
from hospitals import roles
from hospitals.actors import Actor
from hospitals.models import Membership
from hospitals.roles import Permission
from hospitals.tenancy import tenant
from hospitals.types import MembershipStatus, OrganisationStatus, PatientStatus
from records import grants, keys
from records.conf import conf
from records.models import AccessGrant, Purpose, Record, RecordStatus, Restriction

CHAIN = "MED"
ACTIONS = {
    "read": "records.version.read",
    "download": "records.version.downloaded",
    "print": "records.version.printed",
    "export": "records.version.exported",
    "receipt": "records.receipt.downloaded",
}


@dataclass(frozen=True)
class Decision:
    """Allowed with a basis, or refused with a code for the log; the person asking sees only `not found`."""

    allowed: bool
    basis: str = ""
    reason_code: str = ""
    grant: AccessGrant | None = None
    as_of_block: int | None = None
    # Whose wrap opens the data key.
    reader: Any = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.allowed


def decide(*, actor: Actor, action: str, record: Record, purpose: str = Purpose.TREATMENT) -> Decision:
    """May this person do this with this record now? Reads rights anew; keeps nothing between calls."""
    with tenant(record.hospital_id):
        if action not in ACTIONS or purpose not in Purpose.values:
            return Decision(False, reason_code="unknown_request")
        if actor.membership is None and (record.status == RecordStatus.ACTIVE or action == "receipt"):
            # What was withdrawn or erased opens for nobody, but its proof stays the patient's.
            return _decide_patient(actor, record)
        if record.status != RecordStatus.ACTIVE or actor.membership is None:
            return Decision(False, reason_code="record_closed")
        membership = (
            Membership.objects.select_related("user", "hospital")
            .filter(pk=actor.membership.pk, user=actor.user)
            .first()
        )
        if membership is None or membership.status != MembershipStatus.ACTIVE or not membership.user.is_active:
            return Decision(False, reason_code="not_active")
        if membership.hospital_id == record.hospital_id:
            own = _decide_own_treatment(membership, record, purpose)
            if own.allowed or own.reason_code == "restricted":
                return own
            shared = _decide_consent(membership, record, purpose)
            return shared if shared.allowed else own
        return _decide_consent(membership, record, purpose)


def _decide_patient(actor: Actor, record: Record) -> Decision:
    if actor.user is None or not actor.user.is_active or record.patient.user_id != actor.user.pk:
        return Decision(False, reason_code="not_own_record")
    return Decision(True, basis="own", reader=record.patient)


def _decide_own_treatment(membership: Membership, record: Record, purpose: str) -> Decision:
    """The hospital that wrote the record, through the care link that its doctor opened on the chain."""
    if not roles.decide(Actor(membership.user, membership), Permission.RECORD_READ):
        return Decision(False, reason_code="role")
    if purpose != Purpose.TREATMENT:
        return Decision(False, reason_code="purpose")
    if is_restricted(record):
        return Decision(False, reason_code="restricted")
    if not membership.chain_address:
        return Decision(False, reason_code="no_chain_address")
    patient = record.patient
    try:
        linked = agreed(CHAIN, "Registry", "hasCareLink", bytes(patient.patient_key), bytes(membership.chain_address))
    except ChainError as error:
        if not error.retryable:
            raise
        return _decide_from_index(membership, record)
    if not linked:
        return Decision(False, reason_code="no_care_link")
    return Decision(True, basis="treatment", reader=record.hospital)


def _decide_from_index(membership: Membership, record: Record) -> Decision:
    """MEDchain is silent: the last final state of the registry, as long as it is not too old."""
    status = chain_selectors.sync_status(CHAIN)
    age = (timezone.now() - status.checked_at).total_seconds() if status and status.checked_at else None
    if age is None or age > conf().stale_index_seconds or status.halted_reason:
        return Decision(False, reason_code="chain_unavailable")
    if membership.hospital.status != OrganisationStatus.ACTIVE or record.patient.status != PatientStatus.ACTIVE:
        return Decision(False, reason_code="no_care_link")
    return Decision(True, basis="treatment", reader=record.hospital, as_of_block=status.cursor)


def _decide_consent(membership: Membership, record: Record, purpose: str) -> Decision:
    """A grant of the patient that is final, not ended, and that the contract confirms for this very request."""
    if not roles.decide(Actor(membership.user, membership), Permission.SHARED_READ):
        return Decision(False, reason_code="role")
    refused = "no_grant"
    # When it begins is the contract's to say: this server's clock may be behind the one that it was given by.
    for grant in grants_to(membership, keys.live_grants(record)).filter(purpose=purpose):
        try:
            agreed = _contract_agrees(grant, membership, record)
        except ChainError as error:
            if not error.retryable:
                raise
            refused = "chain_unavailable"
            continue
        if agreed:
            return Decision(True, basis=f"consent:{grant.pk}", grant=grant, reader=keys.grantee_of(grant))
        refused = "contract_refused"
    return Decision(False, reason_code=refused)


def _contract_agrees(grant: AccessGrant, membership: Membership, record: Record) -> bool:
    """One call that nobody else sees: digest, signature, times, member, scope and purpose are checked together."""
    patient = record.patient
    reader = membership.chain_address or membership.hospital.account_address
    return agreed(
        CHAIN,
        "Consents",
        "isAuthorised",
        grants.grant_opening(grant),
        {"identity": bytes(patient.identity_address), "salt": bytes(patient.identity_salt)},
        bytes(grant.signature),
        {
            "reader": bytes(reader),
            "recordKey": bytes(record.record_key),
            "category": grants.ascii32(record.category),
            "purpose": grants.ascii32(grant.purpose),
        },
    )


def grants_to(membership: Membership, rows: Any) -> Any:
    return rows.filter(
        Q(grantee_membership=membership)
        | Q(grantee_membership__isnull=True, grantee_organisation_id=membership.hospital_id)
    ).select_related("hospital", "grantee_membership__user", "grantee_organisation")


def is_restricted(record: Record) -> bool:
    """Whether the patient hides this record from the hospital's own staff."""
    return Restriction.objects.filter(
        keys.scope_filter(record), patient_id=record.patient_id, lifted_at__isnull=True
    ).exists()
