"""Regulator, hospital, doctor, patient: by the services, on two real chains, and refused by the contracts too."""

import secrets
import uuid
from datetime import date

import pytest

from chain import selectors as chain_selectors
from chain import services as chain_services
from chain.gateway import gateway, registration_sign
from chain.models import ChainEvent, OutboxItem
from hospitals import audit, keyring, services
from hospitals.actors import member_actor
from hospitals.errors import HospitalsError, Invalid, Refused
from hospitals.models import AccessToken, AuditEntry, KeyRecord, Membership, Organisation, Patient
from hospitals.projector import project
from hospitals.tenancy import tenant
from hospitals.types import OrganisationStatus, Role

pytestmark = pytest.mark.chain


def refresh(row):
    return (
        type(row).objects.select_related(*(["user", "hospital"] if isinstance(row, Membership) else [])).get(pk=row.pk)
    )


def admin_of(organisation):
    return member_actor(
        Membership.objects.select_related("user", "hospital").get(hospital=organisation, role=Role.ADMIN)
    )


def call(chain, sender, function, *args):
    """A wish straight to the contract, past every page and service; its end state."""
    ref = f"direct:{secrets.token_hex(8)}"
    chain_services.call_enqueue(
        chain=chain, sender=bytes(sender), contract="Registry", function=function, args=list(args), ref=ref
    )
    return ref


def outcome(ref):
    item = chain_selectors.item(ref)
    return item.state, item.error


@pytest.fixture
def regulator(db, deployer):
    """Its own admission is on the way; it need not be final before it decides."""
    from chain.deploying import deployer_key

    organisation = services.regulator_bootstrap(
        name="Health Authority", email="reg@authority.example.org", account_key=deployer_key()
    )
    return member_actor(Membership.objects.select_related("user", "hospital").get(hospital=organisation))


def apply(name, email):
    return services.organisation_apply(
        name=name,
        kind="hospital",
        contact_name=f"Admin of {name}",
        contact_email=email,
        evidence_name="licence.pdf",
        evidence=b"%PDF-1.4 licence of " + name.encode(),
    )


@pytest.fixture
def hospital_c(regulator, drive):
    organisation = apply("Cedar Hospital", "office@cedar.example.org")
    services.organisation_admit(actor=regulator, organisation=organisation)
    drive()
    return refresh(organisation)


def register(actor, **fields):
    values = {"given_name": "Pat", "family_name": "Moreno", "birth_date": date(1984, 3, 14), **fields}
    return services.patient_register(actor=actor, hospital=actor.membership.hospital, **values)


@pytest.mark.scenario("G1")
def test_admission(regulator, drive, settings):
    c = apply("Cedar Hospital", "office@cedar.example.org")
    assert c.status == OrganisationStatus.APPLIED
    applicant = admin_of(c)
    with pytest.raises(Refused):
        services.staff_register(actor=applicant, hospital=c, email="d@cedar.example.org", name="Doctor", role="doctor")
    early = [
        call("MED", c.account_address, "registerPractitioner", secrets.token_bytes(20), 1),
        call("MED", c.account_address, "admitOrganisation", c.account_address, 1, bytes(32)),
    ]
    drive()
    assert [outcome(ref)[0] for ref in early] == ["failed", "failed"]
    assert "NotActive" in outcome(early[0])[1] or "Organisation" in outcome(early[0])[1]

    services.organisation_admit(actor=regulator, organisation=c)
    assert refresh(c).status == OrganisationStatus.ADMITTING
    drive()
    c = refresh(c)
    assert c.status == refresh(regulator.membership.hospital).status == OrganisationStatus.ACTIVE
    assert c.chain_status == {"SUP": "active", "MED": "active"}
    for chain in ("SUP", "MED"):
        assert gateway(chain).call("Registry", "organisationStatus", bytes(c.account_address)) == (1, 1)
    event = ChainEvent.objects.get(
        chain="MED", name="OrganisationAdmitted", args__organisation="0x" + c.account_address.hex()
    )
    assert event.args["by"] == "0x" + regulator.membership.hospital.account_address.hex()
    assert event.args["evidence"] == "0x" + c.evidence_digest.hex()
    with pytest.raises(HospitalsError, match="already decided"):
        services.organisation_admit(actor=regulator, organisation=c)

    doctor = services.staff_register(
        actor=admin_of(c), hospital=c, email="d@cedar.example.org", name="Doctor", role="doctor"
    )
    # The regulator registers nobody's doctors, and C admits nobody.
    with pytest.raises(Refused):
        services.staff_register(actor=regulator, hospital=c, email="x@x.example.org", name="X", role="doctor")
    other = apply("Other", "office@other.example.org")
    with pytest.raises(Refused):
        services.organisation_admit(actor=admin_of(c), organisation=other)
    regulator_account = regulator.membership.hospital.account_address
    refused = call("MED", c.account_address, "admitOrganisation", other.account_address, 1, b"\1" * 32)
    drive()
    assert outcome(refused)[0] == "failed"
    assert refresh(doctor).status == "active"
    assert gateway("MED").call("Registry", "practitionerOf", bytes(doctor.chain_address))[0] != bytes(regulator_account)


