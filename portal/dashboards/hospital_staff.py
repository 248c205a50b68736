"""Who works here, in which role, and since when the shared registry knows it."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from chain import selectors as chain_selectors
from hospitals import selectors as people
from hospitals import services
from hospitals.access import member_required
from hospitals.errors import Invalid
from hospitals.roles import Permission
from hospitals.types import ROLE_ON_CHAIN, Role
from portal import look
from portal.dashboards import hospital_rows as rows
from portal.dashboards.hospital_forms import StaffForm, service_errors

PEOPLE_A_PAGE = 25
ROLE_WORDS = [
    (
        Role.DOCTOR.label,
        gettext_lazy("Registers patients, reads, writes and withdraws records. In the shared registry."),
    ),
    (Role.NURSE.label, gettext_lazy("Reads and writes records. In the shared registry.")),
    (Role.CLERK.label, gettext_lazy("Finds patients, checks papers, uploads files. Opens no contents.")),
    (Role.PRIVACY.label, gettext_lazy("Reads the access log. Opens no contents.")),
    (Role.ADMIN.label, gettext_lazy("Adds and ends people, settings, access log. Opens no contents.")),
]


@require_safe
@member_required(Permission.STAFF_LIST)
def staff(request: HttpRequest, slug: str) -> HttpResponse:
    is_ended = request.GET.get("ended") == "1"
    listed = people.staff_of(request.hospital)
    listed = listed.filter(status="ended") if is_ended else listed.exclude(status="ended")
    page = Paginator(listed, PEOPLE_A_PAGE).get_page(request.GET.get("page"))
    members = list(page.object_list)
    removals = chain_selectors.items([member.end_ref for member in members if member.end_ref])
    lines = [_row(request, member, removals.get(member.end_ref)) for member in members]
    context = {
        "may": rows.permissions(request),
        "ended": is_ended,
        "page": page,
        "rows": lines,
        "staff_open": any(line["is_waiting"] for line in lines),
        "staff_poll": reverse("hospital:staff", args=[slug])
        + f"?page={page.number}"
        + ("&ended=1" if is_ended else ""),
    }
    name = "hospital/_staff.html" if request.headers.get("HX-Request") == "true" else "hospital/staff.html"
    return render(request, name, context)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.STAFF_MANAGE)
def staff_new(request: HttpRequest, slug: str) -> HttpResponse:
    form = StaffForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.staff_register(actor=request.actor, hospital=request.hospital, **form.cleaned_data)
        except Invalid as invalid:
            service_errors(form, invalid)
        else:
            messages.success(request, _("Added. An e-mail with a code is on its way to them."))
            return redirect("hospital:staff", slug)
    context = {"form": form, "role_words": ROLE_WORDS, "nav_current": "hospital:staff"}
    return render(request, "hospital/staff_new.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.STAFF_MANAGE)
def staff_end(request: HttpRequest, slug: str, membership_id: Any) -> HttpResponse:
    member = people.staff_of(request.hospital).filter(pk=membership_id).first()
    if member is None or member.status == "ended":
        raise Http404
    if request.method == "POST":
        services.staff_end(actor=request.actor, hospital=request.hospital, membership_id=member.pk)
        messages.success(request, _("Ended. Sessions and tokens of this role no longer work."))
        return redirect("hospital:staff", slug)
    return render(request, "hospital/staff_end.html", {"member": member, "nav_current": "hospital:staff"})


def _row(request: HttpRequest, member: Any, removal: Any) -> dict:
    on_chain = member.role in ROLE_ON_CHAIN
    chip, is_waiting = look.STATES["member"][member.status], member.status == "pending"
    if member.status == "active":
        chip = look.Look("ok", "okay", _("In the registry")) if on_chain else look.Look("", "okay", _("Not needed"))
    elif member.status == "ended" and on_chain:
        is_gone = removal is None or removal.state == "final"
        chip = look.Look("", "out", _("Removed")) if is_gone else look.Look("wait", "clock", _("Being removed"))
        is_waiting = not is_gone
    return {
        "id": member.pk,
        "name": member.user.name,
        "email": member.user.email,
        "title": member.title,
        "role": member.get_role_display(),
        "since": member.ended_at or member.started_at,
        "chip": chip,
        "is_waiting": is_waiting,
        "may_end": member.pk != request.membership.pk and member.status != "ended",
    }
