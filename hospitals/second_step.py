"""Who needs a second step at sign-in, and what is still missing."""

from allauth.mfa.models import Authenticator
from django.http import HttpRequest

from hospitals.conf import conf
from hospitals.models import Membership, User
from hospitals.types import MembershipStatus, Role

FACTORS = (Authenticator.Type.WEBAUTHN, Authenticator.Type.TOTP)


def needed_kinds(user: User) -> frozenset[str]:
    """Any one of these will do; empty: a password is enough. The regulator's role asks for a passkey."""
    roles = set(
        Membership.objects.filter(user=user).exclude(status=MembershipStatus.ENDED).values_list("role", flat=True)
    )
    if Role.REGULATOR in roles and conf().regulator_needs_passkey:
        return frozenset({Authenticator.Type.WEBAUTHN})
    return frozenset(FACTORS) if roles or user.is_staff or user.is_superuser else frozenset()


def is_missing(user: User) -> bool:
    kinds = needed_kinds(user)
    return bool(kinds) and not Authenticator.objects.filter(user_id=user.pk, type__in=kinds).exists()


def may_remove(authenticator: Authenticator) -> bool:
    """The last factor that a person's role asks for stays."""
    kinds = needed_kinds(authenticator.user)
    if authenticator.type not in kinds:
        return True
    others = Authenticator.objects.filter(user_id=authenticator.user_id, type__in=kinds).exclude(pk=authenticator.pk)
    return others.exists()


def was_used(request: HttpRequest, kind: str) -> bool:
    """Whether this session was opened, or confirmed later, with such a factor."""
    return any(
        record.get("method") == "mfa" and record.get("type") == kind
        for record in request.session.get("account_authentication_methods", [])
    )
