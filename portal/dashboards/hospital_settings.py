"""A hospital's settings, and the personal access tokens of whoever looks at the page."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from hospitals import selectors as people
from hospitals import services
from hospitals.access import member_required
from hospitals.errors import Invalid
from hospitals.roles import ROLE_PERMISSIONS, Permission, require
from hospitals.types import TOKEN_SCOPES
from portal import look
from portal.dashboards import hospital_rows as rows
from portal.dashboards.hospital_forms import SettingsForm, TokenForm, service_errors
from portal.templatetags.portal_ui import when

# A scope that the role could never use is not offered.
SCOPE_NEEDS = {
    "records:read": {Permission.RECORD_READ},
    "records:write": {Permission.RECORD_UPLOAD},
    "grants:read": set(),
    "grants:write": set(),
    "log:read": {Permission.AUDIT_READ},
    "patients:read": {Permission.PATIENT_SEARCH},
    "patients:write": {Permission.PATIENT_REGISTER},
}
CHAIN_WORDS = {"SUP": "SUPchain", "MED": "MEDchain", "BOTH": gettext_lazy("both chains")}


@require_http_methods(["GET", "HEAD", "POST"])
@member_required(Permission.TOKEN_MANAGE)
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    if request.method != "POST":
        return _page(request)
    require(request.actor, Permission.ORGANISATION_SETTINGS, hospital=request.hospital)
    form = SettingsForm(request.POST)
    if form.is_valid():
        services.organisation_settings_update(actor=request.actor, hospital=request.hospital, **form.cleaned_data)
        messages.success(request, _("Saved. It counts for uploads from now on."))
        return redirect("hospital:settings", slug)
    return _page(request, form=form, status=422)


@require_POST
@member_required(Permission.TOKEN_MANAGE)
def token_create(request: HttpRequest, slug: str) -> HttpResponse:
    form = TokenForm(request.POST, scopes=_scopes(request))
    if form.is_valid():
        try:
            token, secret = services.token_create(
                actor=request.actor,
                name=form.cleaned_data["name"],
                scopes=form.cleaned_data["scopes"],
                days=int(form.cleaned_data["days"]),
            )
        except Invalid as invalid:
            service_errors(form, invalid)
        else:
            # No redirect: the secret is shown by this one answer and kept nowhere.
            return _page(request, fresh_token=secret, fresh_name=token.name, status=201)
    return _page(request, token_form=form, status=422)


@require_POST
@member_required(Permission.TOKEN_MANAGE)
def token_revoke(request: HttpRequest, slug: str, token_id: Any) -> HttpResponse:
    services.token_revoke(actor=request.actor, token_id=token_id)
    messages.success(request, _("Stopped. Programs that use it are refused from now on."))
    return redirect("hospital:settings", slug)


def _page(request: HttpRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    hospital = request.hospital
    initial = {"default_chains": hospital.default_chains, "special_categories": hospital.special_categories}
    context = {
        "may": rows.permissions(request),
        "form": SettingsForm(initial=initial),
        "token_form": TokenForm(scopes=_scopes(request)),
        "tokens": [_token_row(token) for token in people.tokens_of(user=request.user, membership=request.membership)],
        "default_chain": CHAIN_WORDS[hospital.default_chains],
        "special": ", ".join(
            str(look.CATEGORIES[name][1]) for name in hospital.special_categories if name in look.CATEGORIES
        ),
        "nav_current": "hospital:settings",
    }
    return render(request, "hospital/settings.html", context | more, status=status)


def _scopes(request: HttpRequest) -> list[tuple[str, str]]:
    """What this role can do at all, in the words of the services."""
    held = ROLE_PERMISSIONS[request.membership.role]
    return [(scope, words) for scope, words in TOKEN_SCOPES.items() if held & SCOPE_NEEDS.get(scope, held)]


def _token_row(token: Any) -> dict:
    used = _("used %(at)s") % {"at": rows.short(token.last_used_at)} if token.last_used_at else _("never used")
    until = _("ends %(day)s") % {"day": when(token.expires_at, "date")}
    return {
        "id": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "line": f"{', '.join(token.scopes)} · {until} · {used}",
    }
