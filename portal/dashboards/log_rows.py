"""Log entries in the words people read: who, from where, why and what."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chain import selectors as chain_selectors
from hospitals.models import AuditEntry, Patient, User

# What an action is called on a patient's page; entries of other actions read as their first word says.
WORDS = {
    "patients.listed": gettext_lazy("Saw your name in a list"),
    "patients.opened": gettext_lazy("Opened your page"),
    "patients.registered": gettext_lazy("Registered you"),
    "patients.linked": gettext_lazy("Linked your account"),
    "patients.settings.changed": gettext_lazy("Changed what the hospital’s own staff may see"),
    "claims.checked": gettext_lazy("Checked your papers at the desk"),
    "claims.confirmed": gettext_lazy("Confirmed your registration"),
    "records.listed": gettext_lazy("Saw the list of your records"),
    "records.version.read": gettext_lazy("Opened a record"),
    "records.version.downloaded": gettext_lazy("Downloaded a record"),
    "records.version.printed": gettext_lazy("Printed a record"),
    "records.version.exported": gettext_lazy("Exported a record"),
    "records.version.uploaded": gettext_lazy("Added a record"),
    "records.version.unreadable": gettext_lazy("Found a record that no longer fits its seal"),
    "records.upload.retried": gettext_lazy("Tried again to add a record"),
    "records.upload.discarded": gettext_lazy("Discarded a file that was not added"),
    "records.record.withdrawn": gettext_lazy("Marked a record as entered in error"),
    "records.receipt.downloaded": gettext_lazy("Downloaded a receipt"),
    "grants.created": gettext_lazy("Started sharing"),
    "grants.revoked": gettext_lazy("Stopped sharing"),
    "log.opened": gettext_lazy("Opened this page"),
    "log.exported": gettext_lazy("Downloaded this list"),
}
REASONS = [
    ("others", gettext_lazy("Everybody but me")),
    ("treatment", gettext_lazy("Treatment")),
    ("consent", gettext_lazy("Your consent")),
    ("own", gettext_lazy("Own access")),
    ("refused", gettext_lazy("Refused")),
    ("administration", gettext_lazy("Administration")),
]
_STAFF = Q(actor_membership__isnull=False, is_refused=False)
_CLINICAL = Q(basis__startswith="treatment") | Q(basis__startswith="care") | Q(basis__startswith="author")
_CONSENT = Q(basis__startswith="consent") | Q(basis__startswith="grant")
_REASON_FILTERS = {
    # The automatic ones are nobody's looks.
    "others": Q(actor_user__isnull=False) & ~Q(actor_membership__isnull=True, actor_user=F("patient__user")),
    "treatment": _STAFF & _CLINICAL,
    "consent": _STAFF & _CONSENT,
    "own": Q(actor_membership__isnull=True, actor_user__isnull=False, is_refused=False),
    "refused": Q(is_refused=True),
    "administration": _STAFF & ~_CLINICAL & ~_CONSENT & ~Q(basis__startswith="emergency"),
}
PERIODS = [
    ("30", gettext_lazy("Last 30 days")),
    ("365", gettext_lazy("Last year")),
    ("2190", gettext_lazy("Last 6 years")),
]


@dataclass
class LogRow:
    """One line of the page; `times` counts equal looks of one person on one day that were folded into it."""

    at: datetime
    person: uuid.UUID | None
    name: str
    place: str
    basis: str
    what: str
    number: int
    chain_ref: str
    is_own: bool
    is_refused: bool
    is_automatic: bool
    icon: str = ""
    tone: str = ""
    times: int = 1
    block_number: int | None = None


def basis_of(entry: AuditEntry) -> str:
    """The reason as the status tag knows it."""
    if entry.is_refused:
        return "refused"
    if entry.actor_user_id is None:
        return "system"
    if entry.actor_membership_id is None:
        return "own"
    kind = entry.basis.partition(":")[0]
    return kind if kind in ("treatment", "care", "consent", "grant", "emergency", "author") else "administration"


def queryset(
    patients: Sequence[Patient], *, days: int, reason: str = "", is_automatic_shown: bool = True
) -> QuerySet[AuditEntry]:
    found = AuditEntry.objects.filter(patient__in=patients, at__gte=timezone.now() - timedelta(days=days))
    if not is_automatic_shown:
        found = found.filter(actor_user__isnull=False)
    if reason in _REASON_FILTERS:
        found = found.filter(_REASON_FILTERS[reason])
    return _related(found)


def of_record(record: Any, *, viewer: User, limit: int = 100) -> list[LogRow]:
    """Who looked at one record; its patient's scope must be open."""
    found = AuditEntry.objects.filter(patient=record.patient_id, target_type="record", target_id=str(record.pk))
    return [row(entry, viewer) for entry in _related(found)[:limit]]


def _related(found: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
    return found.select_related("hospital", "actor_user", "actor_membership__hospital").order_by("-at", "-seq")


def rows(entries: Iterable[AuditEntry], *, viewer: User) -> list[LogRow]:
    """Rows with the block that holds each leaf, in one query for all of them."""
    found = [row(entry, viewer) for entry in entries]
    items = chain_selectors.items([line.chain_ref for line in found])
    for line in found:
        item = items.get(line.chain_ref)
        if item is not None and item.state == "final":
            line.block_number = item.block_number
    return found


def fold(found: Sequence[LogRow]) -> list[LogRow]:
    """Neighbouring equal looks become one line with a count; nothing is left out."""
    folded: list[LogRow] = []
    for row in found:
        last = folded[-1] if folded else None
        if last and (last.person, last.basis, last.what, last.place) == (row.person, row.basis, row.what, row.place):
            last.times += 1
        else:
            folded.append(row)
    return folded


def by_day(found: Sequence[LogRow]) -> list[dict[str, Any]]:
    days = groupby(found, key=lambda row: timezone.localdate(row.at))
    return [{"at": day, "entries": fold(list(group))} for day, group in days]


def row(entry: AuditEntry, viewer: User) -> LogRow:
    basis = basis_of(entry)
    is_own = entry.actor_membership_id is None and entry.actor_user_id == viewer.pk
    membership = entry.actor_membership
    if is_own:
        name, place = _("You"), entry.hospital.name
    elif entry.actor_user is None:
        name, place = _("Automatic check"), entry.hospital.name
    else:
        role = membership.title or membership.get_role_display() if membership else _("Patient")
        where = membership.hospital.name if membership else entry.hospital.name
        name, place = entry.actor_user.name, f"{role}, {where}"
    return LogRow(
        at=entry.at,
        person=entry.actor_user_id,
        name=name,
        place=place,
        basis=basis,
        what=_what(entry),
        number=entry.patient_seq or entry.seq,
        chain_ref=entry.chain_ref,
        is_own=is_own,
        is_refused=entry.is_refused,
        is_automatic=entry.actor_user is None,
        icon={"emergency": "bolt", "refused": "refused", "system": "auto"}.get(basis, ""),
        tone={"emergency": "stop", "refused": "sys", "system": "sys"}.get(basis, ""),
    )


def _what(entry: AuditEntry) -> str:
    if entry.is_refused:
        return _("Asked for something that is not open to them, so nothing was shown")
    count = entry.detail.get("count") if entry.detail else None
    words = WORDS.get(entry.action)
    if words is None:
        words = entry.action.replace(".", " ").replace("_", " ").capitalize()
    if isinstance(count, int) and count > 1:
        return ngettext("%(what)s, %(n)d record", "%(what)s, %(n)d records", count) % {"what": words, "n": count}
    return str(words)
