"""The staff pages: what each role gets, and that everybody else gets nothing."""

import uuid
from datetime import date

import pytest
from django.core import mail
from django.urls import reverse

from chain.models import OutboxItem
from hospitals import services
from hospitals.models import AccessToken, AuditEntry, Membership, Organisation, Patient
from hospitals.tenancy import tenant
from tests.factories import make_member, make_patient
from tests.portal.pages import assert_pinned, queries_of
from tests.records.conftest import blobs, made, send, work  # noqa: F401

pytestmark = pytest.mark.django_db

PERSON = {
    "given_name": "Noor",
    "family_name": "Hadid",
    "birth_date": "1979-05-02",
    "sex": "female",
    "mrn": "",
    "email": "",
    "phone": "",
}


def url(name, *args, slug="northwick"):
    return reverse(f"hospital:{name}", args=[slug, *args])


# (route, arguments, who may, who may not)
PAGES = [
    ("home", [], ["alice", "cleo", "hana"], []),
    ("secure", [], ["alice", "cleo", "hana"], []),
    ("chains", [], ["alice", "cleo", "hana"], []),
    ("patients", [], ["alice", "cleo", "hana"], []),
    ("patient_new", [], ["alice"], ["cleo", "hana"]),
    ("claims", [], ["alice", "cleo", "hana"], []),
    ("upload", [], ["alice", "cleo"], ["hana"]),
    ("jobs", [], ["alice", "cleo", "hana"], []),
    ("upload_states", [], ["alice", "cleo", "hana"], []),
    ("shared", [], ["alice"], ["cleo", "hana"]),
    ("log", [], ["hana"], ["alice", "cleo"]),
    ("staff", [], ["alice", "cleo", "hana"], []),
    ("staff_new", [], ["hana"], ["alice", "cleo"]),
    ("settings", [], ["alice", "cleo", "hana"], []),
    ("patient", ["pat_a"], ["alice", "cleo", "hana"], []),
    ("patient_log", ["pat_a"], ["alice", "hana"], []),
    ("upload_for", ["pat_a"], ["alice", "cleo"], ["hana"]),
    ("staff_end", ["adam"], ["hana"], ["alice", "cleo"]),
]


@pytest.mark.parametrize(("route", "names", "may", "may_not"), PAGES, ids=[row[0] for row in PAGES])
def test_each_page_by_role(people, route, names, may, may_not):
    path = url(route, *[getattr(people, name).pk for name in names])
    for name in may:
        assert people.client(getattr(people, name)).get(path).status_code == 200, (route, name)
    for name in may_not:
        assert people.client(getattr(people, name)).get(path).status_code == 403, (route, name)
    # Outsiders: a doctor of another hospital, the regulator, a patient get what a random address gives.
    for outsider in (people.dora, people.reg, people.pat):
        assert people.client(outsider).get(path).status_code == 404, route


OUTSIDE_POSTS = ["patient_new", "staff_new", "settings", "token_create"]


@pytest.mark.parametrize("route", OUTSIDE_POSTS)
def test_a_form_of_another_hospital_is_not_found(people, route):
    for outsider in (people.dora, people.boris, people.reg, people.pat):
        assert people.client(outsider).post(url(route), {}).status_code == 404
    assert people.client(people.dora).post(url(route)).status_code == 404


def test_signed_out_people_are_sent_to_sign_in(client, people):
    answer = client.get(url("patient", people.pat_a.pk))
    assert answer.status_code == 302 and reverse("account_login") in answer.url


# D9: registering a patient


@pytest.mark.scenario("D9")
def test_a_doctor_registers_a_patient_and_the_patient_is_told(chains, people, django_capture_on_commit_callbacks):
    alice = people.client(people.alice)
    with django_capture_on_commit_callbacks(execute=True):
        answer = alice.post(url("patient_new"), PERSON | {"email": "noor@example.org"})
    with tenant(people.a):
        patient = Patient.objects.get(family_name="Hadid")
    assert (answer.status_code, answer.url) == (302, url("patient", patient.pk))
    assert patient.status == "pending" and patient.registered_by_id == people.alice.pk
    assert "The registry is confirming this patient" in alice.get(answer.url).content.decode()
    wish = OutboxItem.objects.get(ref=patient.chain_ref)
    assert "Hadid" not in str(wish.payload)
    assert [message.to for message in mail.outbox] == [["noor@example.org"]]
    with tenant(people.a):
        assert AuditEntry.objects.filter(action="patients.registered", patient=patient).count() == 1


@pytest.mark.scenario("D9")
def test_nobody_but_a_doctor_of_the_house_registers_a_patient(people):
    for person, status in [("hana", 403), ("cleo", 403), ("dora", 404), ("reg", 404), ("pat", 404)]:
        assert people.client(getattr(people, person)).post(url("patient_new"), PERSON).status_code == status, person
    Membership.objects.filter(pk=people.adam.pk).update(status="ended")
    assert people.client(people.adam).post(url("patient_new"), PERSON).status_code == 404
    with tenant(people.a):
        assert not Patient.objects.filter(family_name="Hadid").exists()


