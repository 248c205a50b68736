"""Patients: registered by a doctor, claimed by the person, confirmed at the desk."""

import secrets
import uuid
from datetime import date, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from chain import gateway
from chain import services as chain_services
from hospitals import audit, keyring, roles, sealing, selectors
from hospitals.actors import Actor
from hospitals.conf import conf
from hospitals.errors import HospitalsError, Invalid, NotFound
from hospitals.models import Organisation, Patient, PatientClaim, User, random32
from hospitals.roles import Permission
from hospitals.services.accounts import activation_create, user_create
from hospitals.tenancy import tenant
from hospitals.types import ClaimStatus, OrganisationKind, OrganisationStatus, Role, Sex

CHAIN = "MED"
MRN_LETTERS = "0123456789"


class LikelyDuplicate(HospitalsError):
    """Someone like this is registered here already; the caller shows them and may insist."""

    http_status = 422
    code = "likely_duplicate"
    title = "This person may already be registered here"
    user_message = "Compare the entries shown. Register again only if this is another person."

    def __init__(self, patients: list[Patient]):
        self.patients = patients
        super().__init__()


def patient_register(
    *,
    actor: Actor,
    hospital: Organisation,
    given_name: str,
    family_name: str,
    birth_date: date,
    sex: str = Sex.UNKNOWN,
    phone: str = "",
    email: str = "",
    mrn: str = "",
    user: User | None = None,
    is_duplicate_checked: bool = False,
) -> Patient:
    """A registration by a doctor: row, keys, opaque reference on chain. Pending until the event is final."""
    roles.require(actor, Permission.PATIENT_REGISTER, hospital=hospital)
    names = _person_check(given_name, family_name, birth_date, sex)
    with transaction.atomic(), tenant(hospital):
        if not is_duplicate_checked:
            likely = list(selectors.patient_duplicates(hospital=hospital, birth_date=birth_date, **names)[:5])
            if likely:
                raise LikelyDuplicate(likely)
        is_new = False
        if user is None and email:
            user, is_new = _user_of_address(email, names)
        patient = Patient(
            hospital=hospital,
            user=user,
            mrn=mrn.strip() or _free_mrn(),
            birth_date=birth_date,
            sex=sex,
            phone=phone.strip(),
            email=User.objects.normalise(email),
            registered_by=actor.membership,
            **names,
        )
        identity = keyring.patient_keys_create(patient)
        patient.identity_address, patient.identity_kid = identity.address, identity.kid
        preimage = random32()
        patient.rotation_secret_sealed = sealing.seal_blob(hospital.pk, "rotation", patient.pk, preimage)
        patient.chain_ref = f"patient:{patient.pk.hex}"
        _insert(patient)
        _registration_enqueue(actor, patient, preimage)
        keyring.directory_publish(hospital, owners=[patient, *([user] if user else [])])
        audit.append(
            hospital=hospital,
            actor=actor,
            action="patients.registered",
            patient=patient,
            target=patient,
            basis="treatment",
            purpose="TREAT",
        )
        if is_new:
            activation_create(user=user)
    return patient


def patient_claim_create(
    *,
    user: User,
    hospital: Organisation,
    given_name: str,
    family_name: str,
    birth_date: date,
    sex: str = Sex.UNKNOWN,
    phone: str = "",
) -> PatientClaim:
    """A visitor's own statement. No look-up happens, so known and unknown data get the same answer."""
    if hospital.kind != OrganisationKind.HOSPITAL or hospital.status != OrganisationStatus.ACTIVE:
        raise Invalid({"hospital": "Choose one of the hospitals in the list."})
    names = _person_check(given_name, family_name, birth_date, sex)
    with transaction.atomic(), tenant(hospital):
        open_claim = PatientClaim.objects.filter(
            user=user, status__in=[ClaimStatus.WAITING, ClaimStatus.CHECKED]
        ).first()
        if open_claim:
            return open_claim
        claim = PatientClaim.objects.create(
            hospital=hospital, user=user, birth_date=birth_date, sex=sex, phone=phone.strip(), **names
        )
        audit.append(hospital=hospital, actor=Actor(user), action="claims.created", target=claim)
    return claim


def patient_claim_confirm(*, actor: Actor, claim: PatientClaim, patient: Patient | None = None) -> PatientClaim:
    """The desk has seen the person's papers.

    With a patient: the account is linked to that registration. Without one, a doctor registers the person from the
    claim; anybody else leaves it checked, for a doctor to finish.
    """
    hospital = claim.hospital
    roles.require(actor, Permission.CLAIM_CHECK, hospital=hospital)
    with transaction.atomic(), tenant(hospital):
        before = [ClaimStatus.WAITING, ClaimStatus.CHECKED]
        status = ClaimStatus.CONFIRMED if patient or actor.role == Role.DOCTOR else ClaimStatus.CHECKED
        _claim_move(claim, actor, before, status)
        if patient:
            _link(patient, claim.user)
        elif status == ClaimStatus.CONFIRMED:
            patient = patient_register(
                actor=actor,
                hospital=hospital,
                given_name=claim.given_name,
                family_name=claim.family_name,
                birth_date=claim.birth_date,
                sex=claim.sex,
                phone=claim.phone,
                email=claim.user.email,
                user=claim.user,
                is_duplicate_checked=True,
            )
        if patient:
            claim.patient = patient
            claim.save(update_fields=["patient"])
        audit.append(
            hospital=hospital,
            actor=actor,
            action="claims.confirmed" if patient else "claims.checked",
            patient=patient,
            target=claim,
            basis="administration",
        )
    return claim


