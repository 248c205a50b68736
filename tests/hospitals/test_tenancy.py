"""The leak table: what a person inside tenant A, or code without a scope, might try with tenant B's rows."""

import threading

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection, transaction
from django_scopes import ScopeError, scope

from hospitals.errors import TenantError
from hospitals.models import Patient, PatientClaim
from hospitals.tenancy import all_tenants, tenant, tenants
from tests.factories import make_patient, make_user


@pytest.fixture
def claims(people):
    rows = []
    for hospital, patient in ((people.a, people.pat_a), (people.b, people.pat_b)):
        with tenant(hospital):
            rows.append(
                PatientClaim.objects.create(
                    hospital=hospital,
                    user=people.pat,
                    patient=patient,
                    given_name="Pat",
                    family_name="Moreno",
                    birth_date=patient.birth_date,
                )
            )
    return rows


WITHOUT_SCOPE = {
    "all": lambda: list(Patient.objects.all()),
    "iterate": lambda: list(Patient.objects.iterator()),
    "get": lambda: Patient.objects.get(pk=1),
    "count": lambda: Patient.objects.count(),
    "exists": lambda: Patient.objects.exists(),
    "exclude": lambda: Patient.objects.exclude(mrn="").exists(),
    "in_bulk": lambda: Patient.objects.in_bulk(),
    "contains": lambda: Patient.objects.contains(Patient()),
    "aggregate": lambda: Patient.objects.aggregate(),
    "values": lambda: list(Patient.objects.values()),
    "order": lambda: Patient.objects.order_by("pk").first(),
    "select_related": lambda: Patient.objects.select_related("user").first(),
    "create": lambda: Patient.objects.create(),
    "bulk_create": lambda: Patient.objects.bulk_create([Patient()]),
    "bulk_update": lambda: Patient.objects.bulk_update([Patient()], ["mrn"]),
    "update": lambda: Patient.objects.update(mrn="1"),
    "delete": lambda: Patient.objects.all().delete(),
    "raw": lambda: list(Patient.objects.raw("SELECT * FROM hospitals_patient")),
    "get_or_create": lambda: Patient.objects.get_or_create(mrn="1"),
    "update_or_create": lambda: Patient.objects.update_or_create(mrn="1"),
}


@pytest.mark.scenario("H2")
@pytest.mark.parametrize("attempt", WITHOUT_SCOPE, ids=str)
def test_nothing_works_without_a_scope(db, attempt):
    with pytest.raises(ScopeError):
        WITHOUT_SCOPE[attempt]()


def test_saving_without_a_scope_raises(people):
    with pytest.raises(ScopeError):
        people.pat_a.save()
    with pytest.raises(ScopeError):
        people.pat_a.delete()


def test_a_new_thread_has_no_scope(people):
    seen = []

    def look():
        try:
            Patient.objects.first()
        except ScopeError as error:
            seen.append(error)

    with tenant(people.a):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert len(seen) == 1


@pytest.mark.parametrize("value", [None, "", 0, (), []], ids=repr)
def test_a_scope_needs_a_hospital(value):
    with pytest.raises(TenantError), tenant(value):
        pass


def test_a_scope_in_a_list_needs_hospitals():
    with pytest.raises(TenantError), tenants([None]):
        pass
    with pytest.raises(TenantError), all_tenants(" "):
        pass


def test_none_in_the_library_scope_still_writes_nothing(people):
    with scope(hospital=None), pytest.raises(ScopeError):
        people.pat_b.save()


@pytest.mark.scenario("H2")
def test_reads_find_only_own_rows(people, claims):
    with tenant(people.a):
        assert set(Patient.objects.all()) == {people.pat_a, people.kim_a}
        assert not Patient.objects.filter(pk=people.pat_b.pk).exists()
        assert Patient.objects.filter(pk=people.pat_b.pk).update(mrn="x") == 0
        assert list(people.pat.patients.all()) == [people.pat_a]
        assert list(people.pat.claims.all()) == [claims[0]]
        with pytest.raises(Patient.DoesNotExist):
            Patient.objects.get(pk=people.pat_b.pk)


@pytest.mark.scenario("H2")
def test_a_held_foreign_row_leads_nowhere(people, claims):
    held = claims[1]
    with tenant(people.b):
        held = PatientClaim.objects.get(pk=held.pk)
    with tenant(people.a):
        with pytest.raises(ObjectDoesNotExist):
            held.patient  # noqa: B018
        with pytest.raises(ObjectDoesNotExist):
            held.refresh_from_db()
        for write in (held.save, held.delete):
            with pytest.raises(TenantError):
                write()


