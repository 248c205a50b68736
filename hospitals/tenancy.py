"""Tenant walls: the scope, the write guard, and the second wall inside PostgreSQL.

A query on tenant data needs an open scope: `with tenant(hospital):`. Rows outside it are not found and cannot be
written. On PostgreSQL the same scope is told to the server, whose policies repeat the rule for raw SQL and joins.
"""

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, models
from django_scopes import ScopedManager, ScopeError, get_scope, scope, scopes_disabled
from django_scopes.manager import DisabledQuerySet

from hospitals.errors import TenantError

log = logging.getLogger(__name__)
ALL = "all"


def hospital_id(hospital: Any) -> uuid.UUID:
    """The id of an organisation given as row or id; None never opens a scope."""
    value = getattr(hospital, "pk", hospital)
    if not isinstance(value, uuid.UUID):
        raise TenantError(f"a tenant scope needs a hospital, not {type(hospital).__name__}")
    return value


def current() -> frozenset[uuid.UUID] | str | None:
    """The open scope: ids, ALL, or None."""
    state = get_scope()
    if not state:
        return None
    if not state.get("_enabled", True):
        return ALL
    value = state.get("hospital")
    if value is None:
        return None
    return frozenset(value) if isinstance(value, tuple) else frozenset([value])


@contextmanager
def tenant(hospital: Any) -> Iterator[None]:
    """One hospital's rows, for reading and writing."""
    value = hospital_id(hospital)
    with scope(hospital=value):
        _guard_connections()
        yield


@contextmanager
def tenants(hospitals: Iterable[Any]) -> Iterator[None]:
    """Several hospitals' rows, e.g. all registrations of one patient; an empty list shows nothing."""
    values = tuple(sorted({hospital_id(h) for h in hospitals}))
    with scope(hospital=values):
        _guard_connections()
        yield


@contextmanager
def all_tenants(reason: str) -> Iterator[None]:
    """Every row, for jobs that belong to no hospital. The reason goes to the operators' log."""
    if not reason.strip():
        raise TenantError("all_tenants needs a reason")
    log.debug("all tenants: %s", reason)
    with scopes_disabled():
        _guard_connections()
        yield


def check_write(value: uuid.UUID | None) -> None:
    """Refuse a row of a hospital that the open scope does not include."""
    allowed = current()
    if allowed is None:
        raise ScopeError("A tenant scope needs to be open to write tenant data.")
    if value is None:
        raise TenantError("a tenant row needs its hospital")
    if allowed != ALL and value not in allowed:
        raise TenantError("this row belongs to another tenant")


class TenantQuerySet(models.QuerySet):
    """Bulk paths go round Model.save, so they repeat its guard."""

    def update(self, **values: Any) -> int:
        for name, value in values.items():
            if name in ("hospital", "hospital_id"):
                raise TenantError("rows do not move between tenants")
            if isinstance(value, TenantModel):
                check_write(value.hospital_id)
        return super().update(**values)

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        objs = list(objs)
        for obj in objs:
            obj.check_tenant()
        return super().bulk_create(objs, *args, **kwargs)

    def bulk_update(self, objs: Iterable[Any], fields: Any, *args: Any, **kwargs: Any) -> int:
        objs = list(objs)
        if {"hospital", "hospital_id"} & set(fields):
            raise TenantError("rows do not move between tenants")
        for obj in objs:
            obj.check_tenant()
        return super().bulk_update(objs, fields, *args, **kwargs)


class ClosedQuerySet(DisabledQuerySet):
    """The library leaves some doors open without a scope (exists, create, exclude ...); here all are shut."""

    exists = contains = in_bulk = bulk_create = bulk_update = create = exclude = defer = alias = distinct = (
        select_related
    ) = prefetch_related = extra = explain = acreate = aexists = difference = intersection = DisabledQuerySet.error
    _fetch_all = _insert = _raw_delete = _update = DisabledQuerySet.error


