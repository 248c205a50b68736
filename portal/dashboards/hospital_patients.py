"""Finding, registering and opening patients."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from hospitals import selectors as people
from hospitals import services
from hospitals.access import member_required
from hospitals.errors import Invalid
from hospitals.roles import Permission
from hospitals.services import looks
from hospitals.services.patients import LikelyDuplicate
from portal import look
from portal.dashboards import hospital_rows as rows
from portal.dashboards.hospital import newest_words, recents
from portal.dashboards.hospital_forms import CATEGORY_CHOICES, PatientForm, service_errors
from records import selectors
from records.models import Category

FOUND_A_PAGE = 10
RECORDS_A_PAGE = 20
ENTRIES_A_PAGE = 50
RECENTS_SHOWN = 10
LOOKED_SHOWN = 5
ALLERGIES_SHOWN = 5
STATES = ("final", "mined", "queued", "superseded", "withdrawn")


@require_safe
@member_required(Permission.PATIENT_SEARCH)
def search(request: HttpRequest, slug: str) -> HttpResponse:
    return _found(request, is_picking=False)


@require_safe
@member_required(Permission.RECORD_UPLOAD)
def pick(request: HttpRequest, slug: str) -> HttpResponse:
    """Upload begins with the person, so that a file does not land with the wrong one."""
    return _found(request, is_picking=True)


def _found(request: HttpRequest, *, is_picking: bool) -> HttpResponse:
    text = request.GET.get("q", "").strip()[:100]
    may = rows.permissions(request)
    route = "upload_for" if is_picking else "patient"
    context = {"q": text, "searched": bool(text), "picking": is_picking, "may": may}
    if may["claims"]:
        context["claims"] = people.claims_waiting(request.hospital).count()
    if text:
        page = Paginator(people.patient_search(hospital=request.hospital, text=text), FOUND_A_PAGE).get_page(
            request.GET.get("page")
        )
        # Before anything is shown: each listed person sees who looked.
        looks.patients_listed(actor=request.actor, hospital=request.hospital, patients=list(page.object_list))
        newest = newest_words(request, list(page.object_list))
        context |= {
            "page": page,
            "total": page.paginator.count,
            "rows": [
                rows.patient_row(
                    request,
                    patient,
                    newest=newest.get(patient.pk, ""),
                    last=rows.short(patient.registered_at),
                    route=route,
                )
                for patient in page.object_list
            ],
        }
    else:
        context["rows"] = recents(request, RECENTS_SHOWN)
    return render(request, "hospital/patients.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.PATIENT_REGISTER)
def register(request: HttpRequest, slug: str) -> HttpResponse:
    form = PatientForm(request.POST or None)
    duplicates: list = []
    if request.method == "POST" and form.is_valid():
        values = dict(form.cleaned_data)
        is_other = values.pop("is_other")
        try:
            patient = services.patient_register(
                actor=request.actor, hospital=request.hospital, is_duplicate_checked=is_other, **values
            )
        except LikelyDuplicate as likely:
            duplicates = likely.patients
            looks.patients_listed(actor=request.actor, hospital=request.hospital, patients=duplicates)
        except Invalid as invalid:
            service_errors(form, invalid)
        else:
            messages.success(request, _("Registered. The registry confirms it within about ten seconds."))
            return redirect("hospital:patient", slug, patient.pk)
    context = {
        "form": form,
        "duplicates": [rows.patient_row(request, patient) for patient in duplicates],
    }
    return render(request, "hospital/patient_new.html", context, status=422 if form.errors or duplicates else 200)


@require_safe
@member_required(Permission.PATIENT_READ)
def patient(request: HttpRequest, slug: str, patient_id) -> HttpResponse:
    found = patient_of(request, patient_id)
    may = rows.permissions(request)
    context = {"patient": found, "may": may, **_access(request, found, may)}
    if may["read"]:
        context |= _timeline(request, found)
        context["looked"] = rows.log_rows(
            request, people.audit_of(request.hospital, {"patient": found.pk})[:LOOKED_SHOWN]
        )
    else:
        looks.patient_opened(actor=request.actor, patient=found)
    return render(request, "hospital/patient.html", context)


@require_safe
@member_required(Permission.PATIENT_READ)
def log(request: HttpRequest, slug: str, patient_id) -> HttpResponse:
    found = patient_of(request, patient_id)
    may = rows.permissions(request)
    if not may["log"]:
        raise Http404
    page = Paginator(people.audit_of(request.hospital, {"patient": found.pk}), ENTRIES_A_PAGE).get_page(
        request.GET.get("page")
    )
    looks.log_opened(actor=request.actor, hospital=request.hospital, patient=found)
    context = {
        "patient": found,
        "may": may,
        "page": page,
        "days": rows.by_day(rows.log_rows(request, page.object_list)),
        **_access(request, found, may),
    }
    return render(request, "hospital/patient_log.html", context)


def patient_of(request: HttpRequest, patient_id):
    """A patient of this hospital, or the answer that a random id gets."""
    return people.patient_visible(request.actor, patient_id)


def _access(request: HttpRequest, found, may: dict) -> dict:
    name = request.hospital.name
    if not may["read"]:
        return {
            "you_see": _("Name and numbers"),
            "access": [
                (_("Basis"), _("Administration at %(name)s") % {"name": name}),
                (_("Records"), _("Not for your role")),
            ],
        }
    access = [
        (_("Basis"), _("Treatment at %(name)s") % {"name": name}),
        (_("Until"), _("While in care here")),
        (_("Account"), _("Has opened one") if found.user_id else _("Not opened yet")),
    ]
    return {"you_see": _("All care here"), "access": access}


def _timeline(request: HttpRequest, found: Any) -> dict:
    chosen = {name: request.GET.get(name, "") for name in ("type", "hospital", "state")}
    category = chosen["type"] if chosen["type"] in Category.values else ""
    listed = selectors.timeline([found], actor=request.actor, category=category)
    if chosen["state"] or chosen["hospital"]:
        # The state lives on the chain, so this one filter looks at every row.
        listed = [row for row in listed if _fits(row, chosen)]
    page = Paginator(listed, RECORDS_A_PAGE).get_page(request.GET.get("page"))
    shown = list(page.object_list)
    looks.records_listed(actor=request.actor, patient=found, count=len(shown))
    states = [(value, look.STATES["record"][value].label) for value in STATES]
    return {
        "page": page,
        "months": rows.by_month(rows.timeline_row(request, row) for row in shown),
        "total": page.paginator.count,
        "chosen": chosen,
        "is_filtered": any(chosen.values()),
        "allergies": _allergies(request, found),
        "filters": {
            "types": [("", _("All types")), *CATEGORY_CHOICES],
            "hospitals": [("", _("All")), (request.hospital.slug, request.hospital.name)],
            "states": [("", _("Any state")), *states],
        },
    }


def _fits(row: Any, chosen: dict[str, str]) -> bool:
    return chosen["hospital"] in ("", row.hospital.slug) and chosen["state"] in ("", row.state)


def _allergies(request: HttpRequest, found: Any) -> list[str]:
    listed = selectors.timeline([found], actor=request.actor, category=Category.ALLERGIES)
    return [row.title for row in listed[:ALLERGIES_SHOWN] if row.title]
