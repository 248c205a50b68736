"""From rows of the database to what the staff pages show: one small dataclass for each kind of line."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hospitals.roles import Permission, decide
from portal import look
from portal.dashboards.log_rows import basis_of
from portal.templatetags.portal_ui import when

# The four steps a person follows; stored states fall into them.
STEP_OF = {
    "received": 1,
    "sealing": 1,
    "sealed": 2,
    "queued": 3,
    "broadcast": 3,
    "mined": 3,
    "anchored": 3,
    "final": 4,
}
PERCENT = {
    "received": 15,
    "sealing": 30,
    "sealed": 45,
    "queued": 55,
    "broadcast": 65,
    "mined": 85,
    "final": 100,
}
MOVING = frozenset({"received", "sealing", "sealed", "queued", "broadcast", "mined", "anchored"})


def permissions(request: HttpRequest) -> dict[str, bool]:
    """What the pages may offer; each view and service checks again."""

    def may(permission: Permission) -> bool:
        return bool(decide(request.actor, permission))

    return {
        "search": may(Permission.PATIENT_SEARCH),
        "register": may(Permission.PATIENT_REGISTER),
        "claims": may(Permission.CLAIM_CHECK),
        "read": may(Permission.RECORD_LIST),
        "upload": may(Permission.RECORD_UPLOAD),
        "author": may(Permission.RECORD_AUTHOR),
        "withdraw": may(Permission.RECORD_WITHDRAW),
        "jobs": may(Permission.UPLOAD_STATES),
        "all_jobs": request.membership.role == "admin",
        "log": may(Permission.RECORD_LIST) or may(Permission.AUDIT_READ),
        "staff": may(Permission.STAFF_MANAGE),
        "manage": may(Permission.STAFF_MANAGE),
        "settings": may(Permission.ORGANISATION_SETTINGS),
    }


def short(moment: datetime | date | None) -> str:
    """14:20 today, Yesterday, 9 Nov, 9 Nov 2024."""
    if moment is None:
        return ""
    today = timezone.localdate()
    if isinstance(moment, datetime):
        moment = timezone.localtime(moment)
        if moment.date() == today:
            return date_format(moment, "H:i")
        moment = moment.date()
    if moment == today:
        return _("Today")
    if moment == today - timedelta(days=1):
        return _("Yesterday")
    return date_format(moment, "j M" if moment.year == today.year else "j M Y")


# Patients


@dataclass(frozen=True)
class PatientRow:
    id: Any
    href: str
    name: str
    mrn: str
    birth_date: date
    newest: str
    last: str


def patient_row(
    request: HttpRequest, patient: Any, *, newest: str = "", last: str = "", route: str = "patient"
) -> PatientRow:
    href = reverse(f"hospital:{route}", args=[request.hospital.slug, patient.pk])
    return PatientRow(patient.pk, href, patient.full_name, patient.mrn, patient.birth_date, newest, last)


# Timeline


@dataclass(frozen=True)
class TimelineRow:
    date: str
    note: str
    icon: str
    tone: str
    title: str
    href: str
    line: str
    state: str
    n: Any
    m: Any
    day: date


CHAINS = {"SUP": "SUP", "MED": "MED", "BOTH": gettext_lazy("SUP and MED")}
TONES = {"failed": "warn", "quarantined": "warn", "withdrawn": "mute", "superseded": "mute", "erased": "mute"}


def timeline_row(request: HttpRequest, row: Any) -> TimelineRow:
    written = timezone.localtime(row.created_at)
    day = row.care_on or written.date()
    note = ""
    if day == written.date():
        note = _("at %(time)s") % {"time": date_format(written, "H:i")}
    elif written.date() - day < timedelta(days=300):
        note = _("added %(day)s") % {"day": date_format(written, "j M")}
    parts = [
        row.hospital.name,
        row.author_name,
        _("Version %(n)s") % {"n": row.version_number},
        str(CHAINS.get(row.chains, row.chains)),
    ]
    return TimelineRow(
        date=date_format(day, "j M"),
        note=note,
        icon=look.CATEGORIES.get(row.category, look.CATEGORIES["other"])[0],
        tone=TONES.get(row.state, ""),
        title=row.title or _("Entered in error"),
        href=reverse("hospital:record", args=[request.hospital.slug, row.id]),
        line=" · ".join(part for part in parts if part),
        state=row.state,
        n=row.confirmations,
        m=row.confirmations_needed,
        day=day,
    )


def by_month(rows: Iterable[TimelineRow]) -> list[dict]:
    return [
        {"label": date_format(month, "F Y"), "rows": list(group)}
        for month, group in groupby(rows, key=lambda row: row.day.replace(day=1))
    ]


# Uploads


@dataclass(frozen=True)
class UploadLine:
    id: Any
    title: str
    href: str
    line: str
    state: str
    n: Any
    m: Any
    percent: int
    step: str
    reason: str
    icon: str
    tone: str
    when: str
    may_retry: bool = False
    may_discard: bool = False
    is_moving: bool = False
    step_number: int = 1
    received_at: str = ""
    size: int = 0
    chains: str = ""
    block_number: int | None = None


def upload_line(request: HttpRequest, row: Any, *, may_open: bool) -> UploadLine:
    number = STEP_OF.get(row.state, 1)
    percent = PERCENT.get(row.state, 0)
    if row.state == "mined" and row.confirmations_needed:
        percent = 70 + round(25 * min(row.confirmations, row.confirmations_needed) / row.confirmations_needed)
    href = ""
    if may_open and row.record_id:
        href = reverse("hospital:record", args=[request.hospital.slug, row.record_id])
    is_own = row.uploader_id == request.membership.pk
    return UploadLine(
        id=row.id,
        title=row.title or row.name,
        href=href,
        line=" · ".join(
            part
            for part in (
                row.patient_name,
                "" if is_own else row.uploader_name,
                str(CHAINS.get(row.chains, row.chains)),
                _moment(row),
            )
            if part
        ),
        state=row.state,
        n=row.confirmations,
        m=row.confirmations_needed,
        percent=percent,
        step=_("step %(n)s of 4") % {"n": number},
        reason=row.reason_text,
        icon=look.CATEGORIES.get(row.category, look.CATEGORIES["other"])[0],
        tone="warn" if row.state in ("failed", "quarantined") else "mute" if row.state == "discarded" else "",
        when=when(row.created_at, "ago"),
        may_retry=row.state == "failed" and (is_own or request.membership.role == "admin"),
        may_discard=row.state in ("failed", "quarantined") and (is_own or request.membership.role == "admin"),
        is_moving=row.state in MOVING,
        step_number=number,
        received_at=when(row.created_at, "H:i:s"),
        size=row.size,
        chains=str(CHAINS.get(row.chains, row.chains)),
        block_number=row.block_number,
    )


def _moment(row: Any) -> str:
    if row.state == "final":
        return _("confirmed %(at)s") % {"at": short(row.final_at or row.created_at)}
    return _("received %(at)s") % {"at": short(row.created_at)}


# Who looked


WORDS = {
    "patients.listed": gettext_lazy("Found in a list or search"),
    "patients.opened": gettext_lazy("Opened the patient’s page"),
    "patients.registered": gettext_lazy("Registered the patient"),
    "patients.linked": gettext_lazy("Linked an account"),
    "records.listed": gettext_lazy("Opened the list of records"),
    "records.version.read": gettext_lazy("Opened a record"),
    "records.version.downloaded": gettext_lazy("Downloaded a record"),
    "records.version.printed": gettext_lazy("Printed a record"),
    "records.version.uploaded": gettext_lazy("Added a record"),
    "records.receipt.downloaded": gettext_lazy("Downloaded a receipt"),
    "grants.created": gettext_lazy("Started sharing"),
    "grants.revoked": gettext_lazy("Stopped sharing"),
    "claims.created": gettext_lazy("Registered on the public page"),
    "claims.checked": gettext_lazy("Checked a person’s papers"),
    "claims.confirmed": gettext_lazy("Confirmed a person at the desk"),
    "claims.refused": gettext_lazy("Refused a person at the desk"),
    "staff.registered": gettext_lazy("Added a person to the staff"),
    "staff.ended": gettext_lazy("Ended a role"),
    "tokens.created": gettext_lazy("Made an access token"),
    "tokens.revoked": gettext_lazy("Stopped an access token"),
    "organisations.settings_changed": gettext_lazy("Changed the settings"),
    "log.opened": gettext_lazy("Opened the access log"),
    "access.refused": gettext_lazy("Asked for a page of another role"),
}
CHANNELS = {
    "api": gettext_lazy("by a program"),
    "task": gettext_lazy("automatic"),
    "command": gettext_lazy("by an operator"),
}
WHY = {
    "treatment": gettext_lazy("Treatment"),
    "care": gettext_lazy("Treatment"),
    "author": gettext_lazy("Author"),
    "consent": gettext_lazy("Consent"),
    "grant": gettext_lazy("Consent"),
    "own": gettext_lazy("Own access"),
    "own_record": gettext_lazy("Own access"),
    "refused": gettext_lazy("Refused"),
    "system": gettext_lazy("Automatic"),
    "emergency": gettext_lazy("Emergency"),
}


@dataclass
class LogRow:
    """One line; `times` counts equal neighbours that were folded into it, so nothing is left out."""

    at: datetime
    person: Any
    name: str
    role: str
    basis: str
    why: str
    what: str
    channel: str
    is_you: bool
    patient_name: str = ""
    href: str = ""
    avatar: str = ""
    tone: str = ""
    times: int = 1

    @property
    def time(self) -> str:
        return date_format(timezone.localtime(self.at), "H:i")

    @property
    def short(self) -> str:
        return short(self.at)


def log_rows(request: HttpRequest, entries: Iterable[Any], *, with_patient: bool = False) -> list[LogRow]:
    found: list[LogRow] = []
    for entry in entries:
        row = _log_row(request, entry, with_patient)
        last = found[-1] if found else None
        if last and _same(last, row):
            last.times += 1
        else:
            found.append(row)
    return found


def by_day(listed: Iterable[LogRow]) -> list[dict]:
    days = groupby(listed, key=lambda row: timezone.localdate(row.at))
    return [{"label": when(day, "day"), "rows": list(group)} for day, group in days]


def _same(one: LogRow, other: LogRow) -> bool:
    names = ("person", "basis", "what", "role", "href", "channel")
    return one.at.date() == other.at.date() and all(getattr(one, name) == getattr(other, name) for name in names)


def _log_row(request: HttpRequest, entry: Any, with_patient: bool) -> LogRow:
    basis = basis_of(entry)
    membership = entry.actor_membership
    if entry.actor_user is None:
        name, role = _("Automatic"), request.hospital.name
    elif membership is None:
        name, role = entry.actor_user.name or entry.actor_user.email, _("Patient")
    else:
        name = entry.actor_user.name
        place = membership.hospital.name
        role = f"{membership.title or membership.get_role_display()}, {place}"
    patient = entry.patient if with_patient else None
    return LogRow(
        at=entry.at,
        person=entry.actor_user_id,
        name=name,
        role=role,
        basis=basis,
        why=str(WHY.get(basis, _("Administration"))),
        what=_what(entry),
        channel=str(CHANNELS.get(entry.channel, "")),
        is_you=entry.actor_membership_id == request.membership.pk,
        patient_name=patient.full_name if patient else "",
        href=reverse("hospital:patient", args=[request.hospital.slug, patient.pk]) if patient else "",
        avatar={"emergency": "bolt", "refused": "refused", "system": "auto"}.get(basis, ""),
        tone={"emergency": "stop", "refused": "sys", "system": "sys"}.get(basis, ""),
    )


def _what(entry: Any) -> str:
    """A sentence for a dotted action; unknown ones read as their own words."""
    if entry.is_refused and entry.action.startswith("records.version."):
        return _("Asked for a record that is not open to them, so nothing was shown")
    return str(WORDS.get(entry.action, entry.action.replace(".", " ").replace("_", " ").capitalize()))
