"""The rows behind the numbers on dashboards: a number is the count of one of these, and its link lists the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from hospitals.models import AuditEntry, Organisation, Patient
from hospitals.types import OrganisationKind
from records.models import AccessGrant, Anchor, AnchorState, GrantState

LATE = timedelta(hours=1)
OPEN = Q(state=GrantState.ACTIVE)
SEAL_STATES = ("final", "waiting", "late")
SHARE_STATES = ("open", "pending", "stopped", "ended")


def seals(
    *,
    hospital: Organisation | None = None,
    chain: str = "",
    state: str = "",
    since: date | None = None,
) -> QuerySet[Anchor]:
    """One row for each encryption of a record version on each chain, newest first; `since` is the day of the block."""
    found = Anchor.objects.select_related("hospital", "epoch__version")
    if hospital is not None:
        found = found.filter(hospital=hospital)
    if chain:
        found = found.filter(chain=chain)
    if state == "final":
        found = found.filter(state=AnchorState.FINAL)
    elif state:
        found = found.exclude(state=AnchorState.FINAL)
    if state == "late":
        found = found.filter(created_at__lt=timezone.now() - LATE)
    if since:
        found = found.filter(block_time__date__gte=since)
    return found.order_by("-created_at", "-pk")


def shares(
    *,
    hospital: Organisation | None = None,
    patients: Sequence[Patient] | None = None,
    state: str = "",
    month: date | None = None,
) -> QuerySet[AccessGrant]:
    """Consents to read what a hospital wrote, newest first; `month` is the one in which they were stopped."""
    found = AccessGrant.objects.select_related("hospital", "grantee_organisation")
    if hospital is not None:
        found = found.filter(hospital=hospital)
    if patients is not None:
        found = found.filter(patient__in=patients)
    now = timezone.now()
    if state == "open":
        found = found.filter(OPEN, expires_at__gt=now)
    elif state == "pending":
        found = found.filter(state=GrantState.PENDING, expires_at__gt=now)
    elif state == "stopped":
        found = found.filter(revoked_at__isnull=False)
    elif state == "ended":
        found = found.filter(revoked_at__isnull=True, expires_at__lte=now)
    if month:
        found = found.filter(revoked_at__year=month.year, revoked_at__month=month.month)
    return found.order_by("-created_at", "-pk")


def accesses(
    *,
    hospital: Organisation | None = None,
    days: int | None = None,
    is_refused: bool = False,
) -> QuerySet[AuditEntry]:
    """Entries of the hospitals' access logs, newest first; the authority's own log is not among them."""
    found = AuditEntry.objects.select_related("hospital").exclude(hospital__kind=OrganisationKind.REGULATOR)
    if hospital is not None:
        found = found.filter(hospital=hospital)
    if days:
        found = found.filter(at__gte=timezone.now() - timedelta(days=days))
    if is_refused:
        found = found.filter(is_refused=True)
    return found.order_by("-at", "-seq")
