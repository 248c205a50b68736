"""Reads of this app. What is not the reader's to see is not found."""

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Count, Max, Q, QuerySet

from hospitals import roles
from hospitals.actors import Actor
from hospitals.errors import NotFound
from hospitals.models import (
    AccessToken,
    AuditEntry,
    KeyRecord,
    Membership,
    Organisation,
    Patient,
    PatientClaim,
    User,
)
from hospitals.roles import Permission
from hospitals.tenancy import all_tenants, tenant
from hospitals.types import (
    ROLE_ON_CHAIN,
    ClaimStatus,
    KeyPurpose,
    MembershipStatus,
    OrganisationKind,
    OrganisationStatus,
    OwnerType,
    Role,
)

LIVE = (MembershipStatus.ACTIVE, MembershipStatus.PENDING)


# --- whose page is this


def membership_for(*, user: User, slug: str) -> Membership | None:
    """The live role of a person in the organisation of the URL."""
    return (
        Membership.objects.filter(user_id=user.pk, hospital__slug=slug, status__in=LIVE)
        .select_related("user", "hospital")
        .first()
    )


def regulator_membership(*, user: User) -> Membership | None:
    return (
        Membership.objects.filter(user_id=user.pk, role=Role.REGULATOR, status=MembershipStatus.ACTIVE)
        .select_related("user", "hospital")
        .first()
    )


def memberships_of(user: User) -> QuerySet[Membership]:
    """All live roles of a person, for the switch between organisations."""
    return Membership.objects.filter(user=user, status__in=LIVE).select_related("hospital").order_by("hospital__name")


def registrations_of(user: User) -> list[Patient]:
    """Where this person is a patient. It belongs to no hospital's scope, only to the person."""
    with all_tenants("a person's own registrations"):
        return list(Patient.objects.filter(user_id=user.pk).select_related("hospital").order_by("hospital__name"))


def registrations_offered(user: User) -> list[Patient]:
    """Registrations made with this person's address that nobody has taken yet."""
    with all_tenants("registrations offered to an address"):
        mine = Patient.objects.filter(user_id=user.pk).values("hospital_id")
        return list(
            Patient.objects.filter(user__isnull=True, email=user.email)
            .exclude(hospital_id__in=mine)
            .select_related("hospital")
        )


def claims_of(user: User) -> list[PatientClaim]:
    with all_tenants("a person's own claims"):
        return list(PatientClaim.objects.filter(user=user).select_related("hospital").order_by("-created_at"))


def tokens_of(*, user: User, membership: Membership | None = None) -> QuerySet[AccessToken]:
    return AccessToken.objects.filter(user=user, membership=membership, revoked_at=None)


# --- people and organisations


def hospitals_open() -> QuerySet[Organisation]:
    """Hospitals a visitor may register with."""
    return Organisation.objects.filter(kind=OrganisationKind.HOSPITAL, status=OrganisationStatus.ACTIVE)


def organisations_visible(actor: Actor) -> QuerySet[Organisation]:
    """The regulator sees all; everybody else those that are, or were, admitted."""
    if actor.role == Role.REGULATOR:
        return Organisation.objects.all()
    return Organisation.objects.filter(
        Q(status__in=[OrganisationStatus.ACTIVE, OrganisationStatus.SUSPENDED]) | Q(pk=actor.hospital_id)
    )


def organisation_names() -> dict[str, str]:
    """Public names by account address, as chains write it: lower-case 0x text."""
    rows = Organisation.objects.filter(account_address__isnull=False).values_list("account_address", "name")
    return {"0x" + bytes(address).hex(): name for address, name in rows}


def practitioners_public() -> QuerySet[Membership]:
    """Public entries: active doctors and nurses of active organisations."""
    return Membership.objects.filter(
        role__in=ROLE_ON_CHAIN,
        status=MembershipStatus.ACTIVE,
        hospital__status=OrganisationStatus.ACTIVE,
        user__is_active=True,
    ).select_related("user", "hospital")


