"""What the database itself keeps, on both engines."""

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction

from hospitals import audit, checks
from hospitals.models import AuditEntry, PatientClaim
from hospitals.tenancy import TenantModel, all_tenants, tenant


def execute(sql, params=()):
    """With all deferred checks made at once, as a commit would."""
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute(sql, params)
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.fixture
def entry(people):
    return audit.append(
        hospital=people.a, actor=people.actor(people.alice), action="records.opened", patient=people.pat_a
    )


ATTACKS = {
    "edit": "UPDATE hospitals_auditentry SET action = 'nothing'",
    "edit one column": "UPDATE hospitals_auditentry SET is_refused = is_refused",
    "delete": "DELETE FROM hospitals_auditentry",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_log_is_append_only(entry, attack):
    with all_tenants("test"), pytest.raises(DatabaseError, match="append-only"):
        execute(ATTACKS[attack])
    with tenant(entry.hospital):
        assert AuditEntry.objects.get().action == "records.opened"


def test_the_log_cannot_be_truncated(entry):
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has TRUNCATE")
    with all_tenants("test"), pytest.raises(DatabaseError, match="append-only"):
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        execute("TRUNCATE hospitals_auditentry CASCADE")


def test_the_models_offer_no_way_round(entry):
    with tenant(entry.hospital):
        for attack in (entry.delete, entry.save, lambda: AuditEntry.objects.update(action="x")):
            with pytest.raises(DatabaseError), transaction.atomic():
                attack()


@pytest.mark.scenario("H2")
def test_a_parent_of_another_tenant_is_refused_by_the_database(people):
    with tenant(people.a):
        claim = PatientClaim.objects.create(
            hospital=people.a, user=people.pat, given_name="P", family_name="M", birth_date="2000-01-01"
        )
    key = people.pat_b.pk if connection.vendor == "postgresql" else people.pat_b.pk.hex
    own = claim.pk if connection.vendor == "postgresql" else claim.pk.hex
    with all_tenants("test"), pytest.raises(DatabaseError):
        execute("UPDATE hospitals_patientclaim SET patient_id = %s WHERE id = %s", [key, own])


def tenant_tables():
    return {model._meta.db_table for model in apps.get_models() if issubclass(model, TenantModel)}


def test_every_model_is_a_tenants_or_listed_as_global():
    """A new model has to be put on one side of the wall."""
    ours = ("hospitals", "records", "portal")
    models = {m for m in apps.get_models() if m._meta.app_label in ours}
    found = {m.__name__ for m in models if not issubclass(m, TenantModel)}
    assert found == {
        "AlarmRow",
        "User",
        "Organisation",
        "Membership",
        "ActivationCode",
        "AccessToken",
        "KekVersion",
        "KeyRecord",
    }


def test_every_tenant_model_goes_through_the_scoped_manager():
    assert checks.tenant_models_are_walled(None) == []
    for model in checks.tenant_models():
        assert {f.name for f in model._meta.fields} >= {"hospital"}
        assert [type(manager).__name__ for manager in model._meta.managers] == ["TenantManager"]


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="row-level security is PostgreSQL's")
def test_catalogue_of_row_level_security(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (False, False)
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity AND relkind = 'r'")
        assert {row[0] for row in cursor.fetchall()} == tenant_tables()
        cursor.execute("SELECT tablename, permissive, cmd, qual, with_check FROM pg_policies")
        policies = cursor.fetchall()
    assert {policy[0] for policy in policies} == tenant_tables()
    for _, permissive, command, using, check in policies:
        assert (permissive, command) == ("PERMISSIVE", "ALL")
        assert using == check
        assert "portal.hospitals" in using
    assert checks.database_keeps_tenants_apart(None, databases=["default"]) == []


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="composite keys are PostgreSQL's")
def test_every_tenant_parent_has_a_composite_key(db):
    wanted = {
        (model._meta.db_table, field.column)
        for model in checks.tenant_models()
        for field in model._meta.concrete_fields
        if field.remote_field and issubclass(field.remote_field.model, TenantModel)
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c JOIN pg_attribute a ON "
            "a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey) WHERE c.contype = 'f' AND cardinality(c.conkey) = 2"
        )
        found = {(table, column) for table, column in cursor.fetchall() if column != "hospital_id"}
    assert wanted - found == set()
