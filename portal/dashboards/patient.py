"""The patient's pages: home, records, and who looked."""

import csv
import io
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from hospitals import audit, log_export
from hospitals.access import patient_required
from hospitals.tenancy import tenant
from portal.dashboards import content as contents
from portal.dashboards import figures, log_proofs, log_rows
from portal.dashboards.patient_sharing import grant_rows
from records import delivery, gate, proofs, receipts, selectors
from records.errors import RecordAltered
from records.models import Category, GrantState, Purpose

ROWS_A_PAGE = 25
ENTRIES_A_PAGE = 50
LOOKS_READ = 200  # of these the newest few people are named on the home page


@require_safe
@patient_required
def home(request: HttpRequest) -> HttpResponse:
    looks = log_rows.queryset(request.registrations, days=figures.DAYS, reason="others")
    latest = [log_rows.row(entry, request.user) for entry in looks[:LOOKS_READ]]
    grants = [row for row in grant_rows(request.registrations) if row.is_open]
    return render(
        request,
        "patient/home.html",
        {
            "greeting": _greeting(),
            "first_name": (request.user.name or request.user.email).split()[0],
            "registrations": request.registrations,
            "pending": [patient for patient in request.registrations if patient.status == "pending"],
            "rows": selectors.timeline(request.registrations, actor=request.actor)[:3],
            "looks": {
                "count": looks.count(),
                "people": looks.order_by().values("actor_user").distinct().count(),
                "latest": list({entry.person: entry for entry in reversed(latest)}.values())[::-1][:4],
            },
            "grants": grants[:3],
            "numbers": _numbers(request, looks.count(), sum(row.state == GrantState.ACTIVE for row in grants)),
            "as_of": figures.as_of(),
        },
    )


def _numbers(request: HttpRequest, looks: int, shares: int) -> list[figures.Figure]:
    """Records, shares and looks; each link lists the same rows."""
    found = {
        state: len(selectors.timeline(request.registrations, actor=request.actor, state=state))
        for state in ("confirmed", "waiting")
    }
    records, log = reverse("patient:records"), reverse("patient:log")
    return [
        figures.Figure(_("Records confirmed"), found["confirmed"], f"{records}?state=confirmed"),
        figures.Figure(_("Records on their way"), found["waiting"], f"{records}?state=waiting"),
        figures.Figure(_("You share with"), shares, f"{reverse('patient:sharing')}?show=open"),
        figures.Figure(
            _("Looks by others"), looks, f"{log}?reason=others&days={figures.DAYS}", _("In the last 30 days")
        ),
    ]


@require_safe
@patient_required
def records(request: HttpRequest) -> HttpResponse:
    filters = {
        "category": request.GET.get("type", ""),
        "hospital": request.GET.get("hospital", ""),
        "hide_recent": request.GET.get("hide") == "14",
        "state": figures.chosen(request, "state", ("confirmed", "waiting")),
    }
    chosen = [p for p in request.registrations if filters["hospital"] in ("", p.hospital.slug)]
    rows = selectors.timeline(
        chosen,
        actor=request.actor,
        category=filters["category"] if filters["category"] in Category.values else "",
        before=timezone.localdate() - timezone.timedelta(days=14) if filters["hide_recent"] else None,
        state=filters["state"],
    )
    page = Paginator(rows, ROWS_A_PAGE).get_page(request.GET.get("page"))
    months = [
        {"label": date_format(month, "F Y"), "rows": list(group)}
        for month, group in groupby(page.object_list, key=lambda row: row.day.replace(day=1))
    ]
    return render(
        request,
        "patient/records.html",
        {
            "registrations": request.registrations,
            "categories": Category.choices,
            "filters": filters,
            "is_filtered": any(filters.values()),
            "page": page,
            "months": months,
        },
    )


@require_safe
@patient_required
def record(request: HttpRequest, record_id: uuid.UUID, number: int | None = None) -> HttpResponse:
    version = gate.locate_version(actor=request.actor, record_id=record_id, number=number)
    with tenant(version.hospital_id):
        shown = _content(request, version)
        view = proofs.record_view(version=version, actor=request.actor, opened=shown)
        versions = [
            row if row.number == view.version_number else replace(row, url=_version_url(record_id, row.number))
            for row in view.versions
        ]
        context = {
            "view": replace(view, versions=versions),
            "content": shown,
            "looks": log_rows.fold(log_rows.of_record(version.record, viewer=request.user)),
            "receipt_url": reverse("patient:receipt", args=[record_id, version.number]),
            "check_url": request.path,
        }
        return render(request, "patient/record.html", context)


