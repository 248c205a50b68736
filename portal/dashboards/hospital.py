"""A hospital's home: tasks, what is being secured, recent patients, the state of the two chains."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from chain import selectors as chain_selectors
from hospitals import selectors as people
from hospitals.access import member_required
from hospitals.roles import Permission, decide
from portal import look
from portal.dashboards import figures
from portal.dashboards import hospital_rows as rows
from records import worklists

SECURE_SHOWN = 5
TASKS_SHOWN = 8
RECENTS_SHOWN = 6


@dataclass(frozen=True)
class Task:
    icon: str
    tone: str
    title: str
    href: str
    line: str
    chip: look.Look


@require_safe
@member_required(Permission.HOME)
def home(request: HttpRequest, slug: str) -> HttpResponse:
    may = rows.permissions(request)
    context = {
        "greeting": _greeting(request),
        "may": may,
        "tasks": _tasks(request, may),
        "chains": chain_rows(),
        "recents": recents(request, RECENTS_SHOWN) if may["search"] else [],
    }
    if decide(request.actor, Permission.AUDIT_READ):
        context |= {"numbers": figures.of_hospital(request.hospital), "as_of": figures.as_of()}
    if may["jobs"]:
        context |= _secure(request)
    return render(request, "hospital/home.html", context)


@require_safe
@member_required(Permission.UPLOAD_STATES)
def secure(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "hospital/_secure.html", _secure(request))


@require_safe
@member_required(Permission.HOME)
def chains(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "hospital/_chains.html", {"chains": chain_rows()})


def recents(request: HttpRequest, limit: int) -> list[rows.PatientRow]:
    found = people.patients_recent(membership=request.membership, limit=limit)
    newest = newest_words(request, [patient for patient, _opened in found])
    return [
        rows.patient_row(request, patient, newest=newest.get(patient.pk, ""), last=rows.short(opened))
        for patient, opened in found
    ]


def newest_words(request: HttpRequest, patients: list) -> dict:
    """ "Laboratory, 9 Nov" for each patient; titles stay sealed in lists of people."""
    return {
        patient_id: f"{look.CATEGORIES.get(category, look.CATEGORIES['other'])[1]}, {rows.short(day)}"
        for patient_id, category, day in worklists.newest_records(patients)
    }


def chain_rows() -> list[dict]:
    result = []
    for name in ("SUP", "MED"):
        status = chain_selectors.sync_status(name)
        state, line = "ok", _("Seals are confirmed within seconds.")
        if status.halted_reason:
            state, line = "halted", _("Following stopped for safety. Uploads wait, nothing is lost.")
        elif status.checked_at is None or (timezone.now() - status.checked_at).total_seconds() > 60:
            state, line = "down", _("No news for a while. Uploads wait, nothing is lost.")
        elif status.lag > figures.LAG_BLOCKS:
            state = "behind"
            line = _("%(n)s blocks behind. Uploads wait, nothing is lost.") % {"n": status.lag}
        result.append({"name": f"{name}chain", "state": state, "head": status.head, "line": line})
    return result


def _greeting(request: HttpRequest) -> str:
    hour = timezone.localtime().hour
    words = _("Good morning, %s") if hour < 12 else _("Good afternoon, %s") if hour < 18 else _("Good evening, %s")
    names = [word for word in request.user.name.split() if word.rstrip(".").lower() not in ("dr", "prof")]
    return words % (names[0] if names else request.user.email)


def _secure(request: HttpRequest) -> dict:
    own = None if request.membership.role == "admin" else request.membership
    states = ["received", "sealing", "sealed"]
    found = worklists.upload_rows(worklists.uploads(request.hospital, uploader=own, states=states)[:SECURE_SHOWN])
    may_open = rows.permissions(request)["read"]
    lines = [rows.upload_line(request, row, may_open=may_open) for row in found]
    return {"secure": lines, "secure_open": any(line.is_moving for line in lines)}


def _tasks(request: HttpRequest, may: dict) -> list[Task]:
    tasks = []
    slug = request.hospital.slug
    if may["jobs"]:
        own = None if may["all_jobs"] else request.membership
        waiting_files = worklists.uploads(request.hospital, uploader=own, states=["failed", "quarantined"])
        found = worklists.upload_rows(waiting_files[:TASKS_SHOWN])
        for row in found:
            title = row.title or row.name
            words = (
                _("%(title)s could not be secured") if row.state == "failed" else _("%(title)s is held for checking")
            )
            tasks.append(
                Task(
                    "warn",
                    "warn",
                    words % {"title": title},
                    reverse("hospital:jobs", args=[slug]) + f"?show=attention#u-{row.id}",
                    f"{row.patient_name}. {row.reason_text}",
                    look.STATES["record"][row.state],
                )
            )
    if may["claims"] and (waiting := people.claims_waiting(request.hospital).count()):
        tasks.append(
            Task(
                "id",
                "",
                ngettext("Check the identity of one person", "Check the identity of %(n)s people", waiting)
                % {"n": waiting},
                reverse("hospital:claims", args=[slug]),
                _("They registered on the public page and wait at the desk."),
                look.Look("wait", "clock", _("Waiting")),
            )
        )
    return tasks
