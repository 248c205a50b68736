"""Rules that the database itself keeps: row-level security, same-tenant parents, append-only tables.

Each function returns migration operations for SQLite and PostgreSQL. SQLite drops triggers when a later migration
rebuilds the table (AlterField, RemoveField), so such a migration repeats the operation.
"""
# ruff: noqa: S608  (table names come from migrations, never from a request)

from collections.abc import Callable
from typing import Any

from django.db.migrations.operations.base import Operation

POLICY = "portal_tenant"


class Statements(Operation):
    """SQL that depends on the database. Unlike RunPython it asks for no model classes, whose making took seconds."""

    reversible = True

    def __init__(self, forward: Callable[[str], list[str]], backward: Callable[[str], list[str]]) -> None:
        self.forward, self.backward = forward, backward

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        for statement in self.forward(schema_editor.connection.vendor):
            schema_editor.execute(statement, None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        for statement in self.backward(schema_editor.connection.vendor):
            schema_editor.execute(statement, None)

    def describe(self) -> str:
        return "Rules that the database keeps"


def rls_operations(*tables: str) -> list[Statements]:
    """Forced row-level security: also the owner of the table sees and writes only the open scope."""

    def forward(vendor: str) -> list[str]:
        if vendor != "postgresql":
            return []
        rule = (
            "current_setting('portal.all_tenants', true) = 'on' OR hospital_id = ANY("
            "string_to_array(nullif(current_setting('portal.hospitals', true), ''), ',')::uuid[])"
        )
        return [
            statement
            for table in tables
            for statement in (
                f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
                f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY',
                f'CREATE POLICY {POLICY} ON "{table}" USING ({rule}) WITH CHECK ({rule})',
            )
        ]

    def backward(vendor: str) -> list[str]:
        if vendor != "postgresql":
            return []
        return [
            statement
            for table in tables
            for statement in (
                f'DROP POLICY IF EXISTS {POLICY} ON "{table}"',
                f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY',
                f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY',
            )
        ]

    return [Statements(forward, backward)]


def parent_operations(table: str, parents: dict[str, str]) -> list[Statements]:
    """{column: parent table}: the parent row has the child's hospital. Foreign-key checks bypass row-level security."""

    def forward(vendor: str) -> list[str]:
        statements = []
        for column, parent in parents.items():
            name = f"{table}_{column}_tenant"
            if vendor == "postgresql":
                statements += [
                    f'CREATE UNIQUE INDEX IF NOT EXISTS "{parent}_tenant_key" ON "{parent}" (hospital_id, id)',
                    f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" FOREIGN KEY (hospital_id, "{column}") '
                    f'REFERENCES "{parent}" (hospital_id, id) DEFERRABLE INITIALLY DEFERRED',
                ]
            elif vendor == "sqlite":
                statements += [
                    f'CREATE TRIGGER "{name}_{event.lower()}" BEFORE {event} ON "{table}" '
                    f'WHEN NEW."{column}" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "{parent}" p '
                    f'WHERE p.id = NEW."{column}" AND p.hospital_id = NEW.hospital_id) '
                    f"BEGIN SELECT RAISE(ABORT, 'parent of another tenant'); END"
                    for event in ("INSERT", "UPDATE")
                ]
        return statements

    def backward(vendor: str) -> list[str]:
        names = [f"{table}_{column}_tenant" for column in parents]
        if vendor == "postgresql":
            return [f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS "{name}"' for name in names]
        return [f'DROP TRIGGER IF EXISTS "{name}_{event}"' for name in names for event in ("insert", "update")]

    return [Statements(forward, backward)]


def append_only_create(vendor: str, table: str) -> list[str]:
    name = f"{table}_append_only"
    if vendor == "postgresql":
        return [
            "CREATE OR REPLACE FUNCTION portal_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME; END $$",
            f'CREATE TRIGGER "{name}_rows" BEFORE UPDATE OR DELETE ON "{table}" '
            "FOR EACH ROW EXECUTE FUNCTION portal_append_only()",
            f'CREATE TRIGGER "{name}_all" BEFORE TRUNCATE ON "{table}" '
            "FOR EACH STATEMENT EXECUTE FUNCTION portal_append_only()",
        ]
    if vendor == "sqlite":
        return [
            f'CREATE TRIGGER "{name}_{event.lower()}" BEFORE {event} ON "{table}" '
            f"BEGIN SELECT RAISE(ABORT, 'table {table} is append-only'); END"
            for event in ("UPDATE", "DELETE")
        ]
    return []


def append_only_drop(vendor: str, table: str) -> list[str]:
    name = f"{table}_append_only"
    if vendor == "postgresql":
        return [f'DROP TRIGGER IF EXISTS "{name}_{part}" ON "{table}"' for part in ("rows", "all")]
    return [f'DROP TRIGGER IF EXISTS "{name}_{event}"' for event in ("update", "delete")]


def append_only_operations(table: str) -> list[Statements]:
    """Rows can be added, never changed or removed, whoever asks."""
    return [
        Statements(lambda vendor: append_only_create(vendor, table), lambda vendor: append_only_drop(vendor, table))
    ]