def practitioner_search(text: str, limit: int = 20) -> list[Membership]:
    words = text.split()[:5]
    if not words:
        return []
    rows = practitioners_public()
    for word in words:
        rows = rows.filter(Q(user__name__icontains=word) | Q(hospital__name__icontains=word))
    return list(rows.order_by("user__name")[:limit])


def staff_of(hospital: Organisation) -> QuerySet[Membership]:
    return Membership.objects.filter(hospital=hospital).select_related("user").order_by("-status", "user__name")


def membership_visible(actor: Actor, membership_id: uuid.UUID) -> Membership:
    """D10: the regulator sees roles of all, staff those of their own house, everybody public entries."""
    rows = Membership.objects.select_related("user", "hospital")
    if actor.role != Role.REGULATOR:
        public = practitioners_public().values("pk")
        rows = rows.filter(Q(hospital_id=actor.hospital_id) | Q(pk__in=public))
    return _one(rows, membership_id)


def signing_keys(kids: Iterable[bytes] | None = None) -> dict[str, str]:
    """Published: key ids of hospitals' signatures, also retired ones, with the name they stand for."""
    rows = KeyRecord.objects.filter(owner_type=OwnerType.ORGANISATION, purpose=KeyPurpose.SIGN, hospital__isnull=False)
    if kids is not None:
        rows = rows.filter(pk__in=list(kids))
    return {bytes(kid).hex(): name for kid, name in rows.values_list("kid", "hospital__name")}


def organisation_visible(actor: Actor, organisation_id: uuid.UUID) -> Organisation:
    return _one(organisations_visible(actor), organisation_id)


def patient_visible(actor: Actor, patient_id: uuid.UUID) -> Patient:
    """Staff with the permission: patients of their hospital. A patient: own registrations. The regulator: none."""
    if actor.membership is None:
        found = [p for p in registrations_of(actor.user) if p.pk == patient_id] if actor.user else []
        if not found:
            raise NotFound()
        return found[0]
    if not roles.decide(actor, Permission.PATIENT_READ):
        raise NotFound()
    with tenant(actor.hospital_id):
        return _one(Patient.objects.select_related("hospital", "user", "registered_by__user"), patient_id)


# --- patients of one hospital (in its open scope)


def patient_search(*, hospital: Organisation, text: str, limit: int = 25) -> QuerySet[Patient]:
    """By name parts, patient number, or date of birth (ISO or day month year)."""
    rows = Patient.objects.filter(hospital=hospital).select_related("hospital", "user")
    if born := _date(text):
        return rows.filter(birth_date=born)[:limit]
    words = text.split()[:5]
    if not words:
        return rows.none()
    number = "".join(words)  # numbers are often printed in groups
    if any(letter.isdigit() for letter in number):
        return rows.filter(mrn__istartswith=number)[:limit]
    for word in words:
        rows = rows.filter(Q(family_name__istartswith=word) | Q(given_name__istartswith=word))
    return rows[:limit]


def patient_duplicates(
    *, hospital: Organisation, given_name: str, family_name: str, birth_date: date
) -> QuerySet[Patient]:
    """Likely the same person, within this hospital only: same birth date and one name, or the same full name."""
    return Patient.objects.filter(hospital=hospital).filter(
        Q(birth_date=birth_date, family_name__iexact=family_name.strip())
        | Q(birth_date=birth_date, given_name__iexact=given_name.strip())
        | Q(given_name__iexact=given_name.strip(), family_name__iexact=family_name.strip())
    )


def patients_recent(*, membership: Membership, limit: int = 8) -> list[tuple[Patient, datetime]]:
    """The patients this member opened last, newest first."""
    rows = (
        AuditEntry.objects.filter(
            hospital_id=membership.hospital_id,
            actor_membership=membership,
            patient__isnull=False,
            is_refused=False,
        )
        .exclude(action="patients.listed")
        .order_by()
        .values("patient_id")
        .annotate(last=Max("at"))
        .order_by("-last")[:limit]
    )
    opened = [(row["patient_id"], row["last"]) for row in rows]
    patients = Patient.objects.in_bulk([patient_id for patient_id, _ in opened])
    return [(patients[patient_id], last) for patient_id, last in opened if patient_id in patients]


