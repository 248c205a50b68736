"""Registration at the desk, self-registration, and who is linked to what."""

from datetime import date, timedelta

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chain.models import OutboxItem
from hospitals import selectors, services
from hospitals.errors import HospitalsError, Invalid, NotFound, Refused
from hospitals.models import AuditEntry, Patient, PatientClaim, User
from hospitals.services.patients import LikelyDuplicate
from hospitals.tenancy import tenant
from tests.factories import make_patient, make_user

BORN = date(1990, 5, 17)


def register(people, who, **fields):
    values = {"given_name": "Nora", "family_name": "Quist", "birth_date": BORN, **fields}
    return services.patient_register(actor=people.actor(who), hospital=people.a, **values)


def claim(user, hospital, **fields):
    values = {"given_name": "Nora", "family_name": "Quist", "birth_date": BORN, **fields}
    return services.patient_claim_create(user=user, hospital=hospital, **values)


@pytest.mark.scenario("D9")
def test_a_doctor_registers(people, recorded_contracts, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        patient = register(people, people.alice, email="Nora@Example.org")
    with tenant(people.a):
        patient = Patient.objects.get(pk=patient.pk)
        entry = AuditEntry.objects.get(patient=patient)
    assert (patient.status, len(patient.mrn), patient.registered_by) == ("pending", 8, people.alice)
    assert (entry.action, entry.actor_membership) == ("patients.registered", people.alice)
    item = OutboxItem.objects.get(ref=patient.chain_ref)
    assert (item.chain, item.payload["function"]) == ("MED", "registerPatientFor")
    assert bytes(item.sender) == bytes(people.a.account_address)
    # The patient is told, without a word about anything clinical or the hospital.
    assert [message.to for message in mail.outbox] == [["nora@example.org"]]
    assert patient.user.email == "nora@example.org"
    assert not patient.user.has_usable_password()
    for private in ("Nora", "Quist", "1990", people.a.name):
        assert private not in mail.outbox[0].body + mail.outbox[0].subject
        assert private not in str(item.payload)


@pytest.mark.scenario("D9", "H8")
@pytest.mark.parametrize("who", ["hana", "cleo", "reg", "dora", "boris"])
def test_nobody_else_registers(people, recorded_contracts, who):
    with pytest.raises(Refused):
        register(people, getattr(people, who))
    with pytest.raises(Refused):
        services.patient_register(
            actor=people.actor(people.pat), hospital=people.a, given_name="N", family_name="Q", birth_date=BORN
        )
    with tenant(people.a):
        assert Patient.objects.count() == 2


@pytest.mark.scenario("D9")
def test_a_deactivated_doctor_does_not_register(people, recorded_contracts):
    actor = people.actor(people.adam)
    services.staff_end(actor=people.actor(people.hana), hospital=people.a, membership_id=people.adam.pk)
    with pytest.raises(Refused):
        services.patient_register(
            actor=actor.refreshed(), hospital=people.a, given_name="N", family_name="Q", birth_date=BORN
        )


@pytest.mark.scenario("D9")
def test_a_likely_duplicate_is_shown_within_the_hospital_only(people, recorded_contracts):
    same_as_at_b = {"given_name": "Quinn", "family_name": "Abara", "birth_date": people.quinn_b.birth_date}
    assert register(people, people.alice, **same_as_at_b)
    for twist in (
        {"given_name": "PAT", "family_name": "moreno", "birth_date": date(1970, 1, 1)},
        {"given_name": "Patricia", "family_name": "Moreno", "birth_date": people.pat_a.birth_date},
        {"given_name": "Pat", "family_name": "Newname", "birth_date": people.pat_a.birth_date},
    ):
        with pytest.raises(LikelyDuplicate) as raised:
            register(people, people.alice, **twist)
        assert raised.value.patients == [people.pat_a]
    assert register(people, people.alice, is_duplicate_checked=True, given_name="Pat", family_name="Moreno")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("given_name", " "),
        ("family_name", ""),
        ("family_name", "x" * 81),
        ("given_name", "Nora\u202e"),
        ("given_name", "No\0ra"),
        ("birth_date", None),
        ("birth_date", timezone.localdate() + timedelta(days=1)),
        ("birth_date", date(1800, 1, 1)),
        ("sex", "robot"),
        ("email", "not an address"),
    ],
)
def test_wrong_input_is_named_by_field(people, recorded_contracts, field, value):
    with pytest.raises(Invalid) as raised:
        register(people, people.alice, **{field: value})
    assert list(raised.value.fields) == [field]
    with tenant(people.a):
        assert Patient.objects.count() == 2
    assert not OutboxItem.objects.exists()


