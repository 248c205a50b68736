"""The patient's pages: own data only, no word about others, and every look in the log."""

import uuid

import pytest
from django.urls import reverse

from hospitals import audit
from hospitals.models import AuditEntry
from hospitals.tenancy import tenant

pytestmark = pytest.mark.db


def entries_of(patient):
    with tenant(patient.hospital):
        return list(AuditEntry.objects.filter(patient=patient).order_by("patient_seq"))


@pytest.mark.parametrize("route", ["home", "records", "log", "sharing"])
@pytest.mark.scenario("P1")
def test_page_opens_for_the_patient(people, route):
    response = people.client(people.pat).get(reverse(f"patient:{route}"))
    assert response.status_code == 200
    assert "2 hospitals" in response.content.decode() if route == "home" else people.a.name in response.content.decode()


@pytest.mark.parametrize("route", ["home", "records", "log", "sharing", "share"])
def test_visitor_is_sent_to_sign_in(people, client, route):
    response = client.get(reverse(f"patient:{route}"))
    assert response.status_code == 302
    assert reverse("account_login") in response["Location"]


@pytest.mark.scenario("P1")
def test_unknown_and_foreign_records_read_the_same(people):
    client = people.client(people.pat)
    answers = [client.get(reverse("patient:record", args=[uuid.uuid4()])) for _n in range(2)]
    assert {answer.status_code for answer in answers} == {404}
    assert client.get(reverse("patient:log-proof", args=[people.quinn_b.pk])).status_code == 404
    assert client.get(reverse("patient:share-stop", args=[uuid.uuid4()])).status_code == 404


@pytest.mark.scenario("P6")
def test_opening_the_log_is_itself_an_entry(people):
    before = len(entries_of(people.pat_a))
    response = people.client(people.pat).get(reverse("patient:log"))
    found = entries_of(people.pat_a)
    assert len(found) == before + 1
    assert found[-1].action == "log.opened"
    assert "You" in response.content.decode()


def test_log_shows_who_from_where_and_why(people):
    with tenant(people.a):
        audit.append(
            hospital=people.a,
            actor=people.actor(people.alice),
            action="records.version.read",
            patient=people.pat_a,
            basis="treatment",
            purpose="TREAT",
        )
        audit.append(
            hospital=people.a,
            actor=people.actor(people.dora),
            action="records.version.read",
            patient=people.pat_a,
            is_refused=True,
        )
    page = people.client(people.pat).get(reverse("patient:log")).content.decode()
    assert "Alice Okafor" in page and "Cardiology, Northwick Hospital" in page and "Treatment" in page
    assert "Dora Lindqvist" in page and "Refused" in page
    only = people.client(people.pat).get(reverse("patient:log") + "?reason=refused").content.decode()
    assert "Dora Lindqvist" in only and "Alice Okafor" not in only


def test_another_patient_sees_nothing_of_it(people):
    with tenant(people.a):
        audit.append(
            hospital=people.a, actor=people.actor(people.alice), action="records.version.read", patient=people.pat_a
        )
    page = people.client(people.quinn).get(reverse("patient:log")).content.decode()
    assert "Alice Okafor" not in page and people.a.name not in page


def test_export_neutralises_formulas(people):
    people.alice.user.name = "=HYPERLINK(1)"
    people.alice.user.save()
    with tenant(people.a):
        audit.append(
            hospital=people.a, actor=people.actor(people.alice), action="records.version.read", patient=people.pat_a
        )
    response = people.client(people.pat).get(reverse("patient:log-csv"))
    text = b"".join(response.streaming_content).decode()
    assert "'=HYPERLINK" in text and ",=HYPERLINK" not in text


def test_log_reports_a_removed_entry(people, django_db_blocker):
    """The page says which number is missing; the rows were taken out behind the portal's back."""
    from django.db import connection

    from hospitals import walls

    with tenant(people.a):
        for _n in range(3):
            audit.append(
                hospital=people.a, actor=people.actor(people.alice), action="records.listed", patient=people.pat_a
            )
    with connection.cursor() as cursor:
        for line in walls.append_only_drop(connection.vendor, "hospitals_auditentry"):
            cursor.execute(line)
        with tenant(people.a):
            victim = entries_of(people.pat_a)[1]
            AuditEntry.objects.filter(pk=victim.pk)._raw_delete("default")
        for line in walls.append_only_create(connection.vendor, "hospitals_auditentry"):
            cursor.execute(line)
    page = people.client(people.pat).get(reverse("patient:log")).content.decode()
    assert "entry 2 is missing or was changed" in page


@pytest.mark.scenario("P2")
def test_share_wizard_asks_step_by_step_and_keeps_answers_out_of_the_address(people):
    client = people.client(people.pat)
    response = client.get(reverse("patient:share"), follow=True)
    assert "Who may read?" in response.content.decode()
    steps = [
        ("who", {"who": str(people.dora.pk)}),
        ("what", {"registration": str(people.pat_a.pk), "what": "category:laboratory"}),
        ("purpose", {"purpose": "TREAT"}),
    ]
    for name, answer in steps:
        response = client.post(reverse("patient:share-step", args=[name]), answer)
        assert response.status_code == 302
        assert str(people.dora.pk) not in response["Location"] and "laboratory" not in response["Location"]
    past = client.post(reverse("patient:share-step", args=["until"]), {"until": "2020-01-01"})
    assert past.status_code == 422 and "has passed" in past.content.decode()
    far = client.post(reverse("patient:share-step", args=["until"]), {"until": "2099-01-01"})
    assert far.status_code == 422


def test_share_wizard_refuses_people_who_are_no_public_doctors(people):
    client = people.client(people.pat)
    client.get(reverse("patient:share"))
    response = client.post(reverse("patient:share-step", args=["who"]), {"who": str(people.hana.pk)})
    assert response.status_code == 422


def test_share_wizard_refuses_another_persons_registration(people):
    client = people.client(people.pat)
    client.get(reverse("patient:share"))
    answer = {"registration": str(people.quinn_b.pk), "what": "all"}
    assert client.post(reverse("patient:share-step", args=["what"]), answer).status_code == 422
