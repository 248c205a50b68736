"""The regular look over every log: its result is kept, a gap raises the operator's alarm, and repair ends it."""

from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from hospitals import audit, audit_watch, health, tasks
from hospitals.models import AuditCheck, AuditEntry, AuditMap, Organisation
from hospitals.tenancy import tenant
from hospitals.types import OrganisationStatus
from hospitals.walls import append_only_drop

pytestmark = [pytest.mark.django_db, pytest.mark.scenario("P7", "O17")]


def write(people, count=5):
    for _ in range(count):
        actor = people.actor(people.alice)
        audit.append(hospital=people.a, actor=actor, action="records.opened", patient=people.pat_a)


@pytest.fixture
def insider(db):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in append_only_drop(connection.vendor, "hospitals_auditentry"):
            cursor.execute(statement)


def check_of(people):
    with tenant(people.a):
        return AuditCheck.objects.get()


def due(people):
    with tenant(people.a):
        AuditCheck.objects.update(checked_at=timezone.now() - timedelta(seconds=901))


def gaps():
    return [(alarm.code, alarm.subject, alarm.message) for alarm in health.alarms() if alarm.code == "log_gap"]


def test_a_change_raises_the_alarm_at_the_next_look_and_repair_ends_it(people, insider):
    write(people)
    tasks.log_check()
    assert (check_of(people).count, check_of(people).is_complete, gaps()) == (5, True, [])
    with tenant(people.a):
        AuditEntry.objects.filter(seq=3).update(action="records.listed")
    tasks.log_check()
    assert gaps() == []  # not due yet
    due(people)
    tasks.log_check()
    found = check_of(people)
    assert (found.is_complete, found.first_missing, found.faults) == (False, 3, [{"number": 3, "kind": "changed"}])
    assert gaps() == [("log_gap", "northwick", "Log of northwick: Entry 3 was changed.")]
    since = found.failed_since
    due(people)
    tasks.log_check()
    assert check_of(people).failed_since == since
    with tenant(people.a):
        AuditEntry.objects.filter(seq=3).update(action="records.opened")
    due(people)
    tasks.log_check()
    assert (check_of(people).failed_since, gaps()) == (None, [])


def test_a_log_that_was_emptied_raises_it_too(people, insider):
    """The organisation without a single row left must not look like one that never had any."""
    from hospitals.models import AuditHead

    write(people)
    audit_watch.log_check(people.a)
    with tenant(people.a):
        AuditEntry.objects.all()._raw_delete("default")
        AuditHead.objects.all()._raw_delete("default")
    audit_watch.log_check(people.a)
    assert [(code, slug) for code, slug, _ in gaps()] == [("log_gap", "northwick")]


def test_one_log_that_cannot_be_checked_stops_no_other(people, monkeypatch):
    write(people)
    audit.append(hospital=people.b, actor=people.actor(people.dora), action="x", patient=people.pat_b)
    real = audit_watch.verify_hospital

    def broken(hospital):
        if hospital.pk == people.a.pk:
            raise ZeroDivisionError
        return real(hospital)

    monkeypatch.setattr(audit_watch, "verify_hospital", broken)
    assert audit_watch.logs_check() == 0
    with tenant(people.a):
        assert not AuditCheck.objects.exists()
    with tenant(people.b):
        assert AuditCheck.objects.get().count == 1


def test_a_check_that_stopped_is_an_alarm_of_its_own(people):
    write(people)
    audit_watch.log_check(people.a)
    assert "log_unchecked" not in {alarm.code for alarm in health.alarms()}
    with tenant(people.a):
        AuditCheck.objects.update(checked_at=timezone.now() - timedelta(seconds=2 * 900 + 301))
    assert ("log_unchecked", "northwick") in {(alarm.code, alarm.subject) for alarm in health.alarms()}
    with tenant(people.a):
        AuditCheck.objects.all().delete()
    Organisation.objects.filter(pk=people.a.pk).update(decided_at=timezone.now() - timedelta(days=1))
    assert "has never been checked" in " ".join(alarm.message for alarm in health.alarms())


def test_a_map_that_does_not_come_is_an_alarm(people):
    write(people)
    audit_watch.log_check(people.a)
    assert "log_map_late" not in {alarm.code for alarm in health.alarms()}
    long_ago = timezone.now() - timedelta(seconds=3 * 600 + 301)
    with tenant(people.a):
        row = AuditMap(
            hospital=people.a,
            number=1,
            seq=5,
            link=bytes(32),
            lines=1,
            root=bytes(32),
            head=bytes(32),
            made_at=long_ago,
        )
        row.save()
    assert "log_map_late" not in {alarm.code for alarm in health.alarms()}  # nothing new to count
    write(people, 1)
    assert ("log_map_late", "northwick") in {(alarm.code, alarm.subject) for alarm in health.alarms()}
    Organisation.objects.filter(pk=people.a.pk).update(status=OrganisationStatus.SUSPENDED)
    assert "log_map_late" not in {alarm.code for alarm in health.alarms()}


def test_no_alarm_names_a_person(people, insider):
    write(people)
    with tenant(people.a):
        AuditEntry.objects.filter(seq=2).update(action="x")
    audit_watch.log_check(people.a)
    text = " ".join(alarm.message for alarm in health.alarms())
    assert "Entry 2" in text
    assert not any(word in text for word in ("Pat", "Moreno", "Alice", people.pat_a.mrn))


def test_the_privacy_officer_reads_it_on_the_log_page(people, insider, client):
    write(people)
    browser = people.client(people.hana)
    page = browser.get(f"/h/{people.a.slug}/log/")
    assert "This log has not been checked yet." in page.content.decode()
    audit_watch.log_check(people.a)
    assert "none missing" in browser.get(f"/h/{people.a.slug}/log/").content.decode()
    with tenant(people.a):
        AuditEntry.objects.filter(seq=4)._raw_delete("default")
    audit_watch.log_check(people.a)
    assert "Entry 4 is missing." in browser.get(f"/h/{people.a.slug}/log/").content.decode()


def test_operator_and_regulator_read_the_row_on_their_pages(people, insider):
    write(people)
    operator = people.cleo.user
    operator.is_staff = operator.is_superuser = True
    operator.save()
    with tenant(people.a):
        AuditEntry.objects.filter(seq=2).update(purpose="HRESCH")
    audit_watch.log_check(people.a)
    for person, name in ((operator, "operator:health"), (people.reg, "regulator:chains")):
        text = people.client(person).get(reverse(name)).content.decode()
        assert "Entry 2 was changed." in text, name
        assert "Keep a copy of the database now" in text, name
