"""Misconfiguration that would open a wall or lose a key is told before anything starts."""

from typing import Any

from django.apps import apps
from django.core.checks import Error, Tags, register
from django.db import connections
from django.db.utils import DatabaseError

from hospitals import roots, sealing
from hospitals.errors import RootKeyError
from hospitals.models import KekVersion
from hospitals.tenancy import TenantModel


def tenant_models() -> list[type[TenantModel]]:
    return [model for model in apps.get_models() if issubclass(model, TenantModel)]


@register(Tags.models)
def tenant_models_are_walled(app_configs: Any, **kwargs: Any) -> list[Error]:
    return [
        Error(
            f"{model.__name__} reaches its rows round the tenant scope.",
            hint="Write `class Meta(TenantModel.Meta)` so that base_manager_name is kept.",
            obj=model,
            id="hospitals.E001",
        )
        for model in tenant_models()
        if model._meta.base_manager_name != "objects"
    ]


@register(Tags.database)
def root_key_fits(app_configs: Any, databases: list[str] | None = None, **kwargs: Any) -> list[Error]:
    """The root opens what the database holds. A first start has neither and passes."""
    if not databases:
        return []
    try:
        newest = KekVersion.objects.order_by("-created_at").first()
    except DatabaseError:  # not migrated yet
        return []
    try:
        if newest:
            sealing.kek_of(newest.hospital_id, newest.version)
        else:
            roots.root(has_keys=False)
    except RootKeyError as error:
        return [Error(error.user_message, hint="See “Keys” in docs/operations.md.", id="hospitals.E002")]
    return []


@register(Tags.database)
def database_keeps_tenants_apart(app_configs: Any, databases: list[str] | None = None, **kwargs: Any) -> list[Error]:
    """On PostgreSQL: forced row-level security on every tenant table, and a role that cannot step over it."""
    problems = []
    for alias in databases or []:
        connection = connections[alias]
        if connection.vendor != "postgresql":
            continue
        with connection.cursor() as cursor:
            cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
            if cursor.fetchone()[0]:
                problems.append(
                    Error(
                        "The database role may bypass row-level security.",
                        hint="Use a role without SUPERUSER and BYPASSRLS in PORTAL_DATABASE_URL.",
                        id="hospitals.E003",
                    )
                )
            cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
            walled = {name for (name,) in cursor.fetchall()}
            present = set(connection.introspection.table_names(cursor))
        problems += [
            Error(
                f"The table {model._meta.db_table} has no forced row-level security.",
                hint="Add walls.rls_operations to the migration that creates it.",
                id="hospitals.E004",
            )
            for model in tenant_models()
            if model._meta.db_table in present - walled
        ]
    return problems