def test_a_taken_number_is_named(people, recorded_contracts):
    with pytest.raises(Invalid) as raised:
        register(people, people.alice, mrn=people.pat_a.mrn)
    assert list(raised.value.fields) == ["mrn"]


def test_the_address_of_an_existing_account_is_only_offered(people, recorded_contracts):
    """A wrong address at the desk must not put one person's records into another's account."""
    patient = register(people, people.alice, email=people.quinn.email)
    assert patient.user is None
    assert [p.pk for p in selectors.registrations_of(people.quinn)] == [people.quinn_b.pk]
    assert [p.pk for p in selectors.registrations_offered(people.quinn)] == [patient.pk]
    assert selectors.registrations_offered(people.pat) == []
    with pytest.raises(NotFound):
        services.patient_link_accept(user=people.pat, patient_id=patient.pk, birth_date=BORN)
    with pytest.raises(Invalid):
        services.patient_link_accept(user=people.quinn, patient_id=patient.pk, birth_date=date(1990, 5, 18))
    services.patient_link_accept(user=people.quinn, patient_id=patient.pk, birth_date=BORN)
    assert {p.hospital for p in selectors.registrations_of(people.quinn)} == {people.a, people.b}
    assert selectors.registrations_offered(people.quinn) == []


@pytest.mark.scenario("P18")
def test_self_registration_opens_nothing_until_the_desk_has_checked(people, recorded_contracts):
    visitor = make_user("Nora Quist")
    made = claim(visitor, people.a)
    assert selectors.registrations_of(visitor) == []
    assert claim(visitor, people.a).pk == made.pk
    services.patient_claim_confirm(actor=people.actor(people.cleo), claim=made)
    with tenant(people.a):
        made = PatientClaim.objects.select_related("hospital", "user").get(pk=made.pk)
    assert (made.status, made.patient) == ("checked", None)
    assert selectors.registrations_of(visitor) == []
    services.patient_claim_confirm(actor=people.actor(people.alice), claim=made)
    assert [p.hospital for p in selectors.registrations_of(visitor)] == [people.a]
    with pytest.raises(HospitalsError, match="already decided"):
        services.patient_claim_confirm(actor=people.actor(people.alice), claim=made)
    # The same account at B, unlinkable from A's registration.
    at_b = claim(visitor, people.b)
    services.patient_claim_confirm(actor=people.actor(people.dora), claim=at_b)
    first, second = selectors.registrations_of(visitor)
    assert {first.hospital, second.hospital} == {people.a, people.b}
    assert first.patient_key != second.patient_key
    assert first.identity_address != second.identity_address


@pytest.mark.scenario("P18")
def test_known_data_get_the_same_answer(people):
    known = {"given_name": "Pat", "family_name": "Moreno", "birth_date": people.pat_a.birth_date}
    users = [make_user("Visitor"), make_user("Visitor")]
    counts, answers = [], []
    for user, fields in zip(users, (known, {}), strict=True):
        with CaptureQueriesContext(connection) as queries:
            made = claim(user, people.a, **fields)
        counts.append(len(queries))
        answers.append((made.status, made.patient_id, made.reason))
    assert counts[0] == counts[1]
    assert answers[0] == answers[1] == ("waiting", None, "")


@pytest.mark.scenario("P18")
def test_the_desk_links_a_registration_and_never_steals_one(people, recorded_contracts):
    visitor = make_user("Kim Moreno")
    made = claim(visitor, people.a)
    with pytest.raises(HospitalsError, match="already belongs"):
        services.patient_claim_confirm(actor=people.actor(people.cleo), claim=made, patient=people.pat_a)
    services.patient_claim_confirm(actor=people.actor(people.cleo), claim=made, patient=people.kim_a)
    assert [p.pk for p in selectors.registrations_of(visitor)] == [people.kim_a.pk]


