"""Health of the whole portal: what is wrong, since when, what to do. Operators and regulator see the same."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from chain import crosscheck
from chain import selectors as chain_selectors
from chain.conf import conf
from chain.heartbeats import STANDS_BY, STOPPED
from chain.models import Heartbeat
from hospitals.access import operator_required
from hospitals.admin import organisations_of
from portal import alarms
from portal.dashboards.viewer import CHAINS


@dataclass(frozen=True)
class PartRow:
    name: str
    place: str
    at: datetime | None
    note: str
    state: str  # ok, waiting, dead


@require_safe
@operator_required
def health(request: HttpRequest) -> HttpResponse:
    mine = None
    if not request.user.is_superuser:
        mine = set(organisations_of(request.user).values_list("slug", flat=True))
    return render(request, "operator/health.html", health_context(mine))


def health_context(organisations: set[str] | None = None) -> dict[str, Any]:
    """With `organisations`, what is about one organisation is shown for these only."""

    def is_shown(row: alarms.Shown) -> bool:
        return organisations is None or not row.kind.is_tenant or row.alarm.subject in organisations

    found = [row for row in alarms.alarms_all() if is_shown(row)]
    return {
        "alarms": alarms.alarms_grouped(found),
        "alarm_count": len(found),
        "heads": crosscheck.heads_status(),
        "ended": [row for row in alarms.alarms_ended() if is_shown(row)],
        "parts": part_rows(),
        "chains": chain_rows(),
        "now": timezone.now(),
    }


def part_rows() -> list[PartRow]:
    """Every place where a part runs or ran lately, and the parts that nobody has seen."""
    now, rows, missing = timezone.now(), [], {**alarms.parts(), "watch": ""}
    for beat in Heartbeat.objects.order_by("part", "instance"):
        missing.pop(beat.part, None)
        is_dead = now - beat.at > timedelta(seconds=conf().dead_seconds)
        state = "dead" if is_dead else "waiting" if beat.note else "ok"
        rows.append(PartRow(part_name(beat.part), beat.instance, beat.at, note_words(beat.note), state))
    rows += [PartRow(part_name(part), "", None, "", "dead") for part in missing]
    return sorted(rows, key=lambda row: (row.state != "dead", row.name, row.place))


def note_words(note: str) -> str:
    """What keeps a part from its work."""
    words = {
        "": "",
        STANDS_BY: _("Stands by for another"),
        STOPPED: _("Stopped for safety"),
        "OperationalError": _("Waits for the database"),
        "RpcUnavailable": _("Waits for the node"),
        "RpcInconsistent": _("Waits for the node"),
        "RpcLimited": _("Waits for the node"),
    }
    return words.get(note, _("Waits: %(reason)s") % {"reason": note})


def part_name(part: str) -> str:
    names = {
        "beat": _("Clock"),
        "indexer": _("Indexer"),
        "projector": _("Projector"),
        "queue": _("Message queue"),
        "sender": _("Sender"),
        "watch": _("Watch"),
        "worker": _("Worker"),
    }
    job, _colon, chain = part.partition(":")
    return f"{names.get(job, job)} {chain}".strip()


def chain_rows() -> list[dict[str, Any]]:
    """Both chains as the index sees them: a node that lets us wait must not hold up a page."""
    found = []
    for name in CHAINS:
        sync = chain_selectors.sync_status(name)
        found.append(
            {
                "name": name,
                "sync": sync,
                "state": _chain_state(sync),
                "newest": chain_selectors.block_indexed(name),
                "queue": chain_selectors.queue_status(name),
            }
        )
    return found


def _chain_state(sync: Any) -> str:
    if sync.halted_reason:
        return "halted"
    if sync.checked_at is None or timezone.now() - sync.checked_at > timedelta(seconds=conf().silent_seconds):
        return "down"
    return "behind" if sync.is_behind else "ok"