def patient_claim_refuse(*, actor: Actor, claim: PatientClaim, reason: str) -> PatientClaim:
    roles.require(actor, Permission.CLAIM_CHECK, hospital=claim.hospital)
    if not reason.strip():
        raise Invalid({"reason": "Say why, so that the person knows what to bring."})
    with transaction.atomic(), tenant(claim.hospital):
        _claim_move(claim, actor, [ClaimStatus.WAITING, ClaimStatus.CHECKED], ClaimStatus.REFUSED)
        claim.reason = reason.strip()[:200]
        claim.save(update_fields=["reason"])
        audit.append(hospital=claim.hospital, actor=actor, action="claims.refused", target=claim)
    return claim


def patient_link_accept(*, user: User, patient_id: uuid.UUID, birth_date: date) -> Patient:
    """A hospital registered someone with the address of an existing account: the person says "that is me"."""
    offered = {patient.pk: patient for patient in selectors.registrations_offered(user)}
    patient = offered.get(patient_id)
    if patient is None:
        raise NotFound()
    if patient.birth_date != birth_date:
        raise Invalid({"birth_date": "This does not match. Ask the hospital's desk."})
    with transaction.atomic(), tenant(patient.hospital):
        _link(patient, user)
        keyring.directory_publish(patient.hospital, owners=[user])
        audit.append(
            hospital=patient.hospital, actor=Actor(user), action="patients.linked", patient=patient, basis="own"
        )
    return patient


def _registration_enqueue(actor: Actor, patient: Patient, preimage: bytes) -> None:
    """The doctor's signature makes the registration theirs; the organisation's account relays it."""
    address = bytes(actor.membership.chain_address)
    commitment = gateway.identity_commitment(bytes(patient.identity_address), bytes(patient.identity_salt))
    lock = gateway.lock_of(preimage)
    deadline = int(timezone.now().timestamp()) + conf().registration_deadline_seconds
    signature = gateway.registration_sign(
        keyring.chain_signing_key(address),
        CHAIN,
        {
            "practitioner": address,
            "patientKey": bytes(patient.patient_key),
            "identityCommitment": commitment,
            "rotationLock": lock,
            "deadline": deadline,
        },
    )
    chain_services.call_enqueue(
        chain=CHAIN,
        sender=bytes(patient.hospital.account_address),
        contract="Registry",
        function="registerPatientFor",
        args=[address, bytes(patient.patient_key), commitment, lock, deadline, signature],
        ref=patient.chain_ref,
    )


def _user_of_address(email: str, names: dict[str, str]) -> tuple[User | None, bool]:
    """A new account for a new address. An existing account is only offered the registration: it may be a relative's."""
    user, is_new = user_create(email=email, name=f"{names['given_name']} {names['family_name']}")
    return (user, True) if is_new else (None, False)


def _person_check(given_name: str, family_name: str, birth_date: date | None, sex: str) -> dict[str, str]:
    fields = {}
    if not given_name.strip():
        fields["given_name"] = "Enter the first name."
    if not family_name.strip():
        fields["family_name"] = "Enter the family name."
    today = timezone.localdate()
    if birth_date is None:
        fields["birth_date"] = "Enter the date of birth, for example 27 3 1985."
    elif birth_date > today:
        fields["birth_date"] = "The date of birth must be in the past."
    elif birth_date < today - timedelta(days=366 * 130):
        fields["birth_date"] = "Check the year of birth."
    if sex not in Sex.values:
        fields["sex"] = "Choose one of the answers."
    for name, value in (("given_name", given_name), ("family_name", family_name)):
        if len(value) > 80 or not value.isprintable():
            fields[name] = "Use up to 80 ordinary characters."
    if fields:
        raise Invalid(fields)
    return {"given_name": given_name.strip(), "family_name": family_name.strip()}


def _insert(patient: Patient) -> None:
    try:
        with transaction.atomic():
            patient.save(force_insert=True)
    except IntegrityError as error:
        if "user" in str(error):
            raise Invalid({"email": "This person is already registered here with this account."}) from None
        raise Invalid({"mrn": "This patient number is already used here."}) from None


def _free_mrn() -> str:
    """Random digits: a running number would tell a patient how many came before."""
    while True:
        mrn = "".join(secrets.choice(MRN_LETTERS) for _ in range(8))
        if not Patient.objects.filter(mrn=mrn).exists():
            return mrn


def _link(patient: Patient, user: User) -> None:
    holder = patient.user
    if holder and holder.pk != user.pk and (holder.has_usable_password() or holder.last_login):
        raise HospitalsError("This registration already belongs to an account. Check which person is at the desk.")
    patient.user = user
    try:
        with transaction.atomic():
            patient.save(update_fields=["user"])
    except IntegrityError:
        raise HospitalsError("This account already has a registration at this hospital.") from None


def _claim_move(claim: PatientClaim, actor: Actor, before: list[Any], status: str) -> None:
    now = timezone.now()
    changed = PatientClaim.objects.filter(pk=claim.pk, status__in=before).update(
        status=status, decided_at=now, decided_by=actor.membership
    )
    if changed != 1:
        raise HospitalsError("This was already decided. Reload the page to see the present state.")
    claim.status, claim.decided_at, claim.decided_by = status, now, actor.membership
