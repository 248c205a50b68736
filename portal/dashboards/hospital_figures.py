"""The rows behind the numbers on an administrator's or privacy officer's home: seals and shares of the hospital."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from hospitals.access import member_required
from hospitals.roles import Permission
from portal.dashboards.figures import as_of, chosen, page_of
from portal.dashboards.regulator_rows import CHAINS, SEALS, SHARES
from records import figures


@require_safe
@member_required(Permission.AUDIT_READ)
def seals(request: HttpRequest, slug: str) -> HttpResponse:
    values = {
        "chain": chosen(request, "chain", ("SUP", "MED")),
        "state": chosen(request, "state", figures.SEAL_STATES),
    }
    page = page_of(request, figures.seals(hospital=request.hospital, **values))
    filters = [("chain", _("Chain"), CHAINS), ("state", _("State"), SEALS)]
    context = {"page": page, "rows": list(page.object_list), "filters": filters, "as_of": as_of()}
    return render(request, "hospital/seals.html", context)


@require_safe
@member_required(Permission.AUDIT_READ)
def shares(request: HttpRequest, slug: str) -> HttpResponse:
    """To whom, until when and in which state; whose records they are is the patient's own page."""
    state = chosen(request, "state", figures.SHARE_STATES)
    page = page_of(request, figures.shares(hospital=request.hospital, state=state))
    context = {
        "page": page,
        "rows": list(page.object_list),
        "filters": [("state", _("State"), SHARES)],
        "as_of": as_of(),
    }
    return render(request, "hospital/shares.html", context)
