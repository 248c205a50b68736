"""The person's own account: where to go after sign-in, devices, invitation, registration, signing out."""

from typing import Any, NamedTuple
from uuid import UUID

from allauth.account.views import LogoutView
from allauth.mfa.base.views import IndexView
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.views import RemoveWebAuthnView
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from hospitals import lockout, second_step, selectors, services
from hospitals.access import public
from hospitals.adapters import email_confirm
from hospitals.errors import Invalid
from hospitals.models import Membership, Organisation, PatientClaim, User
from hospitals.tenancy import all_tenants
from hospitals.types import ClaimStatus, MembershipStatus, Role
from portal.dashboards.account_forms import ActivationForm, ClaimForm, LinkForm
from portal.templatetags.portal_ui import account_mark


class Place(NamedTuple):
    url: str
    title: str
    line: str
    icon: str = "home"
    organisation: Organisation | None = None


def places_of(user: User) -> list[Place]:
    """Every portal this person may enter; a page that is not built is no place."""
    places = []
    live = Membership.objects.filter(user=user).exclude(status=MembershipStatus.ENDED).select_related("hospital")
    for membership in live:
        is_regulator = membership.role == Role.REGULATOR
        route, args = ("regulator:home", []) if is_regulator else ("hospital:home", [membership.hospital.slug])
        places.append((route, args, membership.hospital.name, membership.get_role_display(), "", membership.hospital))
    if selectors.registrations_of(user):
        line = _("Records, who looked, sharing")
        places.append(("patient:home", [], _("My own health records"), line, "person", None))
    if user.is_staff:
        places.append(("operator:health", [], _("Operations"), _("Alarms, parts, chains"), "pulse", None))
        places.append(("admin:index", [], _("Operators' console"), _("Accounts, roles, logs"), "cog", None))
    found = []
    for route, args, title, line, icon, organisation in places:
        try:
            found.append(Place(reverse(route, args=args), title, line, icon, organisation))
        except NoReverseMatch:
            continue
    return found


def _waiting(user: User) -> list[PatientClaim]:
    with all_tenants("a person who signs in looks for their own requests"):
        open_claims = PatientClaim.objects.filter(user=user, status=ClaimStatus.WAITING)
        return list(open_claims.select_related("hospital"))


@login_required
@require_safe
def place(request: HttpRequest) -> HttpResponse:
    """After sign-in: straight to the one place, or a choice of several."""
    context = _places_context(request.user)
    if len(context["places"]) == 1 and not context["waiting"] and not context["offers"]:
        return HttpResponseRedirect(context["places"][0].url)
    return render(request, "account/places.html", context)


def _places_context(user: User, forms: dict[UUID, LinkForm] | None = None) -> dict[str, Any]:
    offered = selectors.registrations_offered(user)
    return {
        "places": places_of(user),
        "waiting": _waiting(user),
        "offers": [
            (patient, (forms or {}).get(patient.pk) or LinkForm(auto_id=f"{patient.pk}_%s")) for patient in offered
        ],
    }


def _add_errors(form: Any, refusal: Invalid) -> None:
    for name, sentence in refusal.fields.items():
        form.add_error(name if name in form.fields else None, sentence)


def _count_try(form: Any, door: str) -> None:
    try:
        lockout.failed(door)
    except ValidationError as closed:
        form.add_error(None, closed)


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    kinds = set(Authenticator.objects.filter(user_id=request.user.pk).values_list("type", flat=True))
    words = {Authenticator.Type.WEBAUTHN: _("Passkey"), Authenticator.Type.TOTP: _("Authenticator app")}
    context = {
        "places": places_of(request.user),
        "factors": ", ".join(word for kind, word in words.items() if kind in kinds),
        "device_count": len(UserSession.objects.purge_and_list(request.user)),
    }
    return render(request, "account/home.html", context)


@public
@require_safe
def alive(request: HttpRequest) -> JsonResponse:
    """Asked by an open page: still signed in? Sent with X-Polling it does not count as use."""
    is_in = request.user.is_authenticated
    return JsonResponse({"account": account_mark(request.user) if is_in else ""}, status=200 if is_in else 401)


@login_required
@require_POST
def device_end(request: HttpRequest, pk: int) -> HttpResponse:
    session = get_object_or_404(UserSession, pk=pk, user=request.user)
    end_sessions(request, [session])
    messages.success(request, _("That device is signed out."))
    return redirect("usersessions_list")


class SignOut(LogoutView):
    """Ends this session, or all of them, and the person's keys for programs."""

    def post(self, *args: Any, **kwargs: Any) -> HttpResponse:
        if self.request.user.is_authenticated and self.request.POST.get("everywhere"):
            with transaction.atomic():
                services.sessions_end(user=self.request.user)
        response = super().post(*args, **kwargs)
        # Nothing of a patient stays in the browser; Back asks the server, which shows the sign-in.
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
        return response


class SecondStepIndex(IndexView):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        user = self.request.user
        totp = Authenticator.objects.filter(user_id=user.pk, type=Authenticator.Type.TOTP).first()
        is_missing = second_step.is_missing(user)
        context["second_step_needed"] = is_missing
        context["passkey_needed"] = is_missing and Authenticator.Type.TOTP not in second_step.needed_kinds(user)
        context["can_remove_totp"] = bool(totp) and second_step.may_remove(totp)
        return context


class PasskeyRemove(RemoveWebAuthnView):
    """The library asks the adapter before it removes an app, but not before it removes a passkey."""

    def form_valid(self, form: Any) -> HttpResponse:
        if not second_step.may_remove(self.get_object()):
            messages.error(self.request, _("Your role needs a second step at sign-in, so the last one stays."))
            return redirect("mfa_list_webauthn")
        return super().form_valid(form)


@public
def activate(request: HttpRequest) -> HttpResponse:
    """An invited person opens their account with the one-use code and a password of their own."""
    form = ActivationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = services.activation_redeem(**form.cleaned_data)
        except Invalid as refusal:
            _add_errors(form, refusal)
        else:
            email_confirm(user)
            messages.success(request, _("Your account is open. Sign in with your new password."))
            return redirect("account_login")
    return render(request, "account/activate.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def claim(request: HttpRequest) -> HttpResponse:
    """Asks a hospital's desk to check who this is. The answer never says what the hospital knows."""
    form = ClaimForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.patient_claim_create(user=request.user, **form.cleaned_data)
        except Invalid as refusal:
            _add_errors(form, refusal)
        else:
            return redirect("account_claim_sent")
    return render(request, "account/claim.html", {"form": form}, status=422 if form.errors else 200)


@login_required
@require_POST
def link_accept(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A hospital registered someone with this address: the right date of birth says "that is me"."""
    form = LinkForm(request.POST)
    if form.is_valid():
        door = f"link:{request.user.pk}"
        try:
            lockout.check(door)
            services.patient_link_accept(user=request.user, patient_id=pk, **form.cleaned_data)
        except Invalid as refusal:
            _add_errors(form, refusal)
            _count_try(form, door)
        except ValidationError as closed:
            form.add_error(None, closed)
        else:
            messages.success(request, _("Your records of this hospital are open now."))
            return redirect("account_place")
    return render(request, "account/places.html", _places_context(request.user, {pk: form}), status=422)


@login_required
@require_safe
def claim_sent(request: HttpRequest) -> HttpResponse:
    return render(request, "account/claim_sent.html")


sign_out = SignOut.as_view()
second_step_index = login_required(SecondStepIndex.as_view())
passkey_remove = login_required(PasskeyRemove.as_view())