@pytest.mark.scenario("D9")
def test_a_likely_duplicate_is_shown_here_and_one_elsewhere_is_not(chains, people):
    alice = people.client(people.alice)
    twin = PERSON | {"given_name": "Pat", "family_name": "Moreno", "birth_date": "1984-03-14"}
    answer = alice.post(url("patient_new"), twin)
    words = answer.content.decode()
    assert answer.status_code == 422 and "This may be the same person" in words
    assert words.count(str(people.pat_a.pk)) == 1 and str(people.pat_b.pk) not in words
    assert alice.post(url("patient_new"), twin | {"is_other": "on"}).status_code == 302
    # Quinn is known at B only: nothing is said, and the registration goes through.
    elsewhere = PERSON | {"given_name": "Quinn", "family_name": "Abara", "birth_date": "1991-07-02"}
    assert alice.post(url("patient_new"), elsewhere).status_code == 302


def test_bad_values_are_said_at_their_fields(people):
    alice = people.client(people.alice)
    answer = alice.post(url("patient_new"), PERSON | {"birth_date": "2190-01-01", "family_name": ""})
    words = answer.content.decode()
    assert answer.status_code == 422
    assert "lies in the future" in words and "This field is required" in words
    taken = alice.post(url("patient_new"), PERSON | {"mrn": people.pat_a.mrn})
    assert taken.status_code == 422 and "already used here" in taken.content.decode()


# D10: who finds whom


@pytest.mark.scenario("D10")
def test_staff_find_their_own_hospitals_people_and_nobody_elses(people):
    alice, hana = people.client(people.alice), people.client(people.hana)
    for client in (alice, hana):
        found = client.get(url("patients"), {"q": "moreno"}).content.decode()
        assert str(people.pat_a.pk) in found and str(people.pat_b.pk) not in found
        assert "Nobody found" in client.get(url("patients"), {"q": "abara"}).content.decode()
        staff = client.get(url("staff")).content.decode()
        assert "Adam Brandt" in staff and "Dora" not in staff
        assert client.get(url("patient", people.quinn_b.pk)).status_code == 404
    # Administrative data only: the administrator sees names and numbers, and no list of records.
    page = hana.get(url("patient", people.pat_a.pk)).content.decode()
    assert people.pat_a.mrn in page and "Contents are for the treating staff" in page
    assert people.client(people.reg).get(url("patient", people.pat_a.pk)).status_code == 404


@pytest.mark.parametrize("text", ["Moreno", "pat mor", "14.3.1984", "1984-03-14", "14/03/1984"])
def test_patients_are_found_by_name_number_and_birth_date(people, text):
    alice = people.client(people.alice)
    assert str(people.pat_a.pk) in alice.get(url("patients"), {"q": text}).content.decode()
    assert str(people.pat_a.pk) in alice.get(url("patients"), {"q": people.pat_a.mrn}).content.decode()


def test_everybody_whom_a_search_lists_gets_an_entry(people):
    people.client(people.cleo).get(url("patients"), {"q": "moreno"})
    with tenant(people.a):
        listed = AuditEntry.objects.filter(action="patients.listed", actor_membership=people.cleo)
        assert {entry.patient_id for entry in listed} == {people.pat_a.pk, people.kim_a.pk}
        assert {entry.basis for entry in listed} == {"administration"}


# H8: staff


@pytest.mark.scenario("H8")
def test_the_administrator_registers_a_doctor(people, django_capture_on_commit_callbacks):
    hana = people.client(people.hana)
    fields = {"name": "Nils Berg", "email": "nils@example.org", "role": "doctor", "title": "Surgery"}
    with django_capture_on_commit_callbacks(execute=True):
        assert hana.post(url("staff_new"), fields).status_code == 302
    member = Membership.objects.get(user__email="nils@example.org")
    assert (member.role, member.status, member.hospital_id) == ("doctor", "pending", people.a.pk)
    assert OutboxItem.objects.filter(ref=member.chain_ref).exists()
    page = hana.get(url("staff")).content.decode()
    assert "Nils Berg" in page and "Being registered" in page and 'hx-trigger="every 3s"' in page
    assert len(mail.outbox) == 1
    again = hana.post(url("staff_new"), fields)
    assert again.status_code == 422 and "already has a role here" in again.content.decode()


@pytest.mark.scenario("H8")
def test_nobody_else_registers_staff(people):
    fields = {"name": "Nils Berg", "email": "nils@example.org", "role": "doctor"}
    for person, status in [("alice", 403), ("cleo", 403), ("pat", 404), ("reg", 404), ("boris", 404)]:
        client = people.client(getattr(people, person))
        assert client.post(url("staff_new"), fields).status_code == status, person
        assert client.post(url("staff_end", people.adam.pk)).status_code == status, person
    assert not Membership.objects.filter(user__email="nils@example.org").exists()


