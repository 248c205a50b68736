"""One record: what it says, its proof in words, its versions, who looked. And what other hospitals' patients share."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from hospitals import selectors as people
from hospitals.access import member_required
from hospitals.roles import Permission, decide
from hospitals.services import looks
from hospitals.tenancy import tenant
from portal import look
from portal.dashboards import content as contents
from portal.dashboards import hospital_rows as rows
from portal.dashboards.hospital_forms import WithdrawForm
from records import delivery, gate, proofs, receipts, selectors, services, sharing
from records.errors import RecordAltered

LOOKED_SHOWN = 20
OPEN_PROOFS = frozenset({"sealed", "queued", "broadcast", "mined", "anchored"})


@require_safe
@member_required(Permission.RECORD_READ)
def record(request: HttpRequest, slug: str, record_id: Any, number: int | None = None) -> HttpResponse:
    version = gate.locate_version(actor=request.actor, record_id=record_id, number=number)
    with tenant(version.hospital_id):
        shown = _content(request, version)
        view = proofs.record_view(version=version, actor=request.actor, opened=shown)
        view = _with_urls(request, view)
        is_own = version.hospital_id == request.hospital.pk
        entries = _looks(version) if is_own else []
        context = {
            "record": version.record,
            "version": version,
            "view": view,
            "content": shown,
            "is_current": version.number == version.record.current_version,
            "is_own": is_own,
            "may": _may(request, version, is_own),
            "facts": _facts(version, view, shown),
            "lede": _lede(version, view),
            "looked": rows.log_rows(request, entries),
            "back": _back(request, version, is_own),
            "receipt_url": _url(request, "record_receipt", version),
            "check_url": request.path,
            **_polling(request, version, view),
            "nav_current": "hospital:patients" if is_own else "hospital:shared",
        }
        return render(request, "hospital/record.html", context)


@require_safe
@member_required(Permission.RECORD_READ)
def proof(request: HttpRequest, slug: str, record_id: Any, number: int) -> HttpResponse:
    """The state of the proof, asked again while it is on its way. No content, so nothing is released."""
    version = gate.locate_version(actor=request.actor, record_id=record_id, number=number)
    if not gate.decide(actor=request.actor, action="read", record=version.record):
        raise Http404
    with tenant(version.hospital_id):
        view = proofs.record_view(version=version, actor=request.actor)
        context = {
            "view": view,
            "receipt_url": _url(request, "record_receipt", version),
            "check_url": reverse("hospital:record", args=[slug, record_id]),
            **_polling(request, version, view),
        }
        return render(request, "hospital/_proof.html", context)


@require_safe
@member_required(Permission.RECORD_READ)
def file(request: HttpRequest, slug: str, record_id: Any, number: int) -> HttpResponse:
    version = gate.locate_version(actor=request.actor, record_id=record_id, number=number)
    return delivery.deliver(request, actor=request.actor, version=version, purpose="TREAT", action="download")


@require_safe
@member_required(Permission.RECORD_READ)
def print_page(request: HttpRequest, slug: str, record_id: Any, number: int) -> HttpResponse:
    version = gate.locate_version(actor=request.actor, record_id=record_id, number=number)
    with tenant(version.hospital_id):
        shown = contents.preview(actor=request.actor, version=version, action="print")
        view = proofs.record_view(version=version, actor=request.actor)
        stamp = _("Printed by %(name)s, %(hospital)s. %(patient)s, born %(born)s, %(mrn)s.") % {
            "name": request.user.name,
            "hospital": request.hospital.name,
            "patient": version.record.patient.full_name,
            "born": date_format(version.record.patient.birth_date, "j M Y"),
            "mrn": version.record.patient.mrn,
        }
        back = {"href": reverse("hospital:record", args=[slug, record_id]), "label": view.title}
        context = {"content": shown, "title": view.title, "lede": _lede(version, view), "stamp": stamp, "back": back}
        return render(request, "hospital/print.html", context)


@require_safe
@member_required(Permission.RECORD_READ)
def receipt(request: HttpRequest, slug: str, record_id: Any, number: int) -> HttpResponse:
    version = gate.locate_version(actor=request.actor, record_id=record_id, number=number)
    document = receipts.receipt_build(actor=request.actor, version=version)
    response = HttpResponse(receipts.receipt_bytes(document), content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="receipt-{str(record_id)[:8]}-v{number}.json"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.RECORD_WITHDRAW)
def withdraw(request: HttpRequest, slug: str, record_id: Any) -> HttpResponse:
    version = gate.locate_version(actor=request.actor, record_id=record_id)
    found = version.record
    if found.hospital_id != request.hospital.pk or found.status != "active":
        raise Http404
    if not gate.decide(actor=request.actor, action="read", record=found):
        raise Http404
    form = WithdrawForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        services.record_withdraw(actor=request.actor, record=found, reason=form.cleaned_data["reason"])
        messages.success(request, _("Withdrawn. The patient and everybody here see that it was entered in error."))
        return redirect("hospital:patient", slug, found.patient_id)
    context = {
        "form": form,
        "record": found,
        "patient": found.patient,
        "title": selectors.record_title(found),
        "nav_current": "hospital:patients",
    }
    return render(request, "hospital/withdraw.html", context, status=422 if form.errors else 200)


@require_safe
@member_required(Permission.SHARED_READ)
def shared(request: HttpRequest, slug: str) -> HttpResponse:
    found = sharing.shared_groups(request.membership)
    for group in found:
        if group.rows:
            looks.records_listed(
                actor=request.actor,
                patient=group.grant.patient,
                count=len(group.rows),
                basis=f"consent:{group.grant.pk}",
            )
    groups = [
        {
            "patient": group.grant.patient.full_name,
            "line": group.grant.hospital.name,
            "terms": _terms(group.grant),
            "rows": [rows.timeline_row(request, row) for row in group.rows],
        }
        for group in found
    ]
    return render(request, "hospital/shared.html", {"groups": groups})


def _terms(grant: Any) -> str:
    what = {
        "all": _("Everything"),
        "category": _("Records of the kind “%(kind)s”")
        % {"kind": look.CATEGORIES.get(grant.scope_value, look.CATEGORIES["other"])[1]},
        "record": _("One record"),
    }[grant.scope_type]
    return _("%(what)s, for %(why)s, until %(day)s.") % {
        "what": what,
        "why": grant.get_purpose_display().lower(),
        "day": date_format(timezone.localtime(grant.expires_at), "j F Y, H:i"),
    }


# Parts of the page


def _content(request: HttpRequest, version: Any) -> contents.Preview:
    """One release. A withdrawn or erased record has no content left to show, only its history."""
    if version.record.status != "active":
        if version.hospital_id != request.hospital.pk:
            raise Http404
        return contents.GONE
    try:
        shown = contents.preview(actor=request.actor, version=version)
    except RecordAltered:
        return contents.GONE
    return replace(
        shown,
        download_url=_url(request, "record_file", version),
        print_url=_url(request, "record_print", version),
    )


def _url(request: HttpRequest, name: str, version: Any) -> str:
    return reverse(f"hospital:{name}", args=[request.hospital.slug, version.record_id, version.number])


def _with_urls(request: HttpRequest, view: Any) -> Any:
    slug = request.hospital.slug
    versions = [
        row
        if row.number == view.version_number
        else replace(row, url=reverse("hospital:record_version", args=[slug, view.id, row.number]))
        for row in view.versions
    ]
    return replace(view, versions=versions, title=view.title or _("Withdrawn record"))


def _polling(request: HttpRequest, version: Any, view: Any) -> dict:
    is_open = view.state in OPEN_PROOFS
    return {"proof_is_open": is_open, "proof_poll": _url(request, "record_proof", version) if is_open else ""}


def _may(request: HttpRequest, version: Any, is_own: bool) -> dict[str, bool]:
    is_active = version.record.status == "active" and version.number == version.record.current_version
    return {
        "withdraw": is_own and is_active and bool(decide(request.actor, Permission.RECORD_WITHDRAW)),
        "correct": is_own and is_active and bool(decide(request.actor, Permission.RECORD_AUTHOR)),
    }


def _looks(version: Any) -> Iterable[Any]:
    found = people.audit_of(version.record.hospital, {"patient": version.record.patient_id})
    return found.filter(target_type="record", target_id=str(version.record_id))[:LOOKED_SHOWN]


def _facts(version: Any, view: Any, shown: contents.Preview) -> list[tuple[str, str]]:
    facts = [
        (_("Patient"), version.record.patient.full_name),
        (_("Type"), str(look.CATEGORIES.get(view.category, look.CATEGORIES["other"])[1])),
        (_("Care on"), date_format(view.care_on, "j M Y") if view.care_on else _("Not stated")),
        (_("Added"), date_format(view.created_at, "j M Y, H:i")),
        (_("By"), view.author_name),
        (_("Seal on"), str(rows.CHAINS.get(view.chains, view.chains))),
    ]
    if shown.basis.startswith("consent"):
        facts.append((_("You see it by"), _("Consent of the patient")))
    elif shown.basis:
        facts.append((_("You see it by"), _("Treatment here")))
    return facts


def _lede(version: Any, view: Any) -> str:
    patient = version.record.patient
    return _("%(patient)s, born %(born)s. Written by %(author)s, %(hospital)s.") % {
        "patient": patient.full_name,
        "born": date_format(patient.birth_date, "j M Y"),
        "author": view.author_name,
        "hospital": version.record.hospital.name,
    }


def _back(request: HttpRequest, version: Any, is_own: bool) -> dict[str, str]:
    slug = request.hospital.slug
    if not is_own:
        return {"href": reverse("hospital:shared", args=[slug]), "label": _("Shared with us")}
    href = reverse("hospital:patient", args=[slug, version.record.patient_id])
    return {"href": href, "label": version.record.patient.full_name}
