"""Who may call the API: session or personal access token, then the same membership, role and tenant rules as pages."""

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from django.http import Http404
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request
from rest_framework.views import APIView

from hospitals import roles, selectors
from hospitals.access import refusal_log, second_factor_missing
from hospitals.actors import request_actor
from hospitals.models import AccessToken
from hospitals.roles import Permission
from hospitals.services.accounts import token_hash
from hospitals.tenancy import tenant, tenants
from hospitals.types import TOKEN_SCOPES, MembershipStatus, OrganisationKind

USED_EVERY = timedelta(minutes=1)  # how exact "last used" is: a write for each request would cost more than it tells


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Token …`. Every reason to refuse reads the same."""

    keyword = "Token"

    def authenticate(self, request: Request) -> tuple[Any, AccessToken] | None:
        header = get_authorization_header(request).split()
        if not header or header[0].lower() != b"token":
            return None
        digest = token_hash(header[1].decode("latin-1")) if len(header) == 2 else bytes(32)
        now = timezone.now()
        token = (
            AccessToken.objects.filter(token_hash=digest, revoked_at=None, expires_at__gt=now, user__is_active=True)
            .select_related("user", "membership")
            .first()
        )
        if token is None or (token.membership and token.membership.status != MembershipStatus.ACTIVE):
            raise AuthenticationFailed("This token is not valid or has expired.")
        if token.last_used_at is None or now - token.last_used_at > USED_EVERY:
            AccessToken.objects.filter(pk=token.pk).update(last_used_at=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return self.keyword


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        scopes = "; ".join(f"`{name}` {text}" for name, text in TOKEN_SCOPES.items())
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": f"`Token …`, a personal access token: shown once, expiring. Scopes: {scopes}.",
        }


class ApiView(APIView):
    """Any signed-in person. A subclass opens the tenant scope in `enter`."""

    authentication_classes = [TokenAuthentication, SessionAuthentication]
    audience = "person"
    # Which token scope each method needs; a session needs none.
    scopes: dict[str, str] = {}
    permissions: dict[str, Permission] = {}

    @classmethod
    def as_view(cls, **options: Any) -> Any:
        view = super().as_view(**options)
        view.access = (f"api {cls.audience}", cls.permissions)
        return view

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as self.stack:
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = _read_as(request)
        if request.auth is not None and method != "OPTIONS":
            needed = self.scopes.get(method)
            if needed is None or needed not in request.auth.scopes:
                raise PermissionDenied(f"This token does not cover “{needed or 'this step'}”.")
        self.enter(request, **kwargs)

    def enter(self, request: Request, **kwargs: Any) -> None:
        request.membership = None
        request.actor = request_actor(request)


class MemberView(ApiView):
    """`h/<slug>/…`: 404 to everybody but members, 403 to the wrong role, rows of this hospital only."""

    audience = "member"

    def enter(self, request: Request, slug: str, **kwargs: Any) -> None:
        membership = selectors.membership_for(user=request.user, slug=slug)
        if membership is None or membership.hospital.kind == OrganisationKind.REGULATOR:
            raise Http404
        if request.auth is not None and request.auth.membership_id != membership.pk:
            raise Http404
        request.membership, request.hospital = membership, membership.hospital
        request.actor = request_actor(request, membership)
        if request.auth is None and (missing := second_factor_missing(membership)):
            raise PermissionDenied(missing)
        permission = self.permissions.get(_read_as(request))
        if permission is not None:
            decision = roles.decide(request.actor, permission)
            if not decision:
                refusal_log(request, permission, decision.reason)
                raise PermissionDenied(roles.reason_text(decision.reason))
        self.stack.enter_context(tenant(membership.hospital))


class PatientView(ApiView):
    """`me/…`: the person's own registrations, at exactly those hospitals."""

    audience = "patient"

    def enter(self, request: Request, **kwargs: Any) -> None:
        if request.auth is not None and request.auth.membership_id is not None:
            raise PermissionDenied("This token belongs to a role at an organisation, not to you as a patient.")
        super().enter(request, **kwargs)
        request.registrations = selectors.registrations_of(request.user)
        self.stack.enter_context(tenants(patient.hospital_id for patient in request.registrations))


def _read_as(request: Request) -> str:
    """HEAD shows that something exists, so it needs what GET needs."""
    return "GET" if request.method == "HEAD" else request.method


__all__ = ["ApiView", "MemberView", "PatientView", "TokenAuthentication"]
