"""People who registered on the public page and wait for the desk to see their papers."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from hospitals import selectors as people
from hospitals import services
from hospitals.access import member_required
from hospitals.roles import Permission
from portal import look
from portal.dashboards import hospital_rows as rows
from portal.templatetags.portal_ui import when


@require_safe
@member_required(Permission.CLAIM_CHECK)
def claims(request: HttpRequest, slug: str) -> HttpResponse:
    waiting = people.claims_waiting(request.hospital)
    return render(
        request,
        "hospital/claims.html",
        {"rows": [_row(request, claim) for claim in waiting], "nav_current": "hospital:patients"},
    )


@require_POST
@member_required(Permission.CLAIM_CHECK)
def decide(request: HttpRequest, slug: str, claim_id: Any) -> HttpResponse:
    claim = people.claims_waiting(request.hospital).filter(pk=claim_id).first()
    if claim is None:
        raise Http404
    if request.POST.get("step") == "refuse":
        services.patient_claim_refuse(actor=request.actor, claim=claim, reason=_("The papers did not fit the entry."))
        messages.success(request, _("Refused. Nothing was opened."))
        return redirect("hospital:claims", slug)
    patient = None
    if request.POST.get("patient"):
        patient = people.patient_visible(request.actor, _uuid(request.POST["patient"]))
    claim = services.patient_claim_confirm(actor=request.actor, claim=claim, patient=patient)
    if claim.patient_id:
        messages.success(request, _("Confirmed. The person can now read their records here."))
        return redirect("hospital:patient", slug, claim.patient_id)
    messages.success(request, _("Identity checked. A doctor registers the person next."))
    return redirect("hospital:claims", slug)


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Http404 from None


def _row(request: HttpRequest, claim: Any) -> dict:
    matches = people.patient_duplicates(
        hospital=request.hospital,
        given_name=claim.given_name,
        family_name=claim.family_name,
        birth_date=claim.birth_date,
    )
    may = rows.permissions(request)
    actions = []
    for patient in matches:
        label = _("Papers seen: this is %(name)s, %(mrn)s") % {"name": patient.full_name, "mrn": patient.mrn}
        actions.append({"step": "confirm", "patient": patient.pk, "label": label, "kind": ""})
    if not matches and claim.status == "waiting":
        actions.append({"step": "check", "label": _("Papers seen"), "kind": "" if not may["register"] else "secondary"})
    if not matches and may["register"]:
        actions.append({"step": "confirm", "label": _("Papers seen: register as a new patient"), "kind": ""})
    actions.append({"step": "refuse", "label": _("Refuse"), "kind": "danger"})
    words = [
        _("Born %(day)s") % {"day": when(claim.birth_date, "date")},
        claim.phone,
        _("registered %(at)s") % {"at": rows.short(claim.created_at)},
    ]
    return {
        "id": claim.pk,
        "name": f"{claim.given_name} {claim.family_name}",
        "line": " · ".join(word for word in words if word),
        "matches": matches,
        "match_line": _("A patient here has the same name and birth date."),
        "actions": actions,
        "chip": look.Look("info", "check", _("Identity checked"))
        if claim.status == "checked"
        else look.Look("wait", "clock", _("Waiting")),
    }
