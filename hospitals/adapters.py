"""How the sign-in library behaves here: locks, second steps that staff keep, tokens that end with the session."""

import base64
import time
from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hospitals import keyring, lockout, second_step
from hospitals.models import AccessToken, User


def tokens_end(user: User) -> int:
    """Signing out ends a person's keys for programs too."""
    return AccessToken.objects.filter(user=user, revoked_at__isnull=True).update(revoked_at=timezone.now())


def email_confirm(user: User) -> None:
    """Marks the address of an invited person as theirs: the one-use code has reached them by it."""
    address, is_new = EmailAddress.objects.get_or_create(
        user=user, email=user.email, defaults={"verified": True, "primary": True}
    )
    if not is_new and not address.verified:
        address.verified = True
        address.save(update_fields=["verified"])


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": gettext_lazy("The e-mail address or the password is not right."),
        "too_many_login_attempts": gettext_lazy("Too many wrong tries. Please wait 15 minutes and try again."),
        "rate_limited": gettext_lazy("Too many tries. Please wait 15 minutes and try again."),
        "incorrect_code": gettext_lazy("This code is not right. Codes change every 30 seconds; type the newest."),
        "incorrect_password": gettext_lazy("This is not your password."),
    }

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        lockout.check(_door(credentials))
        super().pre_authenticate(request, **credentials)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        user = super().authenticate(request, **credentials)
        if user:
            lockout.opened(_door(credentials))
        return user

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        lockout.failed(_door(credentials))

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        # Self-registration always leaves an address to confirm. An account without one was made by an
        # organisation, which has checked the person and the address.
        if not EmailAddress.objects.filter(user=user).exists():
            email_confirm(user)
        return super().pre_login(request, user, **kwargs)

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        # A sign-in of the last minutes is as good as a confirmation; the library counts confirmations only.
        request = context.request
        newest = max((r["at"] for r in get_authentication_records(request, request.user)), default=0)
        return time.time() - newest >= app_settings.REAUTHENTICATION_TIMEOUT

    def logout(self, request: HttpRequest) -> None:
        if request.user.is_authenticated:
            tokens_end(request.user)
        super().logout(request)

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        user.name = " ".join(str(form.cleaned_data.get("name", "")).split())[:120]
        with transaction.atomic():
            user = super().save_user(request, user, form, commit)
            keyring.user_keys_create(user)
        return user


def _door(credentials: dict[str, Any]) -> str:
    return "password:" + str(credentials.get("email", "")).strip().lower()


class MFAAdapter(DefaultMFAAdapter):
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": AccountAdapter.error_messages["incorrect_code"],
        "cannot_delete_authenticator": gettext_lazy(
            "Your role needs a second step at sign-in, so the last one cannot be removed."
        ),
    }

    def encrypt(self, text: str) -> str:
        sealed = keyring.seal_text(hospital_id=None, purpose="second-step", row_id="totp", text=text)
        return base64.b64encode(sealed).decode()

    def decrypt(self, encrypted_text: str) -> str:
        blob = base64.b64decode(encrypted_text)
        return keyring.open_text(hospital_id=None, purpose="second-step", row_id="totp", blob=blob)

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        return second_step.may_remove(authenticator)

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        number = Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1
        return _("My passkey") if number == 1 else _("Passkey %(number)s") % {"number": number}

    def _get_site_name(self) -> str:
        return "Portal"


def code_or_lock(user: User, check: Any) -> str:
    """Runs the library's check of a one-time code, with the same lock as for passwords."""
    door = f"code:{user.pk}"
    lockout.check(door)
    try:
        code = check()
    except ValidationError:
        lockout.failed(door)
        raise
    lockout.opened(door)
    return code
