"""Real rows with real keys. These are admitted and registered at once; `tests/people_on_chain.py` goes by the chain."""

import itertools
from datetime import date

from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.utils import timezone

from hospitals import keyring, sealing
from hospitals.models import Membership, Organisation, Patient, User, random32
from hospitals.services import user_create
from hospitals.tenancy import tenant
from hospitals.types import MembershipStatus, OrganisationKind, OrganisationStatus, PatientStatus, Role, Sex

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def make_user(name, *, email="", password=PASSWORD, second_factor=False):
    email = email or f"{name.lower().replace(' ', '.')}.{next(_numbers)}@example.org"
    user, _ = user_create(email=email, name=name, password=password)
    EmailAddress.objects.get_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
    if second_factor:
        TOTP.activate(user, generate_totp_secret())
    return user


def make_organisation(name, *, slug="", kind=OrganisationKind.HOSPITAL, status=OrganisationStatus.ACTIVE, **fields):
    slug = slug or f"{name.lower().replace(' ', '-')}-{next(_numbers)}"
    said = {"SUP": "active", "MED": "active"} if status == OrganisationStatus.ACTIVE else {}
    organisation = Organisation.objects.create(
        name=name,
        slug=slug,
        initials=name[:2].upper(),
        kind=kind,
        status=status,
        chain_status=said,
        contact_email=f"office@{slug}.example.org",
        decided_at=timezone.now() if status != OrganisationStatus.APPLIED else None,
        **fields,
    )
    keyring.organisation_keys_create(organisation)
    return organisation


def make_member(hospital, role, name="", *, user=None, email="", title="", status=MembershipStatus.ACTIVE):
    """A member of staff with a second factor and an own chain account."""
    user = user or make_user(name or f"{role} {next(_numbers)}", email=email, second_factor=True)
    membership = Membership.objects.create(user=user, hospital=hospital, role=role, title=title, status=status)
    membership.chain_address = keyring.membership_chain_key_create(membership)
    if role in (Role.DOCTOR, Role.NURSE):
        membership.chain_ref = f"staff:{membership.pk.hex}"
    membership.save()
    return membership


def make_patient(doctor, given_name="Test", family_name="Patient", *, user=None, **fields):
    """A registration by this doctor at the doctor's hospital, already active."""
    number = next(_numbers)
    patient = Patient(
        hospital=doctor.hospital,
        user=user,
        given_name=given_name,
        family_name=family_name,
        birth_date=fields.pop("birth_date", date(1985, 3, 27)),
        mrn=fields.pop("mrn", f"{number:08d}"),
        sex=fields.pop("sex", Sex.FEMALE),
        registered_by=doctor,
        status=fields.pop("status", PatientStatus.ACTIVE),
        **fields,
    )
    identity = keyring.patient_keys_create(patient)
    patient.identity_address, patient.identity_kid = identity.address, identity.kid
    patient.rotation_secret_sealed = sealing.seal_blob(doctor.hospital_id, "rotation", patient.pk, random32())
    patient.chain_ref = f"patient:{patient.pk.hex}"
    with tenant(doctor.hospital):
        patient.save(force_insert=True)
    return patient


def user_of(person):
    return person if isinstance(person, User) else person.user