@pytest.mark.scenario("G5", "D9")
def test_the_chain_of_registrations(hospital_c, drive):
    doctor = services.staff_register(
        actor=admin_of(hospital_c), hospital=hospital_c, email="d@c.example.org", name="Doctor", role="doctor"
    )
    with pytest.raises(Refused, match="not confirmed yet"):
        register(member_actor(refresh(doctor)))
    drive()
    doctor = refresh(doctor)
    patient = register(member_actor(doctor), email="pat@example.org")
    assert patient.status == "pending"
    drive()
    with tenant(hospital_c):
        patient = Patient.objects.get(pk=patient.pk)
    assert patient.status == "active"
    med = gateway("MED")
    organisation, commitment = med.call("Registry", "patientOf", bytes(patient.patient_key))
    assert organisation == bytes(hospital_c.account_address)
    assert med.call("Registry", "hasCareLink", bytes(patient.patient_key), bytes(doctor.chain_address)) is True
    events = [
        ChainEvent.objects.get(chain="MED", name=name, args__organisation="0x" + hospital_c.account_address.hex())
        for name in ("OrganisationAdmitted", "PractitionerRegistered", "PatientRegistered")
    ]
    assert len({event.tx_hash for event in events}) == 3
    assert events[2].args["practitioner"] == "0x" + doctor.chain_address.hex()
    texts = str([event.args for event in events]).lower()
    assert not any(word in texts for word in ("moreno", patient.mrn, patient.pk.hex, "1984"))


@pytest.mark.scenario("G5", "D9", "H8")
def test_skipping_a_step_is_refused_by_the_contract(hospital_c, regulator, drive):
    """With each person's own key, past every page."""
    admin = admin_of(hospital_c)
    clerk, doctor = (
        services.staff_register(actor=admin, hospital=hospital_c, email=f"{role}@c.example.org", name=role, role=role)
        for role in ("clerk", "doctor")
    )
    drive()
    org = bytes(hospital_c.account_address)

    def relayed(practitioner, key_of=None):
        patient_key, commitment, lock = (secrets.token_bytes(32) for _ in range(3))
        fields = {
            "practitioner": bytes(practitioner),
            "patientKey": patient_key,
            "identityCommitment": commitment,
            "rotationLock": lock,
            "deadline": 2**40,
        }
        signature = registration_sign(keyring.chain_signing_key(key_of or practitioner), "MED", fields)
        return call(
            "MED", org, "registerPatientFor", bytes(practitioner), patient_key, commitment, lock, 2**40, signature
        )

    admin_key = keyring.membership_chain_key_create(Membership(pk=uuid.uuid4(), hospital=hospital_c))
    refused = {
        "clerk signs": relayed(clerk.chain_address),
        "administrator signs": relayed(admin_key),
        "regulator signs": relayed(regulator.membership.hospital.account_address),
        "clerk signs as the doctor": relayed(doctor.chain_address, key_of=clerk.chain_address),
        "organisation itself": call("MED", org, "registerPatient", *(secrets.token_bytes(32) for _ in range(3))),
        "regulator's doctor": call(
            "MED", regulator.membership.hospital.account_address, "registerPractitioner", org, 1
        ),
        "doctor's doctor": call("MED", clerk.chain_address, "registerPractitioner", secrets.token_bytes(20), 1),
    }
    good = relayed(doctor.chain_address)
    drive()
    assert {name: outcome(ref)[0] for name, ref in refused.items()} == dict.fromkeys(refused, "failed")
    assert outcome(good)[0] == "final"
    assert ChainEvent.objects.filter(name="PatientRegistered").count() == 1