@pytest.mark.scenario("H2")
def test_rows_are_not_made_for_others(people):
    fields = {"given_name": "X", "family_name": "Y", "birth_date": "2000-01-01", "user": people.pat}
    with tenant(people.a):
        with pytest.raises(TenantError):
            PatientClaim.objects.create(hospital=people.b, **fields)
        with pytest.raises(TenantError):
            PatientClaim.objects.bulk_create([PatientClaim(hospital=people.b, **fields)])
        with pytest.raises(TenantError):
            PatientClaim.objects.create(hospital=people.a, patient=people.pat_b, **fields)
        with pytest.raises(TenantError):
            PatientClaim.objects.create(hospital=people.a, patient_id=people.pat_b.pk, **fields)
        with pytest.raises(TenantError):
            PatientClaim.objects.bulk_create([PatientClaim(hospital=people.a, patient_id=people.pat_b.pk, **fields)])


@pytest.mark.scenario("H2")
def test_rows_do_not_move(people, claims):
    with tenants([people.a, people.b]):
        claim = PatientClaim.objects.get(pk=claims[0].pk)
        claim.hospital = people.b
        with pytest.raises(TenantError):
            claim.save()
        with pytest.raises(TenantError):
            PatientClaim.objects.update(hospital=people.b)
        with pytest.raises(TenantError):
            PatientClaim.objects.bulk_update([claims[0]], ["hospital_id"])
        claim = PatientClaim.objects.get(pk=claims[0].pk)
        claim.patient = people.pat_b
        with pytest.raises(TenantError):
            claim.save()
    with tenant(people.a), pytest.raises(TenantError):
        PatientClaim.objects.update(patient=people.pat_b)


def test_several_tenants_and_none(people):
    with tenants([people.a, people.b]):
        assert Patient.objects.filter(user=people.pat).count() == 2
    with tenants([]):
        assert Patient.objects.count() == 0
    with all_tenants("test"):
        assert Patient.objects.count() == 4


def test_an_inner_scope_replaces_the_outer_and_ends(people):
    with tenant(people.a):
        with tenant(people.b):
            assert people.quinn_b in Patient.objects.all()
        assert people.quinn_b not in Patient.objects.all()
    with pytest.raises(ScopeError):
        Patient.objects.count()


def test_two_hospitals_share_no_number_space(people):
    with tenant(people.b):
        taken = Patient.objects.get(pk=people.quinn_b.pk).mrn
    assert make_patient(people.alice, mrn=taken).mrn == taken


postgres = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="row-level security is PostgreSQL's")


@postgres
@pytest.mark.scenario("H2")
def test_joins_from_global_models_stop_at_the_wall(people):
    """What the manager cannot see, the server refuses: a join, a mixed select_related, raw SQL."""
    with tenant(people.a):
        assert people.pat._meta.model.objects.filter(patients__mrn=people.quinn_b.mrn).count() == 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT hospital_id FROM hospitals_patient")
            assert {row[0] for row in cursor.fetchall()} == {people.a.pk}
            cursor.execute("UPDATE hospitals_patient SET mrn = mrn WHERE hospital_id = %s", [people.b.pk])
            assert cursor.rowcount == 0


@postgres
@pytest.mark.scenario("H2")
def test_raw_sql_without_a_scope_sees_nothing(people):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM hospitals_patient")
        assert cursor.fetchone()[0] == 0


@postgres
def test_the_server_forgets_a_wider_scope_after_a_rollback(people):
    def seen():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM hospitals_patient")
            return cursor.fetchone()[0]

    with tenant(people.a):
        inside = seen()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            with all_tenants("test"):
                assert seen() == 4
            raise ZeroDivisionError
        assert seen() == inside == 2
    assert seen() == 0


@pytest.mark.django_db(transaction=True)
@postgres
def test_the_scope_holds_outside_transactions_too():
    from tests.people import make_people

    people = make_people()
    with tenant(people.a):
        assert {p.pk for p in Patient.objects.all()} == {people.pat_a.pk, people.kim_a.pk}
        with transaction.atomic():
            assert Patient.objects.count() == 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM hospitals_patient")
        assert cursor.fetchone()[0] == 0
    with transaction.atomic(), tenant(people.b):
        assert Patient.objects.count() == 2
    with tenant(people.a):
        assert Patient.objects.count() == 2


def test_users_are_not_tenant_rows(people):
    assert make_user("Someone").patients.model is Patient
