"""Accounts of people: invitations, sessions, personal access tokens."""

import hashlib
import secrets
from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from hospitals import audit, keyring, roles
from hospitals.actors import Actor
from hospitals.conf import conf
from hospitals.errors import Invalid, NotFound
from hospitals.models import AccessToken, ActivationCode, User
from hospitals.roles import Permission
from hospitals.types import TOKEN_SCOPES

TOKEN_PREFIX = "hp_"  # noqa: S105
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LETTERS = 26  # 130 bits


def user_create(*, email: str, name: str, password: str | None = None) -> tuple[User, bool]:
    """The account of an address, made with its keys when there is none yet. An existing one is left as it is."""
    email = User.objects.normalise(email)
    try:
        validate_email(email)
    except ValidationError:
        raise Invalid({"email": "Enter an e-mail address like name@example.org."}) from None
    if not name.strip():
        raise Invalid({"name": "Enter the person's name."})
    user = User.objects.filter(email=email).first()
    if user:
        return user, False
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, name=name.strip())
            keyring.user_keys_create(user)
    except IntegrityError:  # registered at the same moment
        return User.objects.get(email=email), False
    return user, True


def activation_create(*, user: User) -> str:
    """A one-use code, mailed after the commit. It ends any code sent before."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LETTERS))
    code = "-".join([letters[:6], letters[6:11], letters[11:16], letters[16:21], letters[21:]])
    now = timezone.now()
    ActivationCode.objects.filter(user=user, used_at=None).update(expires_at=now)
    ActivationCode.objects.create(
        user=user, code_hash=_code_hash(code), expires_at=now + timedelta(seconds=conf().activation_seconds)
    )
    address, days = user.email, conf().activation_seconds // 86400
    transaction.on_commit(
        lambda: send_mail(
            "Your account at the hospital portal",
            f"An account was made for this address.\n\nOpen the portal, choose “Activate an account” and enter this "
            f"code:\n\n    {code}\n\nIt works once, for {days} days. If you did not expect this, do nothing.\n",
            None,
            [address],
            fail_silently=True,
        )
    )
    return code


def activation_redeem(*, code: str, password: str) -> User:
    """Choose the first password. Unknown, used and expired codes get the same answer."""
    now = timezone.now()
    row = ActivationCode.objects.select_related("user").filter(code_hash=_code_hash(code)).first()
    wrong = Invalid({"code": "This code does not work. Codes work once and for a few days; ask for a new one."})
    if row is None:
        raise wrong
    try:
        validate_password(password, row.user)
    except ValidationError as error:
        raise Invalid({"password": " ".join(error.messages)}) from None
    with transaction.atomic():
        if ActivationCode.objects.filter(pk=row.pk, used_at=None, expires_at__gt=now).update(used_at=now) != 1:
            raise wrong
        row.user.set_password(password)
        row.user.save(update_fields=["password"])
    return row.user


def sessions_end(*, user: User) -> None:
    """Sign a person out everywhere, within this transaction."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    for session in UserSession.objects.filter(user_id=user.pk):
        session.end()


def token_create(*, actor: Actor, name: str, scopes: list[str], days: int | None = None) -> tuple[AccessToken, str]:
    """A personal access token; its text is returned once and never kept."""
    fields = {}
    if not name.strip():
        fields["name"] = "Give the token a name, so that you recognise it later."
    if not scopes or set(scopes) - set(TOKEN_SCOPES):
        fields["scopes"] = "Choose what the token may do."
    days = conf().token_days if days is None else days
    if not 1 <= days <= conf().token_days_max:
        fields["days"] = f"Choose between 1 and {conf().token_days_max} days."
    if fields:
        raise Invalid(fields)
    if actor.membership:
        roles.require(actor, Permission.TOKEN_MANAGE)
    raw = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = AccessToken.objects.create(
            user=actor.user,
            membership=actor.membership,
            name=name.strip()[:80],
            scopes=sorted(set(scopes)),
            token_hash=token_hash(raw),
            prefix=raw[:8],
            expires_at=timezone.now() + timedelta(days=days),
        )
        if actor.membership:
            audit.append(
                hospital=actor.membership.hospital,
                actor=actor,
                action="tokens.created",
                target=token,
                detail={"scopes": token.scopes, "days": days},
            )
    return token, raw


def token_revoke(*, actor: Actor, token_id: object) -> None:
    """Own tokens only; another person's is not found."""
    token = AccessToken.objects.filter(pk=token_id, user=actor.user).select_related("membership__hospital").first()
    if token is None:
        raise NotFound()
    with transaction.atomic():
        changed = AccessToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
        if changed and token.membership:
            audit.append(hospital=token.membership.hospital, actor=actor, action="tokens.revoked", target=token)


def token_hash(raw: str) -> bytes:
    return hashlib.sha256(b"medportal/token/v1\0" + raw.encode()).digest()


def _code_hash(code: str) -> bytes:
    """Spaces, dashes and letters that look alike do not matter when a code is typed."""
    plain = code.upper().replace("-", "").replace(" ", "").replace("O", "0").replace("I", "1").replace("L", "1")
    return hashlib.sha256(b"medportal/activation/v1\0" + plain.encode()).digest()
