"""The rows behind the regulator's numbers: seals, shares and log entries under references, never under names."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from chain import selectors as chain_selectors
from hospitals.access import regulator_required
from hospitals.models import Organisation
from hospitals.roles import Permission
from hospitals.services import looks
from hospitals.tenancy import all_tenants
from hospitals.types import OrganisationKind
from portal.dashboards.figures import as_of, chosen, day_of, page_of
from portal.dashboards.log_rows import basis_of
from records import figures

CHAINS = [("", _("Both chains")), ("SUP", "SUPchain"), ("MED", "MEDchain")]
SEALS = [
    ("", _("Any state")),
    ("final", _("Confirmed")),
    ("waiting", _("On their way")),
    ("late", _("On their way for over 1 hour")),
]
SHARES = [
    ("", _("Any state")),
    ("open", _("Open")),
    ("pending", _("Being confirmed")),
    ("stopped", _("Stopped by the patient")),
    ("ended", _("Ended by themselves")),
]
PERIODS = [("30", _("Last 30 days")), ("365", _("Last year")), ("", _("All"))]


def _hospitals() -> list[tuple[str, str]]:
    found = Organisation.objects.exclude(kind=OrganisationKind.REGULATOR).order_by("name")
    return [("", _("All organisations")), *found.values_list("slug", "name")]


def _hospital(request: HttpRequest) -> Organisation | None:
    return Organisation.objects.filter(slug=request.GET.get("hospital", "")).first()


@require_safe
@regulator_required(Permission.RECORD_QUERY)
def seals(request: HttpRequest) -> HttpResponse:
    values = {
        "chain": chosen(request, "chain", ("SUP", "MED")),
        "state": chosen(request, "state", figures.SEAL_STATES),
        "since": day_of(request.GET.get("since", "")),
    }
    with all_tenants("regulator's list of seals: references, blocks and times only"):
        page = page_of(request, figures.seals(hospital=_hospital(request), **values))
        filters = [
            ("hospital", _("Organisation"), _hospitals()),
            ("chain", _("Chain"), CHAINS),
            ("state", _("State"), SEALS),
        ]
        context = {
            "page": page,
            "rows": list(page.object_list),
            "filters": filters,
            "as_of": as_of(),
            "nav_current": "regulator:statistics",
        }
    return render(request, "regulator/seals.html", context)


@require_safe
@regulator_required(Permission.STATISTICS_READ)
def shares(request: HttpRequest) -> HttpResponse:
    values = {
        "state": chosen(request, "state", figures.SHARE_STATES),
        "month": day_of(f"{request.GET.get('month', '')}-01"),
    }
    with all_tenants("regulator's list of shares: hospitals, blocks and times only"):
        page = page_of(request, figures.shares(hospital=_hospital(request), **values))
        filters = [("hospital", _("Organisation"), _hospitals()), ("state", _("State"), SHARES)]
        context = {
            "page": page,
            "rows": list(page.object_list),
            "filters": filters,
            "as_of": as_of(),
            "nav_current": "regulator:statistics",
        }
    return render(request, "regulator/shares.html", context)


@require_safe
@regulator_required(Permission.AUDIT_READ)
def accesses(request: HttpRequest) -> HttpResponse:
    days = chosen(request, "days", ("30", "365"))
    with all_tenants("regulator's list of log entries: numbers, times and kinds only"):
        page = page_of(
            request,
            figures.accesses(
                hospital=_hospital(request),
                days=int(days) if days else None,
                is_refused=request.GET.get("refused") == "1",
            ),
        )
        entries = list(page.object_list)
        filters = [("hospital", _("Organisation"), _hospitals()), ("days", _("Period"), PERIODS)]
    items = chain_selectors.items([entry.chain_ref for entry in entries])
    rows = [{"entry": entry, "basis": basis_of(entry), "item": items.get(entry.chain_ref)} for entry in entries]
    looks.log_opened(actor=request.actor, hospital=request.hospital)
    context = {"page": page, "rows": rows, "filters": filters, "as_of": as_of(), "nav_current": "regulator:statistics"}
    return render(request, "regulator/accesses.html", context)
