"""Sending files in, and following them until they are confirmed."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hospitals.access import member_required
from hospitals.roles import Permission
from portal import look
from portal.dashboards import hospital_rows as rows
from portal.dashboards.hospital_forms import UploadForm, VersionForm
from portal.dashboards.hospital_patients import patient_of
from records import ingest, selectors, services, worklists
from records.conf import conf
from records.errors import RecordsError
from records.inspection import ACCEPTED_EXTENSIONS

MAX_FILES = 20
UPLOADS_A_PAGE = 20
SHOWS = {"moving": ["received", "sealing", "sealed"], "attention": ["failed", "quarantined"], "all": None}


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.RECORD_UPLOAD)
def upload(request: HttpRequest, slug: str, patient_id: Any) -> HttpResponse:
    return _upload(request, patient_of(request, patient_id), UploadForm)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.RECORD_AUTHOR)
def version_new(request: HttpRequest, slug: str, record_id: Any) -> HttpResponse:
    record = selectors.record_of(request.hospital, record_id)
    if record is None:
        raise Http404
    return _upload(request, record.patient, VersionForm, target=record)


def _upload(request: HttpRequest, patient: Any, form_class: type, target: Any = None) -> HttpResponse:
    if request.method != "POST":
        initial = {"base_version": target.current_version} if target else None
        return _form_page(request, patient, form_class(initial=initial), target)
    form, files = form_class(request.POST), request.FILES.getlist("file")
    if not files:
        form.add_error(None, _("Choose at least one file."))
    if len(files) > MAX_FILES:
        form.add_error(None, _("Send at most %(n)s files at a time.") % {"n": MAX_FILES})
    if not form.is_valid():
        if _wants_json(request):
            words = " ".join(str(error) for errors in form.errors.values() for error in errors)
            return JsonResponse({"error": words}, status=422)
        return _form_page(request, patient, form, target, status=422)
    accepted, refused = [], []
    for number, file in enumerate(files, start=1):
        try:
            accepted.append(_receive(request, patient, form.cleaned_data, file, number, len(files), target))
        except RecordsError as error:
            refused.append({"name": file.name, "message": error.user_message, "status": error.http_status})
    if _wants_json(request):
        return _json_answer(accepted, refused)
    if refused:
        status = refused[0]["status"] if not accepted else 422
        return _form_page(request, patient, form, target, refused=refused, accepted=len(accepted), status=status)
    words = ngettext("Received. It is encrypted and confirmed by itself.", "%(n)s files received.", len(accepted))
    messages.success(request, words % {"n": len(accepted)})
    return redirect(reverse("hospital:jobs", args=[request.hospital.slug]))


def _receive(request: HttpRequest, patient: Any, values: dict, file: Any, number: int, of: int, target: Any) -> Any:
    if target is not None:
        return services.version_add(
            actor=request.actor,
            record=target,
            file=file,
            chains=values["chains"],
            base_version=values["base_version"],
        )
    chains = values["chains"] or default_chains(request, values["category"])
    title = values["title"].strip()
    # The script sends each file by itself and says which one of how many it is.
    number, of = values["part"] or number, values["parts"] or of
    if title and of > 1:
        title = f"{title} ({number} / {of})"
    return ingest.upload_receive(
        actor=request.actor,
        patient=patient,
        file=file,
        chains=chains,
        category=values["category"],
        title=title or file.name.rpartition(".")[0] or file.name,
        care_on=values["care_on"],
    )


def default_chains(request: HttpRequest, category: str) -> str:
    """MEDchain for what the hospital calls special, otherwise its usual choice."""
    hospital = request.hospital
    return "MED" if category in hospital.special_categories else hospital.default_chains


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "") == "application/json"


def _json_answer(accepted: list, refused: list) -> JsonResponse:
    if refused:
        return JsonResponse({"error": refused[0]["message"]}, status=refused[0]["status"])
    return JsonResponse({"id": str(accepted[0].pk), "state": accepted[0].state}, status=201)


def _form_page(
    request: HttpRequest,
    patient: Any,
    form: Any,
    target: Any,
    *,
    refused: list | None = None,
    accepted: int = 0,
    status: int = 200,
) -> HttpResponse:
    limit = conf().upload_max_bytes
    size = f"{limit / 10**9:.0f} GB" if limit >= 10**9 else f"{limit / 10**6:.0f} MB"
    special = [str(look.CATEGORIES[name][1]) for name in request.hospital.special_categories if name in look.CATEGORIES]
    context = {
        "patient": patient,
        "target": target,
        "form": form,
        "refused": refused or [],
        "accepted": accepted,
        "may": rows.permissions(request),
        "hint": _("PDF, PNG, JPEG, DICOM, text and more. Up to %(size)s each, %(n)s at a time.")
        % {"size": size, "n": 1 if target else MAX_FILES},
        "accept": ",".join(f".{extension}" for extension in ACCEPTED_EXTENSIONS),
        "max_files": 1 if target else MAX_FILES,
        "max_bytes": limit,
        "special": ", ".join(special),
        "chain_choices": _chain_choices(request),
        "chosen_chain": form["chains"].value() or "",
        "nav_current": "hospital:upload",
        **_states(request),
    }
    return render(request, "hospital/upload.html", context, status=status)


def _chain_choices(request: HttpRequest) -> list[dict]:
    usual = {"SUP": "SUPchain", "MED": "MEDchain", "BOTH": _("both chains")}[request.hospital.default_chains]
    return [
        {
            "value": "",
            "label": _("As the hospital decided"),
            "hint": _("The usual choice: %(usual)s, and MEDchain for special types.") % {"usual": usual},
        },
        {
            "value": "SUP",
            "label": "SUPchain",
            "hint": _("Shared by all hospitals, confirmed in about 10 seconds."),
        },
        {
            "value": "MED",
            "label": "MEDchain",
            "hint": _("Kept by hospitals and the health authority. Read by fewer parties."),
        },
        {
            "value": "BOTH",
            "label": _("Both"),
            "hint": _("Two independent proofs. Takes a little longer. Use for legal reports."),
        },
    ]


# Following


@require_safe
@member_required(Permission.UPLOAD_STATES)
def states(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "hospital/_states.html", _states(request))


def _states(request: HttpRequest) -> dict:
    """The newest upload of this person as four steps."""
    found = worklists.upload_rows(worklists.uploads(request.hospital, uploader=request.membership)[:1])
    line = rows.upload_line(request, found[0], may_open=False) if found else None
    return {
        "newest": line and {"title": line.title, "when": line.when, "problem": _problem(line)},
        "steps": steps(line),
        "states_open": bool(line and line.is_moving),
        "states_poll": reverse("hospital:upload_states", args=[request.hospital.slug]),
    }


def _problem(line: rows.UploadLine) -> dict | None:
    if line.state not in ("failed", "quarantined"):
        return None
    return {"title": look.STATES["record"][line.state].label, "line": line.reason}


def steps(line: rows.UploadLine | None) -> list[dict]:
    texts = [
        (_("Received"), _("Checked and kept encrypted from the first byte.")),
        (_("Encrypted"), _("Sealed with a key of its own.")),
        (_("Anchored"), _("Its seal goes to the shared ledger.")),
        (_("Confirmed"), _("Final after a few blocks, in about ten seconds.")),
    ]
    reached = line.step_number if line else 0
    result = []
    for number, (title, words) in enumerate(texts, start=1):
        state = "" if reached < number else "done"
        if line and line.is_moving and number == min(reached + 1, 4):
            state = "now"
        if line and not line.is_moving and line.state != "final":
            state = "done" if number == 1 else ""
        chip = None
        if state == "done":
            chip = look.Look("ok", "okay", _("Done"))
        elif state == "now":
            chip = look.Look("info", "clock", _("Under way"))
            if line.state == "mined" and line.m:
                chip = look.Look("info", "chain", _("%(n)s of %(m)s blocks") % {"n": line.n, "m": line.m})
        result.append({"number": number, "state": state, "title": title, "line": words, "chip": chip})
    return result


@require_safe
@member_required(Permission.UPLOAD_STATES)
def jobs(request: HttpRequest, slug: str) -> HttpResponse:
    may = rows.permissions(request)
    show = request.GET.get("show", "all")
    show = show if show in SHOWS else "all"
    own = None if may["all_jobs"] else request.membership
    found = worklists.uploads(request.hospital, uploader=own, states=SHOWS[show])
    page = Paginator(found, UPLOADS_A_PAGE).get_page(request.GET.get("page"))
    listed = worklists.upload_rows(page.object_list)
    lines = [rows.upload_line(request, row, may_open=may["read"]) for row in listed]
    base = reverse("hospital:jobs", args=[slug])
    context = {
        "may": may,
        "page": page,
        "rows": lines,
        "jobs_open": any(line.is_moving for line in lines),
        "jobs_poll": f"{base}?show={show}&page={page.number}",
        "empty": _empty(show),
        "tabs": [
            {
                "href": f"{base}?show={value}" if value != "all" else base,
                "label": label,
                "current": value == show,
            }
            for value, label in (
                ("all", _("All")),
                ("attention", _("Need attention")),
                ("moving", _("On their way")),
            )
        ],
    }
    name = "hospital/_jobs.html" if request.headers.get("HX-Request") == "true" else "hospital/jobs.html"
    return render(request, name, context)


def _empty(show: str) -> dict:
    if show == "attention":
        return {
            "title": _("Nothing needs attention"),
            "line": _("Files that could not be secured would be here, with the reason."),
        }
    if show == "moving":
        return {"title": _("Nothing is on its way"), "line": _("All files are encrypted and anchored.")}
    return {
        "title": _("Nothing uploaded yet"),
        "line": _("Choose “Upload a record”. Each file shows its steps here until it is confirmed."),
    }


@require_POST
@member_required(Permission.RECORD_UPLOAD)
def retry(request: HttpRequest, slug: str, upload_id: Any) -> HttpResponse:
    services.upload_retry(actor=request.actor, upload=_upload_of(request, upload_id))
    messages.success(request, _("It is tried again. The file did not have to be sent a second time."))
    return redirect("hospital:jobs", slug)


@require_POST
@member_required(Permission.UPLOAD_STATES)
def discard(request: HttpRequest, slug: str, upload_id: Any) -> HttpResponse:
    services.upload_discard(actor=request.actor, upload=_upload_of(request, upload_id))
    messages.success(request, _("Discarded. Its bytes are destroyed."))
    return redirect("hospital:jobs", slug)


def _upload_of(request: HttpRequest, upload_id: Any) -> Any:
    """One's own, or anyone's for the administrator; everything else is not found."""
    found = worklists.upload_of(request.hospital, upload_id)
    if found is None or (found.uploader_id != request.membership.pk and request.membership.role != "admin"):
        raise Http404
    return found
