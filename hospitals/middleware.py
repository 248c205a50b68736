"""Nobody works with other people's records behind a password alone."""

from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.http import urlencode

from hospitals import second_step

# What a person must reach to set the second step up, or to leave.
OPEN = ("mfa_", "account_", "usersessions_")
CLOSED = {"account_place", "account_claim"}


class SecondStep:
    """Staff and operators without a second step are sent to set it up; every other page waits."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        match = request.resolver_match
        name = match.url_name or ""
        if not match.namespaces and name.startswith(OPEN) and name not in CLOSED or not hasattr(request, "user"):
            return None
        if not request.session.session_key or not request.user.is_authenticated:
            return None
        where = self._step(request)
        if where is None:
            return None
        if request.path.startswith("/api/"):
            problem = {"code": "second_step", "message": "Set up a second step at sign-in first."}
            return JsonResponse({"error": problem}, status=403)
        return HttpResponseRedirect(where)

    def _step(self, request: HttpRequest) -> str | None:
        user, session = request.user, request.session
        if session.get("second_step_of") == str(user.pk):
            return None
        kinds = second_step.needed_kinds(user)
        if not kinds:
            return None  # asked again next time: a role may be given at any moment
        if not Authenticator.objects.filter(user_id=user.pk, type__in=kinds).exists():
            return reverse("mfa_index")
        if kinds == {Authenticator.Type.WEBAUTHN} and not second_step.was_used(request, Authenticator.Type.WEBAUTHN):
            # A password with a one-time code opened this session; this role asks for the passkey itself.
            return f"{reverse('mfa_reauthenticate_webauthn')}?{urlencode({'next': request.get_full_path()})}"
        session["second_step_of"] = str(user.pk)
        return None
