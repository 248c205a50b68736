"""The operators' console: accounts, roles and the log. No patient, no content, no key is registered here.

An operator sees the organisations where they hold an administrator's role; Django's permissions say what they may do
there. The log is shown for one chosen organisation at a time, read-only, and looking at it is an entry in it.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import allauth.account.admin
import allauth.mfa.admin
import allauth.usersessions.admin  # noqa: F401  (registered first, so that it can be taken out again)
from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from hospitals import audit
from hospitals.actors import Actor, request_id_of
from hospitals.models import AccessToken, AuditEntry, Membership, Organisation, User
from hospitals.tenancy import tenants
from hospitals.types import Channel, MembershipStatus, Role

# The sign-in library registers its tables itself. They hold one-time-code secrets, session keys and addresses.
for _model in (Authenticator, UserSession, EmailAddress, EmailConfirmation):
    with contextlib.suppress(NotRegistered):
        admin.site.unregister(_model)

# The console's own form asks for a password alone; ours asks for the second step too.
admin.site.login = secure_admin_login(admin.site.login)
admin.site.site_header = "Hospital portal: operators"
admin.site.site_title = "Operators"
admin.site.index_title = "Accounts, roles and logs"


def organisations_of(user: User) -> QuerySet[Organisation]:
    """What an operator may look at."""
    if user.is_superuser:
        return Organisation.objects.all()
    mine = Membership.objects.filter(user=user, role=Role.ADMIN, status=MembershipStatus.ACTIVE)
    return Organisation.objects.filter(pk__in=mine.values("hospital_id"))


class ReadOnlyAdmin(admin.ModelAdmin):
    """To look at, with the view permission; nobody adds, changes or deletes, whatever their permissions."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise PermissionDenied

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise PermissionDenied


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    """Accounts can be closed and given operator groups. Passwords and sign-in methods are the person's own."""

    list_display = ["email", "is_active", "is_staff", "last_login"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["email"]
    fields = ["email", "is_active", "is_staff", "groups", "last_login", "created_at"]
    readonly_fields = ["email", "last_login", "created_at"]
    filter_horizontal = ["groups"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # Making operators is for the superuser: otherwise the change permission would grant every other.
        more = [] if request.user.is_superuser else ["is_staff", "groups"]
        return [*self.readonly_fields, *more]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        users = super().get_queryset(request)
        if request.user.is_superuser:
            return users
        return users.filter(memberships__hospital__in=organisations_of(request.user)).distinct()


@admin.register(Organisation)
class OrganisationAdmin(ReadOnlyAdmin):
    """Organisations change by the regulator's acts on chain, not here."""

    list_display = ["name", "kind", "status", "applied_at", "decided_at"]
    list_filter = ["kind", "status"]
    fields = ["name", "slug", "kind", "status", "chain_status", "contact_email", "applied_at", "decided_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organisation]:
        return organisations_of(request.user)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ["user", "hospital", "role", "status", "started_at", "ended_at"]
    list_filter = ["role", "status"]
    list_select_related = ["user", "hospital"]
    fields = ["user", "hospital", "role", "title", "status", "started_at", "ended_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).filter(hospital__in=organisations_of(request.user))


@admin.register(AccessToken)
class AccessTokenAdmin(ReadOnlyAdmin):
    """What exists and until when; the secret is not kept anywhere."""

    list_display = ["prefix", "user", "membership", "expires_at", "last_used_at", "revoked_at"]
    list_select_related = ["user", "membership__hospital", "membership__user"]
    fields = ["prefix", "user", "membership", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessToken]:
        return super().get_queryset(request).filter(membership__hospital__in=organisations_of(request.user))


class OrganisationFilter(admin.SimpleListFilter):
    title = "organisation"
    parameter_name = "organisation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(row.slug, row.name) for row in organisations_of(request.user)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(hospital__slug=self.value()) if self.value() else queryset.none()


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The log of one organisation; patients appear as numbers of their line, never by name."""

    list_display = ["seq", "at", "action", "actor_user", "actor_role", "channel", "is_refused"]
    list_filter = [OrganisationFilter, "is_refused", "channel"]
    list_select_related = ["actor_user"]
    ordering = ["-seq"]
    fields = [
        "seq",
        "at",
        "action",
        "actor_user",
        "actor_role",
        "channel",
        "request_id",
        "basis",
        "purpose",
        "is_refused",
        "patient_seq",
    ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return self._scoped(request, lambda: super(AuditEntryAdmin, self).changelist_view(request, extra_context))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._scoped(request, lambda: super(AuditEntryAdmin, self).changeform_view(request, *args, **kwargs))

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.all()

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> AuditEntry | None:
        entry = super().get_object(request, object_id, from_field)
        if entry is not None and self.has_view_permission(request, entry):
            self._log(request, entry.hospital)
        return entry

    def _scoped(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        """Rows are read while the page is drawn, so it is drawn inside the scope."""
        with tenants(organisations_of(request.user)):
            if self.has_view_permission(request):
                chosen = organisations_of(request.user).filter(slug=request.GET.get("organisation", "")).first()
                if chosen:
                    self._log(request, chosen)
            response = view()
            if not getattr(response, "is_rendered", True):
                response.render()
            return response

    def _log(self, request: HttpRequest, organisation: Organisation) -> None:
        with transaction.atomic(savepoint=False):
            audit.append(
                hospital=organisation,
                actor=Actor(request.user, None, Channel.PAGE, request_id_of(request)),
                action="operator.log_viewed",
                basis="operator",
            )
