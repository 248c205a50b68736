"""What a regulator sees of records: proof, times and numbers. No title, category, name or content is read here."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from chain import selectors as chain_selectors
from hospitals.models import Organisation
from hospitals.types import OrganisationKind
from records.models import (
    AccessGrant,
    Anchor,
    AnchorState,
    RecordStatus,
    RecordVersion,
    Upload,
    UploadState,
    VersionState,
)

PENDING = Q(state__in=[VersionState.SEALED, VersionState.ANCHORED])
STATES = {
    "pending": PENDING,
    "final": Q(state=VersionState.FINAL),
    "superseded": Q(state=VersionState.SUPERSEDED),
    "withdrawn": Q(record__status=RecordStatus.WITHDRAWN),
    "erased": Q(record__status=RecordStatus.ERASED),
}
LATE = timedelta(hours=1)


@dataclass(frozen=True)
class AnchorRow:
    chain: str
    state: str
    block_number: int | None
    tx_hash: bytes | None


@dataclass(frozen=True)
class RecordRow:
    """One record version under its opaque reference."""

    reference: uuid.UUID
    hospital: Organisation
    number: int
    state: str
    created_at: datetime
    final_at: datetime | None
    anchors: list[AnchorRow] = field(default_factory=list)


def record_query(
    *,
    hospital: str = "",
    state: str = "",
    chain: str = "",
    since: date | None = None,
    until: date | None = None,
) -> QuerySet[RecordVersion]:
    """Versions, newest first. Call inside `all_tenants`; unknown filter values match nothing."""
    versions = RecordVersion.objects.select_related("hospital", "record").only(
        "id", "number", "state", "created_at", "final_at", "chains", "hospital", "record__id", "record__status"
    )
    if hospital:
        versions = versions.filter(hospital__slug=hospital)
    if state:
        versions = versions.filter(STATES[state]) if state in STATES else versions.none()
    if chain:
        versions = versions.filter(chains__in=[chain, "BOTH"])
    if since:
        versions = versions.filter(created_at__date__gte=since)
    if until:
        versions = versions.filter(created_at__date__lte=until)
    return versions.order_by("-created_at", "-id")


def record_rows(versions: Sequence[RecordVersion]) -> list[RecordRow]:
    """The rows of one page with their anchors, in one further query."""
    anchors: dict[uuid.UUID, list[AnchorRow]] = {}
    found = (
        Anchor.objects.filter(epoch__version__in=versions).select_related("epoch").order_by("epoch__number", "chain")
    )
    latest: dict[tuple[uuid.UUID, str], Anchor] = {(anchor.epoch.version_id, anchor.chain): anchor for anchor in found}
    for (version_id, chain), anchor in latest.items():
        tx_hash = bytes(anchor.tx_hash) if anchor.tx_hash else None
        anchors.setdefault(version_id, []).append(AnchorRow(chain, anchor.state, anchor.block_number, tx_hash))
    return [
        RecordRow(
            reference=version.record_id,
            hospital=version.hospital,
            number=version.number,
            state=version.record.status if version.record.status != RecordStatus.ACTIVE else version.state,
            created_at=version.created_at,
            final_at=version.final_at,
            anchors=anchors.get(version.pk, []),
        )
        for version in versions
    ]


@dataclass(frozen=True)
class HospitalFigures:
    hospital: Organisation
    staff: int
    records: int
    waiting: int
    late: int
    failed: int


@dataclass(frozen=True)
class Statistics:
    """Counts at one moment, each with the rows behind it reachable by a record query."""

    hospitals: list[HospitalFigures]
    anchored_today: int
    anchored: dict[str, int]
    waiting: int
    late: int
    oldest_waiting_at: datetime | None
    revokes_by_month: list[tuple[date, int]]
    enforce_seconds: float | None


def statistics(*, months: int = 12) -> Statistics:
    """Call inside `all_tenants`. The enforcement time is from the patient's click to the final block of the revoke."""
    now = timezone.now()
    final, open_anchor = Q(state=AnchorState.FINAL), ~Q(state=AnchorState.FINAL)
    anchors = Anchor.objects.aggregate(
        today=Count("id", filter=final & Q(block_time__date=timezone.localdate())),
        sup=Count("id", filter=final & Q(chain="SUP")),
        med=Count("id", filter=final & Q(chain="MED")),
        waiting=Count("id", filter=open_anchor),
        late=Count("id", filter=open_anchor & Q(created_at__lt=now - LATE)),
    )
    oldest = Anchor.objects.filter(open_anchor).order_by("created_at").values_list("created_at", flat=True).first()
    revoked = AccessGrant.objects.filter(revoked_at__isnull=False)
    return Statistics(
        hospitals=_by_hospital(now),
        anchored_today=anchors["today"],
        anchored={"SUP": anchors["sup"], "MED": anchors["med"]},
        waiting=anchors["waiting"],
        late=anchors["late"],
        oldest_waiting_at=oldest,
        revokes_by_month=_by_month(revoked.values_list("revoked_at", flat=True), months),
        enforce_seconds=_enforce_seconds(revoked),
    )


