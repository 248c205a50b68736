"""The access log: complete by construction, and every way of tampering found."""

import hashlib
import json
import threading

import pytest
from django.db import connection, transaction
from django.utils import timezone

from chain.models import OutboxItem
from hospitals import audit
from hospitals.actors import Actor, system_actor
from hospitals.errors import AuditUnavailable, TenantError
from hospitals.models import AuditEntry, AuditHead
from hospitals.tenancy import tenant
from hospitals.types import OrganisationStatus
from hospitals.walls import append_only_drop
from tests.people import make_people


def write(people, count=5, patient=None):
    actor = people.actor(people.alice)
    return [
        audit.append(hospital=people.a, actor=actor, action="records.opened", patient=patient, detail={"n": n})
        for n in range(count)
    ]


@pytest.fixture
def insider(db):
    """Somebody with full rights on the database: the triggers are gone."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in append_only_drop(connection.vendor, "hospitals_auditentry"):
            cursor.execute(statement)


def test_an_entry_says_who_what_when_and_why(people):
    before = timezone.now()
    entry = audit.append(
        hospital=people.a,
        actor=people.actor(people.alice),
        action="records.opened",
        patient=people.pat_a,
        target=people.kim_a,
        basis="treatment",
        purpose="TREAT",
    )
    with tenant(people.a):
        entry = AuditEntry.objects.get(pk=entry.pk)
    assert (entry.actor_user, entry.actor_membership, entry.actor_role) == (people.alice.user, people.alice, "doctor")
    assert (entry.target_type, entry.target_id) == ("patient", str(people.kim_a.pk))
    assert (entry.seq, entry.patient_seq, entry.basis, entry.purpose) == (1, 1, "treatment", "TREAT")
    assert before <= entry.at <= timezone.now()
    body = json.loads(audit.entry_body(entry))
    assert body["action"] == "records.opened"
    leaf = hashlib.sha256(b"\0" + bytes(entry.salt) + hashlib.sha256(audit.entry_body(entry)).digest()).digest()
    assert bytes(entry.leaf) == leaf
    assert bytes(entry.link) == hashlib.sha256(bytes(32) + leaf).digest() == bytes(entry.patient_link)


def test_nothing_on_the_chain_names_anyone(people):
    entry = write(people, 1, people.pat_a)[0]
    item = OutboxItem.objects.get(ref=entry.chain_ref)
    assert (item.chain, item.lane, bytes(item.leaf)) == ("MED", "access", bytes(entry.leaf))
    assert bytes(item.sender) == bytes(people.a.account_address)
    same = write(people, 1, people.pat_a)[0]
    assert same.leaf != entry.leaf


def test_each_hospital_and_each_patient_has_an_own_line(people):
    write(people, 2, people.pat_a)
    write(people, 1, people.kim_a)
    write(people, 1)
    audit.append(hospital=people.b, actor=people.actor(people.dora), action="records.opened", patient=people.pat_b)
    write(people, 1, people.pat_a)
    with tenant(people.a):
        assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3, 4, 5]
        lines = AuditEntry.objects.filter(patient=people.pat_a).order_by("seq")
        assert list(lines.values_list("patient_seq", flat=True)) == [1, 2, 3]
        assert AuditHead.objects.get().seq == 5
    for patient, count in ((people.pat_a, 3), (people.kim_a, 1), (people.pat_b, 1)):
        report = audit.verify_patient(patient)
        assert (report.count, report.is_complete, report.first_missing) == (count, True, None)


@pytest.mark.scenario("P6")
def test_a_search_logs_each_listed_patient_in_few_queries(people, django_assert_max_num_queries):
    drafts = [audit.Draft("patients.listed", patient=p) for p in (people.pat_a, people.kim_a) * 5]
    with django_assert_max_num_queries(14):
        entries = audit.append_many(hospital=people.a, actor=people.actor(people.alice), drafts=drafts)
    assert [entry.patient_seq for entry in entries if entry.patient == people.pat_a] == [1, 2, 3, 4, 5]
    assert audit.verify_hospital(people.a).is_complete
    assert audit.append_many(hospital=people.a, actor=people.actor(people.alice), drafts=[]) == []


def test_the_entry_falls_with_the_act(people):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        write(people, 1, people.pat_a)
        raise ZeroDivisionError
    assert audit.verify_patient(people.pat_a).count == 0
    assert not OutboxItem.objects.filter(lane="access").exists()


def test_no_log_no_access(people, monkeypatch):
    def broken(*args, **kwargs):
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM the_table_that_is_not_there")

    monkeypatch.setattr(AuditEntry.objects.__class__, "bulk_create", broken, raising=False)
    with pytest.raises(AuditUnavailable), transaction.atomic():
        write(people, 1)


def test_a_patient_of_another_tenant_is_refused(people):
    with pytest.raises(TenantError):
        audit.append(hospital=people.a, actor=people.actor(people.alice), action="x", patient=people.pat_b)


@pytest.mark.parametrize("detail", [{"a": 1.5}, {"a": b"x"}, {1: "a"}, {"a": {"b": object()}}, {"a": [1.0]}], ids=repr)
def test_details_are_plain_values(people, detail):
    with pytest.raises(TypeError):
        audit.append(hospital=people.a, actor=people.actor(people.alice), action="x", detail=detail)


def test_actors_without_a_membership(people):
    entries = [
        audit.append(hospital=people.a, actor=actor, action="log.opened", patient=people.pat_a)
        for actor in (Actor(people.pat), system_actor())
    ]
    assert [entry.actor_role for entry in entries] == ["patient", "system"]
    assert [entry.actor_user for entry in entries] == [people.pat, None]


def test_before_admission_entries_wait_for_the_chain(people):
    people.a.status = OrganisationStatus.ADMITTING
    people.a.save()
    people.alice.hospital.refresh_from_db()
    write(people, 2)
    assert not OutboxItem.objects.filter(lane="access").exists()
    audit.publish_waiting(people.a)
    audit.publish_waiting(people.a)
    assert OutboxItem.objects.filter(lane="access").count() == 2


def tamper_edit(entries):
    AuditEntry.objects.filter(pk=entries[2].pk).update(action="records.listed")


def tamper_detail(entries):
    AuditEntry.objects.filter(pk=entries[2].pk).update(detail={"n": 7})


def tamper_actor(entries):
    AuditEntry.objects.filter(pk=entries[2].pk).update(actor_user=None)


def tamper_time(entries):
    AuditEntry.objects.filter(pk=entries[2].pk).update(at=timezone.now())


def tamper_delete(entries):
    AuditEntry.objects.filter(pk=entries[2].pk)._raw_delete("default")


def tamper_order(entries):
    AuditEntry.objects.filter(pk=entries[3].pk).update(seq=99, patient_seq=99)
    AuditEntry.objects.filter(pk=entries[2].pk).update(seq=4, patient_seq=4)
    AuditEntry.objects.filter(pk=entries[3].pk).update(seq=3, patient_seq=3)


def tamper_relink(entries):
    """Edits, and makes leaf and link of that entry fit again."""
    entry = AuditEntry.objects.get(pk=entries[2].pk)
    entry.action = "records.listed"
    leaf = audit.leaf_of(entry)
    AuditEntry.objects.filter(pk=entry.pk).update(
        action=entry.action,
        leaf=leaf,
        link=audit.link_of(entry.previous_link, leaf),
        patient_link=audit.link_of(entry.patient_previous_link, leaf),
    )


@pytest.mark.scenario("P7")
@pytest.mark.parametrize(
    ("tamper", "number"),
    [
        (tamper_edit, 3),
        (tamper_detail, 3),
        (tamper_actor, 3),
        (tamper_time, 3),
        (tamper_delete, 3),
        (tamper_order, 3),
        (tamper_relink, 3),
    ],
)
def test_tampering_is_found_by_number(people, insider, tamper, number):
    entries = write(people, 6, people.pat_a)
    with tenant(people.a):
        tamper(entries)
    for report in (audit.verify_patient(people.pat_a), audit.verify_hospital(people.a)):
        assert not report.is_complete
        assert report.first_missing == number


@pytest.mark.scenario("P7")
def test_a_cut_end_is_found(people, insider):
    entries = write(people, 6, people.pat_a)
    with tenant(people.a):
        AuditEntry.objects.filter(seq__gt=4)._raw_delete("default")
    report = audit.verify_hospital(people.a)
    assert (report.is_complete, report.first_missing, report.count) == (False, 5, 4)
    assert entries


def test_one_query_per_chunk_of_a_check(people, django_assert_max_num_queries):
    write(people, 12, people.pat_a)
    with django_assert_max_num_queries(8):
        assert audit.verify_patient(people.pat_a).is_complete


@pytest.mark.django_db(transaction=True)
def test_concurrent_acts_queue_up_without_gap_or_fork():
    people = make_people()
    actor, failures = people.actor(people.alice), []

    def work():
        try:
            for _ in range(5):
                with transaction.atomic():
                    audit.append(hospital=people.a, actor=actor, action="records.opened", patient=people.pat_a)
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    report = audit.verify_patient(people.pat_a)
    assert (report.count, report.is_complete) == (20, True)
    assert audit.verify_hospital(people.a).is_complete
