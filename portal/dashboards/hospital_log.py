"""The hospital's access log, for its privacy officer and administrator."""

import uuid
from datetime import timedelta

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from hospitals import selectors as people
from hospitals.access import member_required
from hospitals.models import AuditCheck
from hospitals.roles import Permission
from hospitals.services import looks
from portal.dashboards import hospital_rows as rows
from portal.dashboards import log_proofs

ENTRIES_A_PAGE = 50
KINDS = {
    "opened": {"actions": [f"records.version.{how}" for how in ("read", "downloaded", "printed", "exported")]},
    "searches": {"action": "patients.listed"},
    "refused": {"refused": True},
    "staff": {"action": "staff."},
    "log": {"action": "log."},
}
PERIODS = {"7": 7, "30": 30, "365": 365, "": None}


@require_safe
@member_required(Permission.AUDIT_READ)
def log(request: HttpRequest, slug: str) -> HttpResponse:
    chosen = {
        "person": request.GET.get("person", ""),
        "kind": request.GET.get("kind", ""),
        "days": request.GET.get("days", "30"),
    }
    days = PERIODS.get(chosen["days"], 30)
    filters = {
        "membership": _uuid(chosen["person"]),
        "since": timezone.now() - timedelta(days=days) if days else None,
        **KINDS.get(chosen["kind"], {}),
    }
    found = people.audit_of(request.hospital, filters)
    page = Paginator(found, ENTRIES_A_PAGE).get_page(request.GET.get("page"))
    listed = rows.log_rows(request, page.object_list, with_patient=True)
    looks.log_opened(actor=request.actor, hospital=request.hospital)
    context = {
        "proof": log_proofs.of_hospital(AuditCheck.objects.first()),
        "page": page,
        "days": rows.by_day(listed),
        "chosen": chosen,
        "filters": {
            "people": [("", _("Everybody"))] + [(str(m.pk), m.user.name) for m in people.staff_of(request.hospital)],
            "kinds": [
                ("", _("Everything")),
                ("opened", _("Records opened")),
                ("searches", _("Searches and lists")),
                ("refused", _("Refused")),
                ("staff", _("Staff and roles")),
                ("log", _("Readings of the log")),
            ],
            "periods": [
                ("7", _("Last 7 days")),
                ("30", _("Last 30 days")),
                ("365", _("Last year")),
                ("", _("All")),
            ],
        },
    }
    return render(request, "hospital/log.html", context)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