class TenantManager(type(ScopedManager(models.Manager.from_queryset(TenantQuerySet), hospital="hospital"))):
    use_in_migrations = False

    def get_queryset(self) -> models.QuerySet:
        queryset = super().get_queryset()
        if isinstance(queryset, DisabledQuerySet):
            return ClosedQuerySet(self.model, using=self._db, missing_scopes={"hospital"})
        return queryset


class TenantModel(models.Model):
    """A row of one hospital. Forward keys and refreshes go through the scoped manager as well."""

    hospital = models.ForeignKey("hospitals.Organisation", on_delete=models.PROTECT, related_name="+")

    objects = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    @classmethod
    def from_db(cls, db: Any, field_names: Any, values: Any) -> Any:
        row = super().from_db(db, field_names, values)
        row._state.tenant = row.__dict__.get("hospital_id")
        return row

    def check_tenant(self) -> None:
        """Own hospital inside the scope and unchanged, and every parent of the same hospital."""
        check_write(self.hospital_id)
        loaded = getattr(self._state, "tenant", None)
        if loaded is not None and loaded != self.hospital_id:
            raise TenantError("rows do not move between tenants")
        for field in self._meta.concrete_fields:
            parent = field.remote_field and field.remote_field.model
            if not (isinstance(parent, type) and issubclass(parent, TenantModel)):
                continue
            key = getattr(self, field.attname)
            if key is None:
                continue
            if field.is_cached(self):
                owner = getattr(self, field.name).hospital_id
            else:
                owner = parent.objects.filter(pk=key).values_list("hospital_id", flat=True).first()
            if owner != self.hospital_id:
                raise TenantError(f"{field.name} belongs to another tenant")

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        self.check_tenant()
        super().save_base(*args, **kwargs)
        self._state.tenant = self.hospital_id

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        self.check_tenant()
        return super().delete(*args, **kwargs)


def _guard_connections() -> None:
    for connection in connections.all():
        if connection.vendor == "postgresql" and not any(
            isinstance(wrapper, ServerScope) for wrapper in connection.execute_wrappers
        ):
            connection.execute_wrappers.append(ServerScope(connection))


class ServerScope:
    """Tells PostgreSQL the open scope before the first statement that needs it.

    Inside a transaction the setting is local, so a rollback cannot leave a wider one behind; a rollback to a
    savepoint makes us say it again. A connection that was never told anything sees no tenant row.
    """

    def __init__(self, connection: Any):
        self.connection = connection
        self.raw: Any = None
        self.session = ("", "")
        self.local: tuple[str, str] | None = None

    @staticmethod
    def wanted() -> tuple[str, str]:
        allowed = current()
        if allowed is None:
            return "", ""
        if allowed == ALL:
            return "", "on"
        return ",".join(sorted(str(value) for value in allowed)), ""

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        raw = self.connection.connection
        if raw is not self.raw:
            self.raw, self.session, self.local = raw, ("", ""), None
        status = raw.info.transaction_status.name
        if status != "INERROR":
            self._tell(raw, status)
        result = execute(sql, params, many, context)
        if isinstance(sql, str) and sql.startswith("ROLLBACK"):
            self.local = None
        return result

    def _tell(self, raw: Any, status: str) -> None:
        wanted = self.wanted()
        if raw.autocommit and status == "IDLE":
            if wanted != self.session:
                _set_scope(raw, wanted, is_local=False)
                self.session = wanted
            return
        told = self.session if status == "IDLE" else self.local
        if wanted != told:
            _set_scope(raw, wanted, is_local=True)
        self.local = wanted


def _set_scope(raw: Any, wanted: tuple[str, str], *, is_local: bool) -> None:
    with raw.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('portal.hospitals', %s, %s), set_config('portal.all_tenants', %s, %s)",
            (wanted[0], is_local, wanted[1], is_local),
        )