@pytest.mark.scenario("H1", "H8")
def test_a_doctor_leaves_and_returns_as_somebody_new(hospital_c, drive, client):
    admin = admin_of(hospital_c)
    fields = {"hospital": hospital_c, "email": "adam@c.example.org", "name": "Adam", "role": "doctor"}
    first = services.staff_register(actor=admin, **fields)
    drive()
    first = refresh(first)
    _, raw = services.token_create(actor=member_actor(first), name="Script", scopes=["records:read"])
    client.force_login(first.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert "_auth_user_id" in client.session
    services.staff_end(actor=admin, hospital=hospital_c, membership_id=first.pk)
    assert AccessToken.objects.get(token_hash=services.token_hash(raw)).revoked_at
    first = refresh(first)
    assert first.status == "ended"
    with pytest.raises(Refused, match="has ended"):
        register(member_actor(first))
    drive()
    med = gateway("MED")
    assert med.call("Registry", "isActiveMember", bytes(first.chain_address)) is False
    second = services.staff_register(actor=admin, **fields)
    drive()
    second = refresh(second)
    assert second.user == first.user
    assert second.chain_address != first.chain_address
    assert med.call("Registry", "isActiveMember", bytes(second.chain_address)) is True
    assert med.call("Registry", "isActiveMember", bytes(first.chain_address)) is False
    again = call("MED", hospital_c.account_address, "registerPractitioner", bytes(first.chain_address), 1)
    drive()
    assert outcome(again)[0] == "failed"


@pytest.mark.scenario("H7")
def test_suspension_counts_at_once_and_lifting_restores_everything(hospital_c, regulator, drive):
    doctor = services.staff_register(
        actor=admin_of(hospital_c), hospital=hospital_c, email="d@c.example.org", name="Doctor", role="doctor"
    )
    drive()
    patient = register(member_actor(refresh(doctor)))
    drive()
    services.organisation_suspend(actor=regulator, organisation=refresh(hospital_c), reason="Licence under review")
    with pytest.raises(Refused, match="suspended"):
        register(member_actor(refresh(doctor)), given_name="New")
    with pytest.raises(Refused):
        services.staff_register(
            actor=admin_of(hospital_c), hospital=hospital_c, email="e@c.example.org", name="E", role="nurse"
        )
    with pytest.raises(HospitalsError):
        services.organisation_suspend(actor=regulator, organisation=refresh(hospital_c), reason="Licence under review")
    drive()
    med, doctor = gateway("MED"), refresh(doctor)
    assert med.call("Registry", "isActiveMember", bytes(doctor.chain_address)) is False
    direct = call("MED", hospital_c.account_address, "registerPractitioner", secrets.token_bytes(20), 1)
    audit.append(hospital=refresh(hospital_c), actor=member_actor(doctor), action="records.opened")
    drive()
    assert outcome(direct)[0] == "failed"
    assert audit.verify_hospital(hospital_c).anchored_count == audit.verify_hospital(hospital_c).count

    services.organisation_reinstate(actor=regulator, organisation=refresh(hospital_c))
    assert refresh(hospital_c).status == OrganisationStatus.SUSPENDED  # until the registries say so
    with pytest.raises(HospitalsError):
        services.organisation_reinstate(actor=regulator, organisation=refresh(hospital_c))
    drive()
    assert refresh(hospital_c).status == OrganisationStatus.ACTIVE
    assert med.call("Registry", "hasCareLink", bytes(patient.patient_key), bytes(doctor.chain_address)) is True
    register(member_actor(refresh(doctor)), given_name="New", family_name="Person")
    drive()


def test_expulsion_is_for_good(hospital_c, regulator, drive):
    services.organisation_expel(actor=regulator, organisation=hospital_c, reason="Repeated serious breaches")
    drive()
    assert refresh(hospital_c).status == OrganisationStatus.EXPELLED
    with pytest.raises(HospitalsError):
        services.organisation_reinstate(actor=regulator, organisation=refresh(hospital_c))


@pytest.mark.scenario("P6", "P7")
def test_the_log_on_the_chain_shows_what_the_database_lost(hospital_c, drive):
    from django.db import connection

    from hospitals.walls import append_only_drop

    doctor = services.staff_register(
        actor=admin_of(hospital_c), hospital=hospital_c, email="d@c.example.org", name="Doctor", role="doctor"
    )
    drive()
    actor = member_actor(refresh(doctor))
    patient = register(actor)
    for _ in range(4):
        audit.append(hospital=actor.membership.hospital, actor=actor, action="records.opened", patient=patient)
    drive()
    report = audit.verify_patient(patient)
    assert (report.count, report.anchored_count, report.is_complete) == (5, 5, True)
    assert report.anchored_to_block > 0
    assert audit.verify_hospital(hospital_c).is_complete

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in append_only_drop(connection.vendor, "hospitals_auditentry"):
            cursor.execute(statement)
    with tenant(hospital_c):
        # The insider cuts the end and mends the head: only the chain still knows.
        last = AuditEntry.objects.order_by("-seq").first()
        AuditEntry.objects.filter(pk=last.pk)._raw_delete("default")
        before = AuditEntry.objects.order_by("-seq").first()
        from hospitals.models import AuditHead

        AuditHead.objects.update(seq=before.seq, link=before.link)
    report = audit.verify_patient(patient)
    assert (report.is_complete, report.first_missing) == (False, 5)
    assert "unknown_on_chain" in {fault.kind for fault in audit.verify_hospital(hospital_c).faults}


def test_replaying_all_events_changes_nothing(hospital_c, drive):
    from chain.projection import projector_reset

    services.staff_register(
        actor=admin_of(hospital_c), hospital=hospital_c, email="d@c.example.org", name="Doctor", role="doctor"
    )
    drive()

    def state():
        return (
            list(Organisation.objects.order_by("pk").values_list("status", "chain_status")),
            list(Membership.objects.order_by("pk").values_list("status", "started_at")),
            OutboxItem.objects.count(),
        )

    before = state()
    for chain in ("SUP", "MED"):
        projector_reset(projector="hospitals", chain=chain)
    assert project() > 0
    assert state() == before


@pytest.mark.scenario("O14")
def test_keys_of_an_admitted_hospital_are_in_the_anchored_directory(hospital_c, drive):
    rows = KeyRecord.objects.filter(hospital=hospital_c).exclude(directory_ref="")
    assert {row.purpose for row in rows} == {"wrap", "sign", "chain"}
    for row in rows:
        assert chain_selectors.item(row.directory_ref).state == "final"
        found = chain_selectors.inclusion(row.directory_ref)
        assert found.leaf == keyring.directory_leaf(row)


def test_wrong_input_changes_nothing(hospital_c):
    admin = admin_of(hospital_c)
    before = (Membership.objects.count(), OutboxItem.objects.count())
    for fields in (
        {"role": "regulator"},
        {"role": "nonsense"},
        {"email": "no address"},
        {"name": " "},
    ):
        values = {"email": "d@c.example.org", "name": "Doctor", "role": "doctor", **fields}
        with pytest.raises(Invalid):
            services.staff_register(actor=admin, hospital=hospital_c, **values)
    assert (Membership.objects.count(), OutboxItem.objects.count()) == before