def anchors_per_hour(*, hours: int = 24) -> list[dict[str, Any]]:
    """Final anchors of each chain in each of the last `hours` full hours and the running one."""
    start = timezone.localtime().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    counts = {start + timedelta(hours=n): {"SUP": 0, "MED": 0} for n in range(hours)}
    found = Anchor.objects.filter(state=AnchorState.FINAL, block_time__gte=start).values_list("block_time", "chain")
    for block_time, chain in found.iterator():
        hour = timezone.localtime(block_time).replace(minute=0, second=0, microsecond=0)
        if hour in counts:
            counts[hour][chain] += 1
    return [{"hour": hour, **chains} for hour, chains in counts.items()]


def _by_hospital(now: datetime) -> list[HospitalFigures]:
    versions = dict(RecordVersion.objects.order_by().values_list("hospital").annotate(n=Count("id")))
    open_anchors = {
        row["hospital"]: row
        for row in Anchor.objects.filter(~Q(state=AnchorState.FINAL))
        .order_by()
        .values("hospital")
        .annotate(n=Count("id"), late=Count("id", filter=Q(created_at__lt=now - LATE)))
    }
    failed = dict(
        Upload.objects.filter(state=UploadState.FAILED).order_by().values_list("hospital").annotate(n=Count("id"))
    )
    hospitals = Organisation.objects.exclude(kind=OrganisationKind.REGULATOR).annotate(
        staff=Count("memberships", filter=Q(memberships__status="active"))
    )
    return [
        HospitalFigures(
            hospital=hospital,
            staff=hospital.staff,
            records=versions.get(hospital.pk, 0),
            waiting=open_anchors.get(hospital.pk, {}).get("n", 0),
            late=open_anchors.get(hospital.pk, {}).get("late", 0),
            failed=failed.get(hospital.pk, 0),
        )
        for hospital in hospitals.order_by("name")
    ]


def _by_month(times: QuerySet, months: int) -> list[tuple[date, int]]:
    first = timezone.localdate().replace(day=1)
    starts = [first]
    for _step in range(months - 1):
        starts.append((starts[-1] - timedelta(days=1)).replace(day=1))
    counts = dict.fromkeys(reversed(starts), 0)
    for at in times:
        month = timezone.localdate(at).replace(day=1)
        if month in counts:
            counts[month] += 1
    return list(counts.items())


def _enforce_seconds(revoked: QuerySet[AccessGrant]) -> float | None:
    """Seconds from click to the block that carries the revoke, the median over the newest 1,000."""
    refs = {
        ref: at for ref, at in revoked.order_by("-revoked_at").values_list("revoke_ref", "revoked_at")[:1000] if ref
    }
    items = chain_selectors.items(list(refs))
    waits = [
        max((item.block_time - refs[ref]).total_seconds(), 0.0)
        for ref, item in items.items()
        if item.state == "final" and item.block_time
    ]
    return median(waits) if waits else None
