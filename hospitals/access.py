"""Who may enter a page: sign-in, second factor, membership, role, and the tenant scope around the view."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from hospitals import audit, roles, selectors
from hospitals.actors import request_actor
from hospitals.conf import conf
from hospitals.models import Membership
from hospitals.roles import Permission
from hospitals.tenancy import tenant, tenants
from hospitals.types import OrganisationKind, Role

View = Callable[..., HttpResponse]


def member_required(permission: Permission = Permission.HOME) -> Callable[[View], View]:
    """For `/h/<slug>/…`: 404 to everybody but members, 403 to the wrong role; opens the hospital's scope."""

    def decorate(view: View) -> View:
        @wraps(view)
        def inner(request: HttpRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            membership = selectors.membership_for(user=request.user, slug=slug)
            if membership is None or membership.hospital.kind == OrganisationKind.REGULATOR:
                raise Http404
            return _enter(request, membership, permission, lambda: view(request, slug, *args, **kwargs))

        inner.access = ("member", permission)
        return inner

    return decorate


def regulator_required(permission: Permission = Permission.HOME) -> Callable[[View], View]:
    """For `/regulator/…`: 404 to everybody else."""

    def decorate(view: View) -> View:
        @wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            membership = selectors.regulator_membership(user=request.user)
            if membership is None:
                raise Http404
            return _enter(request, membership, permission, lambda: view(request, *args, **kwargs))

        inner.access = ("regulator", permission)
        return inner

    return decorate


def patient_required(view: View) -> View:
    """For `/me/…`: any signed-in person, in the scope of exactly the hospitals where they are registered."""

    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        request.registrations = selectors.registrations_of(request.user)
        request.actor = request_actor(request)
        request.membership = None
        with tenants(patient.hospital_id for patient in request.registrations):
            return _rendered(view(request, *args, **kwargs))

    inner.access = ("patient", None)
    return inner


def operator_required(view: View) -> View:
    """For `/operator/…`: accounts marked as operator; 404 to everybody else. The second step is the middleware's."""

    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not (request.user.is_staff and request.user.is_active):
            raise Http404
        request.membership = None
        return view(request, *args, **kwargs)

    inner.access = ("operator", None)
    return inner


def public(view: View) -> View:
    """Says in the code that a page is open to all; the route test looks for one of these marks."""
    view.access = ("public", None)
    return view


def second_factor_missing(membership: Membership) -> str:
    """The sentence that tells a member of staff what to set up, or nothing."""
    kinds = set(Authenticator.objects.filter(user_id=membership.user_id).values_list("type", flat=True))
    if membership.role == Role.REGULATOR and conf().regulator_needs_passkey:
        return "" if Authenticator.Type.WEBAUTHN in kinds else "Add a passkey to enter the regulator's pages."
    if kinds & {Authenticator.Type.WEBAUTHN, Authenticator.Type.TOTP}:
        return ""
    return "Set up a second step before you work with patients' data."


def _enter(
    request: HttpRequest, membership: Membership, permission: Permission, run: Callable[[], HttpResponse]
) -> HttpResponse:
    request.actor = request_actor(request, membership)
    request.membership = membership
    request.hospital = membership.hospital
    # The middleware has asked before; its mark saves the query, except for the role that needs a passkey.
    is_known = request.session.get("second_step_of") == str(request.user.pk) and membership.role != Role.REGULATOR
    if not is_known and (missing := second_factor_missing(membership)):
        if request.path.startswith("/api/"):
            raise PermissionDenied(missing)
        return HttpResponseRedirect(reverse("mfa_index"))
    decision = roles.decide(request.actor, permission)
    if not decision:
        refusal_log(request, permission, decision.reason)
        raise PermissionDenied(roles.reason_text(decision.reason))
    with tenant(membership.hospital):
        return _rendered(run())


def refusal_log(request: HttpRequest, permission: Permission, reason: str) -> None:
    """A known member at a closed door is an entry in the log; a stranger only sees `not found`."""
    if request.membership.status == "pending":
        return
    with transaction.atomic(savepoint=False):
        audit.append(
            hospital=request.hospital,
            actor=request.actor,
            action="access.refused",
            is_refused=True,
            detail={"permission": str(permission), "reason": reason},
        )


def _rendered(response: HttpResponse) -> HttpResponse:
    """A lazy template would ask for its rows after the scope has closed."""
    if not getattr(response, "is_rendered", True):
        response.render()
    return response
