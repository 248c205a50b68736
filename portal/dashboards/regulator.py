"""The regulator's console: who is admitted, what the contracts are, how the chains are. Never clinical content."""

from collections.abc import Callable
from datetime import date
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from chain import selectors as chain_selectors
from hospitals import services
from hospitals.access import regulator_required
from hospitals.errors import HospitalsError, Invalid
from hospitals.models import Membership, Organisation
from hospitals.roles import Permission
from hospitals.tenancy import all_tenants
from hospitals.types import MembershipStatus, OrganisationKind, OrganisationStatus
from portal.dashboards import figures
from portal.dashboards.contracts import contracts_context
from portal.dashboards.operations import chain_rows, health_context
from portal.dashboards.public import ApplicationForm
from portal.dashboards.viewer import CHAINS
from records import ingest, oversight

ROWS_A_PAGE = 50
STATES = [
    ("pending", gettext_lazy("Pending")),
    ("final", gettext_lazy("Confirmed")),
    ("superseded", gettext_lazy("Superseded")),
    ("withdrawn", gettext_lazy("Entered in error")),
    ("erased", gettext_lazy("Erased")),
]


class AdmitForm(forms.Form):
    evidence = forms.FileField(
        label=gettext_lazy("Evidence for your decision"),
        required=False,
        help_text=gettext_lazy("The licence you checked, as PDF or picture. Only its seal goes to the chains."),
    )
    clean_evidence = ApplicationForm.clean_evidence


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=1000,
        help_text=gettext_lazy("At least 10 characters. It is kept in the log."),
    )