@require_safe
@patient_required
def file(request: HttpRequest, record_id: uuid.UUID, number: int) -> HttpResponse:
    version = gate.locate_version(actor=request.actor, record_id=record_id, number=number)
    return delivery.deliver(
        request, actor=request.actor, version=version, purpose=Purpose.PATIENT_REQUEST, action="download"
    )


@require_safe
@patient_required
def receipt(request: HttpRequest, record_id: uuid.UUID, number: int) -> HttpResponse:
    version = gate.locate_version(actor=request.actor, record_id=record_id, number=number)
    document = receipts.receipt_build(actor=request.actor, version=version, purpose=Purpose.PATIENT_REQUEST)
    return _saved(receipts.receipt_bytes(document), f"receipt-{record_id.hex[:8]}-v{number}.json")


@require_safe
@patient_required
def log(request: HttpRequest) -> HttpResponse:
    filters = {
        "hospital": request.GET.get("hospital", ""),
        "reason": request.GET.get("reason", ""),
        "days": request.GET.get("days", "30"),
        "show_automatic": request.GET.get("auto") == "1",
    }
    if filters["days"] not in dict(log_rows.PERIODS):
        filters["days"] = "30"
    _log_own(request, "log.opened")
    chosen = [p for p in request.registrations if filters["hospital"] in ("", p.hospital.slug)]
    found = log_rows.queryset(
        chosen, days=int(filters["days"]), reason=filters["reason"], is_automatic_shown=filters["show_automatic"]
    )
    page = Paginator(found, ENTRIES_A_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "patient/log.html",
        {
            "registrations": request.registrations,
            "completeness": [
                log_proofs.of_patient(patient, audit.verify_patient(patient)) for patient in request.registrations
            ],
            "filters": filters,
            "reasons": log_rows.REASONS,
            "periods": log_rows.PERIODS,
            "page": page,
            "days": log_rows.by_day(log_rows.rows(page.object_list, viewer=request.user)),
        },
    )


@require_safe
@patient_required
def log_csv(request: HttpRequest) -> HttpResponse:
    """Six years, one line an entry. A cell that a spreadsheet would run as a formula starts with an apostrophe."""
    _log_own(request, "log.exported")
    found = log_rows.queryset(request.registrations, days=2190, is_automatic_shown=True)
    rows = [log_rows.row(entry, request.user) for entry in found.iterator(chunk_size=500)]
    response = StreamingHttpResponse(_csv(rows), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="who-looked.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response


@require_safe
@patient_required
def log_proof(request: HttpRequest, patient_id: uuid.UUID) -> HttpResponse:
    patient = next((p for p in request.registrations if p.pk == patient_id), None)
    if patient is None:
        raise Http404
    # The export writes its own entry, so that it is the newest one in it.
    return _saved(log_export.export(actor=request.actor, patient=patient), f"who-looked-{patient.hospital.slug}.json")


def _content(request: HttpRequest, version: Any) -> contents.Preview:
    """One release, so one entry; a withdrawn or erased record has nothing left to show."""
    if version.record.status != "active":
        return contents.GONE
    try:
        shown = contents.preview(actor=request.actor, version=version, purpose=Purpose.PATIENT_REQUEST)
    except RecordAltered:
        return contents.GONE
    return replace(shown, download_url=reverse("patient:file", args=[version.record_id, version.number]))


def _version_url(record_id: uuid.UUID, number: int) -> str:
    return reverse("patient:version", args=[record_id, number])


def _log_own(request: HttpRequest, action: str) -> None:
    """The person's own looks are entries like all others."""
    for patient in request.registrations:
        audit.append(
            hospital=patient.hospital,
            actor=request.actor,
            action=action,
            patient=patient,
            basis="own",
            purpose=Purpose.PATIENT_REQUEST,
        )


def _csv(rows: list[log_rows.LogRow]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["number", "at", "person", "role and place", "reason", "what", "refused"])
    for row in rows:
        cells = [
            row.number,
            row.at.isoformat(),
            row.name,
            row.place,
            row.basis,
            row.what,
            "yes" if row.is_refused else "no",
        ]
        writer.writerow([f"'{cell}" if str(cell)[:1] in "=+-@\t\r" else cell for cell in cells])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _saved(body: bytes, name: str) -> HttpResponse:
    response = HttpResponse(body, content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _greeting() -> str:
    hour = timezone.localtime().hour
    return _("Good morning") if hour < 12 else _("Good afternoon") if hour < 18 else _("Good evening")