def claims_waiting(hospital: Organisation) -> QuerySet[PatientClaim]:
    return PatientClaim.objects.filter(
        hospital=hospital, status__in=[ClaimStatus.WAITING, ClaimStatus.CHECKED]
    ).select_related("user")


# --- the access log


def audit_of(hospital: Organisation, filters: dict[str, Any] | None = None) -> QuerySet[AuditEntry]:
    """Newest first. Filters: patient, membership, action (prefix), actions, refused, since, until."""
    filters = filters or {}
    rows = _entries().filter(hospital=hospital)
    if filters.get("patient"):
        rows = rows.filter(patient_id=filters["patient"])
    if filters.get("membership"):
        rows = rows.filter(actor_membership_id=filters["membership"])
    if filters.get("action"):
        rows = rows.filter(action__startswith=filters["action"])
    if filters.get("actions"):
        rows = rows.filter(action__in=filters["actions"])
    if filters.get("refused"):
        rows = rows.filter(is_refused=True)
    if filters.get("since"):
        rows = rows.filter(at__gte=filters["since"])
    if filters.get("until"):
        rows = rows.filter(at__lt=filters["until"])
    return rows


def log_entries(
    patients: Iterable[Patient], *, basis: str | None = None, since: datetime | None = None, automatic: bool = False
) -> QuerySet[AuditEntry]:
    """A patient's own log over all registrations, newest first; `automatic` adds what no person did."""
    rows = _entries().filter(patient__in=list(patients)).order_by("-at", "-seq")
    if basis:
        rows = rows.filter(basis=basis)
    if since:
        rows = rows.filter(at__gte=since)
    return rows if automatic else rows.filter(actor_user__isnull=False)


def _entries() -> QuerySet[AuditEntry]:
    return AuditEntry.objects.select_related("actor_user", "actor_membership__hospital", "patient", "hospital")


# --- the regulator: organisations, roles and numbers, never a patient


def organisations_supervised() -> QuerySet[Organisation]:
    """Admitted or once admitted, with the number of active practitioners."""
    return (
        Organisation.objects.exclude(
            status__in=[OrganisationStatus.APPLIED, OrganisationStatus.REFUSED],
        )
        .exclude(kind=OrganisationKind.REGULATOR)
        .annotate(
            practitioners=Count(
                "memberships",
                filter=Q(memberships__status=MembershipStatus.ACTIVE, memberships__role__in=list(ROLE_ON_CHAIN)),
            )
        )
    )


@dataclass(frozen=True)
class HospitalNumbers:
    hospital: Organisation
    practitioners: int
    patients: int
    accesses: int
    refusals: int


def statistics(since: datetime | None = None) -> list[HospitalNumbers]:
    """Counts for each supervised hospital; six queries however many there are."""
    hospitals = list(organisations_supervised().filter(kind=OrganisationKind.HOSPITAL))
    with all_tenants("regulator's statistics: counts only"):
        patients = _counts(Patient.objects.all())
        entries = AuditEntry.objects.filter(at__gte=since) if since else AuditEntry.objects.all()
        accesses = _counts(entries.filter(is_refused=False, patient__isnull=False))
        refusals = _counts(entries.filter(is_refused=True))
    return [
        HospitalNumbers(
            hospital,
            hospital.practitioners,
            patients.get(hospital.pk, 0),
            accesses.get(hospital.pk, 0),
            refusals.get(hospital.pk, 0),
        )
        for hospital in hospitals
    ]


def _counts(rows: QuerySet[Any]) -> dict[uuid.UUID, int]:
    return dict(rows.order_by().values_list("hospital_id").annotate(number=Count("pk")))


def _one(rows: QuerySet[Any], key: Any) -> Any:
    row = rows.filter(pk=key).first()
    if row is None:
        raise NotFound()
    return row


def _date(text: str) -> date | None:
    if match := re.fullmatch(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})\s*", text):
        parts: Sequence[str] = match.groups()
    elif match := re.fullmatch(r"\s*(\d{1,2})[./ -](\d{1,2})[./ -](\d{4})\s*", text):
        parts = match.groups()[::-1]
    else:
        return None
    try:
        return date(*map(int, parts))
    except ValueError:
        return None