@pytest.mark.parametrize("who", ["dora", "boris", "reg"])
def test_claims_are_checked_in_their_own_house(people, who):
    made = claim(make_user("Visitor"), people.a)
    for act in (
        lambda actor: services.patient_claim_confirm(actor=actor, claim=made),
        lambda actor: services.patient_claim_refuse(actor=actor, claim=made, reason="No papers"),
    ):
        with pytest.raises(Refused):
            act(people.actor(getattr(people, who)))


def test_a_refused_claim_can_be_made_again(people):
    visitor = make_user("Visitor")
    made = claim(visitor, people.a)
    with pytest.raises(Invalid):
        services.patient_claim_refuse(actor=people.actor(people.cleo), claim=made, reason=" ")
    services.patient_claim_refuse(actor=people.actor(people.cleo), claim=made, reason="Bring a passport")
    assert [c.reason for c in selectors.claims_of(visitor)] == ["Bring a passport"]
    assert claim(visitor, people.a).pk != made.pk


@pytest.mark.parametrize("which", ["authority", "suspended"])
def test_claims_go_to_open_hospitals_only(people, which):
    hospital = people.authority if which == "authority" else people.a
    if which == "suspended":
        hospital.status = "suspended"
    with pytest.raises(Invalid):
        claim(make_user("Visitor"), hospital)


@pytest.mark.scenario("D10")
def test_lookups_by_id(people):
    def patient(who, row):
        try:
            return selectors.patient_visible(people.actor(who), row.pk) == row
        except NotFound:
            return False

    def staff(who, row):
        try:
            return selectors.membership_visible(people.actor(who), row.pk) == row
        except NotFound:
            return False

    everyone = [people.reg, people.hana, people.alice, people.cleo, people.dora, people.pat, people.quinn]

    def sees(row):
        return {person for person in everyone if patient(person, row)}

    assert sees(people.pat_a) == {people.hana, people.alice, people.cleo, people.pat}
    assert sees(people.pat_b) == {people.dora, people.pat}
    assert sees(people.quinn_b) == {people.dora, people.quinn}
    assert {p for p in everyone if staff(p, people.dora)} == set(everyone)  # a public entry
    assert {p for p in everyone if staff(p, people.hana)} == {people.reg, people.hana, people.alice, people.cleo}
    assert {p for p in everyone if staff(p, people.boris)} == {people.reg, people.dora}


@pytest.mark.scenario("D10", "H2")
def test_search_stays_in_the_hospital(people):
    make_patient(people.dora, "Alba", "Moreno", birth_date=date(1984, 3, 14))
    with tenant(people.a):

        def found(text):
            return {p.given_name for p in selectors.patient_search(hospital=people.a, text=text)}

        assert found("moreno") == {"Pat", "Kim"}
        assert found("Mor Pat") == {"Pat"}
        assert found("1984-03-14") == found("14.3.1984") == found("14 3 1984") == {"Pat"}
        assert found(people.pat_a.mrn) == {"Pat"}
        assert found(people.quinn_b.mrn) == found("Quinn") == found("") == found("  ") == found("99.99.1984") == set()
        assert found("%") == found("_") == set()


def test_numbers_of_the_regulator_name_nobody(people):
    rows = {row.hospital.slug: row for row in selectors.statistics()}
    assert (rows["northwick"].patients, rows["northwick"].practitioners) == (2, 2)
    assert (rows["birch"].patients, rows["birch"].practitioners) == (2, 1)
    assert "Moreno" not in str(rows)


def test_public_entries_hold_active_practitioners_only(people):
    assert {row.user.name for row in selectors.practitioner_search("a")} == {
        "Alice Okafor",
        "Adam Brandt",
        "Dora Lindqvist",
    }
    people.b.status = "suspended"
    people.b.save()
    assert selectors.practitioner_search("Dora") == []
    assert User.objects.filter(name="Dora Lindqvist").exists()