class QueryForm(forms.Form):
    hospital = forms.ChoiceField(label=gettext_lazy("Hospital"), required=False)
    state = forms.ChoiceField(
        label=gettext_lazy("State"), required=False, choices=[("", gettext_lazy("Any state")), *STATES]
    )
    chain = forms.ChoiceField(
        label=gettext_lazy("Chain"),
        required=False,
        choices=[("", gettext_lazy("Both chains")), ("SUP", "SUPchain"), ("MED", "MEDchain")],
    )
    since = forms.DateField(
        label=gettext_lazy("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        label=gettext_lazy("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        hospitals = (
            Organisation.objects.filter(kind=OrganisationKind.HOSPITAL).order_by("name").values_list("slug", "name")
        )
        self.fields["hospital"].choices = [("", _("All hospitals")), *hospitals]


@require_safe
@regulator_required(Permission.HOME)
def home(request: HttpRequest) -> HttpResponse:
    with all_tenants("regulator's overview: counts only"):
        found, hours = oversight.statistics(months=1), oversight.anchors_per_hour(hours=15)
        numbers = figures.of_regulator()
    top = max((hour["SUP"] + hour["MED"] for hour in hours), default=0) or 1
    return render(
        request,
        "regulator/home.html",
        {
            "figures": found,
            "numbers": numbers,
            "as_of": figures.as_of(),
            "month": timezone.localdate(),
            "admitted": sum(row.hospital.status == OrganisationStatus.ACTIVE for row in found.hospitals),
            "waiting": _applications().filter(status=OrganisationStatus.APPLIED).count(),
            "applications": _applications().filter(status=OrganisationStatus.APPLIED)[:5],
            "chains": chain_rows(),
            "bars": _bars(hours, top),
            "hours": hours,
            "now": timezone.now(),
        },
    )


@require_safe
@regulator_required(Permission.APPLICATION_DECIDE)
def applications(request: HttpRequest) -> HttpResponse:
    waiting = [OrganisationStatus.APPLIED, OrganisationStatus.ADMITTING]
    return render(
        request,
        "regulator/applications.html",
        {
            "waiting": _applications().filter(status__in=waiting),
            "decided": _applications().exclude(status__in=waiting).order_by("-decided_at")[:50],
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@regulator_required(Permission.APPLICATION_DECIDE)
def application(request: HttpRequest, slug: str) -> HttpResponse:
    organisation = get_object_or_404(_applications(), slug=slug)
    is_refusal = request.method == "POST" and request.POST.get("decision") == "refuse"
    admit = AdmitForm(request.POST if request.method == "POST" and not is_refusal else None, request.FILES or None)
    refuse = ReasonForm(request.POST if is_refusal else None)
    if request.method == "POST":
        if is_refusal and refuse.is_valid():
            done = _act(
                request,
                refuse,
                lambda: services.organisation_refuse(
                    actor=request.actor, organisation=organisation, reason=refuse.cleaned_data["reason"]
                ),
            )
            if done:
                messages.success(
                    request, _("%(name)s was refused. The reason is in the log.") % {"name": organisation.name}
                )
                return redirect("regulator:applications")
        elif not is_refusal and admit.is_valid():
            upload = admit.cleaned_data["evidence"]
            evidence = {"evidence_name": upload.name, "evidence": ingest.upload_bytes(upload)} if upload else {}
            done = _act(
                request,
                admit,
                lambda: services.organisation_admit(actor=request.actor, organisation=organisation, **evidence),
            )
            if done:
                messages.success(
                    request,
                    _("Admitted. %(name)s can start as soon as both chains have confirmed it, in about ten seconds.")
                    % {"name": organisation.name},
                )
                return redirect("regulator:organisation", organisation.slug)
    status = 422 if admit.errors or refuse.errors else 200
    return render(
        request,
        "regulator/application.html",
        {
            "organisation": organisation,
            "admit": admit,
            "refuse": refuse,
            "is_open": organisation.status == OrganisationStatus.APPLIED,
        },
        status=status,
    )


@require_safe
@regulator_required(Permission.APPLICATION_DECIDE)
def evidence(request: HttpRequest, slug: str) -> HttpResponse:
    organisation = get_object_or_404(_applications(), slug=slug)
    if not organisation.evidence_sealed:
        raise Http404
    response = HttpResponse(
        services.evidence_open(actor=request.actor, organisation=organisation), content_type="application/octet-stream"
    )
    response.headers["Content-Disposition"] = 'attachment; filename="evidence"'
    response.headers["Cache-Control"] = "no-store"
    return response


@require_safe
@regulator_required(Permission.ORGANISATION_SUPERVISE)
def organisations(request: HttpRequest) -> HttpResponse:
    with all_tenants("regulator's list of organisations: counts only"):
        rows = oversight.statistics(months=1).hospitals
    status = figures.chosen(request, "status", tuple(OrganisationStatus.values))
    if status:
        rows = [row for row in rows if row.hospital.status == status]
    filters = [("status", _("State"), [("", _("Any state")), *OrganisationStatus.choices])]
    return render(request, "regulator/organisations.html", {"rows": rows, "filters": filters})


@require_http_methods(["GET", "HEAD", "POST"])
@regulator_required(Permission.ORGANISATION_SUPERVISE)
def organisation(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(_applications(), slug=slug)
    form = ReasonForm(request.POST or None)
    if request.method == "POST":
        acts: dict[str, tuple[Callable, str]] = {
            "suspend": (
                services.organisation_suspend,
                _("%(name)s is suspended. It counts from now; the chains follow in seconds."),
            ),
            "expel": (services.organisation_expel, _("%(name)s was expelled.")),
        }
        choice = request.POST.get("act", "")
        if choice == "reinstate":
            if _act(request, form, lambda: services.organisation_reinstate(actor=request.actor, organisation=found)):
                messages.success(
                    request,
                    _("Lifted. %(name)s works again as soon as both chains have confirmed it.") % {"name": found.name},
                )
                return redirect("regulator:organisation", slug)
        elif choice in acts and form.is_valid():
            service, words = acts[choice]
            if _act(
                request,
                form,
                lambda: service(actor=request.actor, organisation=found, reason=form.cleaned_data["reason"]),
            ):
                messages.success(request, words % {"name": found.name})
                return redirect("regulator:organisation", slug)
    staff = (
        Membership.objects.filter(hospital=found, status=MembershipStatus.ACTIVE)
        .select_related("user")
        .order_by("role", "user__name")
    )
    with all_tenants("regulator's view of one organisation: counts only"):
        counts = next((row for row in oversight.statistics(months=1).hospitals if row.hospital.pk == found.pk), None)
    events = (
        chain_selectors.events_of(bytes(found.account_address), contract="Registry", limit=20)
        if found.account_address
        else []
    )
    return render(
        request,
        "regulator/organisation.html",
        {"organisation": found, "staff": staff[:200], "figures": counts, "form": form, "events": events},
        status=422 if form.errors else 200,
    )


@require_safe
@regulator_required(Permission.CHAIN_HEALTH)
def contracts(request: HttpRequest) -> HttpResponse:
    return render(request, "regulator/contracts.html", contracts_context())


@require_safe
@regulator_required(Permission.CHAIN_HEALTH)
def chains(request: HttpRequest) -> HttpResponse:
    return render(request, "regulator/chains.html", health_context())


@require_safe
@regulator_required(Permission.STATISTICS_READ)
def statistics(request: HttpRequest) -> HttpResponse:
    with all_tenants("regulator's statistics: counts only"):
        found, numbers = oversight.statistics(), figures.of_regulator()
    context = {
        "figures": found,
        "numbers": numbers,
        "as_of": figures.as_of(),
        "syncs": [chain_selectors.sync_status(name) for name in CHAINS],
    }
    return render(request, "regulator/statistics.html", context)


@require_safe
@regulator_required(Permission.RECORD_QUERY)
def query(request: HttpRequest) -> HttpResponse:
    form = QueryForm(request.GET or None)
    filters: dict[str, str | date | None] = form.cleaned_data if form.is_valid() else {}
    with all_tenants("regulator's record query: references, times and anchors only"):
        page = Paginator(oversight.record_query(**filters), ROWS_A_PAGE).get_page(request.GET.get("page"))
        rows = oversight.record_rows(page.object_list)
    return render(
        request, "regulator/query.html", {"form": form, "rows": rows, "page": page}, status=422 if form.errors else 200
    )


def _applications() -> Any:
    return (
        Organisation.objects.exclude(kind=OrganisationKind.REGULATOR)
        .select_related("decided_by")
        .order_by("applied_at")
    )


def _bars(hours: list[dict[str, Any]], top: int) -> list[dict[str, Any]]:
    """Two stacked bars an hour in a drawing of 300 x 140."""
    width, bars = 300 / len(hours), []
    for number, hour in enumerate(hours):
        sup, med = 136 * hour["SUP"] / top, 136 * hour["MED"] / top
        bars.append(
            {
                "x": round(number * width + 3, 1),
                "w": round(width - 6, 1),
                "sup_y": round(140 - sup, 1),
                "sup_h": round(sup, 1),
                "med_y": round(140 - sup - med, 1),
                "med_h": round(med, 1),
            }
        )
    return bars


def _act(request: HttpRequest, form: forms.Form, service: Callable[[], Any]) -> bool:
    """Runs one service; what it refuses stands by the field or above the page."""
    try:
        service()
    except Invalid as error:
        for field, words in error.fields.items():
            form.add_error(field if field in form.fields else None, words)
        return False
    except HospitalsError as error:
        messages.error(request, error.user_message)
        return False
    return True