@pytest.mark.scenario("H8")
def test_two_roles_of_one_doctor_end_separately(people):
    both = make_member(people.b, "doctor", user=people.adam.user)
    assert people.client(people.hana).post(url("staff_end", both.pk)).status_code == 404
    assert people.client(people.hana).post(url("staff_end", people.adam.pk)).status_code == 302
    assert Membership.objects.get(pk=people.adam.pk).status == "ended"
    assert Membership.objects.get(pk=both.pk).status == "active"
    people.adam.user.refresh_from_db()
    assert people.client(people.adam).get(url("home")).status_code == 404
    assert people.client(people.adam).get(url("home", slug="birch")).status_code == 200
    left = people.client(people.hana).get(url("staff"), {"ended": "1"}).content.decode()
    assert "Adam Brandt" in left


# Settings and tokens


def test_a_token_is_shown_once_and_can_be_stopped(people):
    alice = people.client(people.alice)
    answer = alice.post(url("token_create"), {"name": "Ward script", "scopes": ["records:read"], "days": "30"})
    token = AccessToken.objects.get()
    secret = answer.content.decode().partition('data-copy="')[2].partition('"')[0]
    assert answer.status_code == 201 and secret.startswith(token.prefix) and len(secret) > 40
    page = alice.get(url("settings")).content.decode()
    assert "Ward script" in page and secret not in page
    assert people.client(people.adam).post(url("token_revoke", token.pk)).status_code == 404
    assert alice.post(url("token_revoke", token.pk)).status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None
    nothing = alice.post(url("token_create"), {"name": "x", "days": "30"})
    assert nothing.status_code == 422
    # A clerk is not offered what the role could never do.
    assert 'value="log:read"' not in people.client(people.cleo).get(url("settings")).content.decode()


def test_only_the_administrator_changes_where_seals_go(people):
    fields = {"default_chains": "BOTH", "special_categories": ["imaging"]}
    assert people.client(people.alice).post(url("settings"), fields).status_code == 403
    assert people.client(people.hana).post(url("settings"), fields).status_code == 302
    hospital = Organisation.objects.get(pk=people.a.pk)
    assert (hospital.default_chains, hospital.special_categories) == ("BOTH", ["imaging"])


# The desk


def test_the_desk_checks_papers_before_anything_opens(chains, people):
    with tenant(people.a):
        claim = services.patient_claim_create(
            user=people.quinn, hospital=people.a, given_name="Quinn", family_name="Abara", birth_date=date(1991, 7, 2)
        )
    cleo, alice = people.client(people.cleo), people.client(people.alice)
    assert "Quinn Abara" in cleo.get(url("claims")).content.decode()
    assert people.client(people.dora).post(url("claim_decide", claim.pk), {"step": "check"}).status_code == 404
    assert cleo.post(url("claim_decide", claim.pk), {"step": "check"}).status_code == 302
    with tenant(people.a):
        assert not Patient.objects.filter(family_name="Abara").exists()
    assert "Identity checked" in alice.get(url("claims")).content.decode()
    answer = alice.post(url("claim_decide", claim.pk), {"step": "confirm"})
    with tenant(people.a):
        patient = Patient.objects.get(family_name="Abara")
    assert answer.url == url("patient", patient.pk) and patient.user_id == people.quinn.pk


def test_the_log_shows_who_did_what_and_reading_it_is_an_entry(people):
    people.client(people.alice).get(url("patient", people.pat_a.pk))
    hana = people.client(people.hana)
    page = hana.get(url("log")).content.decode()
    assert "Alice Okafor" in page and "Opened the list of records" in page and "Pat Moreno" in page
    assert "Opened the access log" in hana.get(url("log")).content.decode()
    only = hana.get(url("log"), {"person": str(people.adam.pk), "days": "7"}).content.decode()
    assert "No entry fits" in only
    assert hana.get(url("log"), {"person": "nonsense", "days": "x", "page": "99"}).status_code == 200


def test_pages_cost_the_same_however_many_rows(people, made):  # noqa: F811
    alice, hana = people.client(people.alice), people.client(people.hana)
    pages = {
        "hospital:home": (alice, url("home")),
        "hospital:patients": (alice, url("patients")),
        "hospital:patients?q": (alice, url("patients") + "?q=moreno"),
        "hospital:patient": (alice, url("patient", people.pat_a.pk)),
        "hospital:patient_log": (alice, url("patient_log", people.pat_a.pk)),
        "hospital:upload_for": (alice, url("upload_for", people.pat_a.pk)),
        "hospital:jobs": (alice, url("jobs")),
        "hospital:log": (hana, url("log")),
        "hospital:staff": (hana, url("staff")),
        "hospital:settings": (hana, url("settings")),
    }
    made(people.alice, people.pat_a)
    few = {name: queries_of(*page) for name, page in pages.items()}
    for number in range(4):
        made(people.alice, people.pat_a, title=f"Result {number}")
        make_patient(people.alice, f"Extra{number}", "Moreno")
        make_member(people.a, "nurse", f"Nurse Number{number}")
    many = {name: queries_of(*page) for name, page in pages.items()}
    assert many == few
    for name, count in many.items():
        assert_pinned(name, count)


def test_random_ids_and_old_pages_are_plain_not_found(people):
    alice = people.client(people.alice)
    for route in ("patient", "patient_log", "upload_for", "version_new"):
        assert alice.get(url(route, uuid.uuid4())).status_code == 404
