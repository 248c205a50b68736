"""The demo's people and places, through the same services as the pages. Running it again adds what is missing."""

import json
import os
import secrets
import time
from base64 import b32encode
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings
from django.contrib.auth.models import Group, Permission

from chain.deploying import officer_keys
from hospitals import services
from hospitals.actors import member_actor
from hospitals.adapters import email_confirm
from hospitals.models import Membership, Organisation, Patient, User
from hospitals.tenancy import tenant
from hospitals.types import MembershipStatus, OrganisationKind, OrganisationStatus, PatientStatus, Role
from portal.demo_files import Person

PASSWORD = "try-the-portal-2026"  # noqa: S105 (a demo account on this machine only)
WAIT_SECONDS = 90


class DemoFailed(Exception):
    """One clear sentence for the person at the terminal."""


@dataclass(frozen=True)
class Account:
    key: str
    name: str
    email: str
    role: str  # as people say it
    password: str
    secret: str  # of the one-time codes; empty: no second step


HOSPITALS = (
    ("northwick", "Northwick Hospital", "Hana Novak", "hana@northwick.example"),
    ("suedtor", "Suedtor Klinikum", "Emil Brandt", "emil@suedtor.example"),
    ("linden", "Linden Hospital", "Lena Hart", "lena@linden.example"),
)
ADMITTED = ("northwick", "suedtor")
REG = "reg@authority.example"
# With Reg the council: two of the three approve a new contract version.
OFFICERS = (("reg", "Reg Holt"), ("mara", "Mara Lind"), ("ivo", "Ivo Sander"))
STAFF = (
    ("alice", "Alice Ward", Role.DOCTOR, "northwick", "Cardiology"),
    ("adam", "Adam Chen", Role.DOCTOR, "northwick", "Internal medicine"),
    ("cleo", "Cleo Baker", Role.CLERK, "northwick", ""),
    ("dora", "Dora Klein", Role.DOCTOR, "suedtor", "Cardiology"),
)
PAT = Person("Pat", "Morgan", "1984-03-12", "female", "N-10482")
PAT_AT_B = Person("Pat", "Morgan", "1984-03-12", "female", "S-55020")
QUINN = Person("Quinn", "Weber", "1991-07-02", "male", "S-55021")
KIM = Person("Kim", "Osei", "1968-11-30", "female", "N-10483")
PATIENTS = (
    ("pat", PAT, "northwick", "alice"),
    ("kim", KIM, "northwick", "adam"),
    ("pat", PAT_AT_B, "suedtor", "dora"),
    ("quinn", QUINN, "suedtor", "dora"),
)


def accounts_file():
    return Path(settings.PORTAL_STATE) / "demo.json"


def accounts():
    """By key: alice, pat, … Empty before the first seed."""
    try:
        rows = json.loads(accounts_file().read_text())
    except FileNotFoundError:
        return {}
    return {row["key"]: row for row in rows}


def accounts_write(rows):
    draft = accounts_file().with_suffix(".tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump([asdict(row) for row in rows], stream, indent=1)
    draft.replace(accounts_file())


def wait_until(what, is_true, seconds=WAIT_SECONDS):
    """The rows follow the chains by themselves; this only watches."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise DemoFailed(
                f"{what} did not happen within {seconds} seconds; look into the logs of {settings.PORTAL_STATE}."
            )
        time.sleep(0.25)


class World:
    def __init__(self, say):
        self.say = say
        self.known = accounts()
        self.accounts = []

    def build(self):
        self.regulator()
        self.organisations()
        self.staff()
        self.patients()
        self.operators()
        accounts_write(self.accounts)
        return self

    def account(self, user, key, role, *, second_step):
        """A password, a confirmed address and, for staff, a one-time code whose secret the terminal shows."""
        known = self.known.get(key, {})
        secret = known.get("secret") or (b32encode(secrets.token_bytes(20)).decode() if second_step else "")
        if not user.has_usable_password():
            user.set_password(PASSWORD)
            user.save(update_fields=["password"])
        email_confirm(user)
        if second_step and not Authenticator.objects.filter(user=user).exists():
            TOTP.activate(user, secret)
        self.accounts.append(Account(key, user.name, user.email, role, PASSWORD, secret))
        return user

    def regulator(self):
        self.say("Regulator")
        key = bytes.fromhex(Path(settings.CHAIN["deployer_key_file"]).read_text().strip().removeprefix("0x"))
        self.authority = services.regulator_bootstrap(
            name="Health Data Authority", email=REG, account_key=key, officer_name="Reg Holt"
        )
        reg = Membership.objects.select_related("user", "hospital").get(hospital=self.authority, user__email=REG)
        self.account(reg.user, "reg", "Regulator", second_step=True)
        # No keys where the officers are named by address: then their own wallets decide.
        for (short, name), key in zip(OFFICERS, officer_keys(), strict=False):
            officer, _ = services.officer_add(email=f"{short}@authority.example", name=name, key=key)
            if short != "reg":
                self.account(officer.user, short, "Regulator, approves releases", second_step=True)
        wait_until(
            "The regulator's own entry on both chains", lambda: services.regulator_founded(organisation=self.authority)
        )
        self.officer = Membership.objects.select_related("user", "hospital").get(pk=reg.pk)

    def is_active(self, organisation):
        return Organisation.objects.filter(pk=organisation.pk, status=OrganisationStatus.ACTIVE).exists()

    def organisations(self):
        self.say("Hospitals: two admitted, one applicant")
        self.hospitals = {}
        for slug, name, contact, email in HOSPITALS:
            hospital = Organisation.objects.filter(slug=slug).first()
            if hospital is None:
                hospital = services.organisation_apply(
                    name=name,
                    kind=OrganisationKind.HOSPITAL,
                    contact_name=contact,
                    contact_email=email,
                    website=f"https://{slug}.example",
                    statement="Licensed acute hospital; we want to take part in the exchange of records.",
                    evidence_name="licence.pdf",
                    evidence=licence(name),
                )
                Organisation.objects.filter(pk=hospital.pk).update(slug=slug)
                hospital.slug = slug
            if slug in ADMITTED and hospital.status == OrganisationStatus.APPLIED:
                services.organisation_admit(actor=member_actor(self.officer), organisation=hospital)
            self.hospitals[slug] = hospital
        for slug in ADMITTED:
            wait_until(f"The admission of {slug}", lambda slug=slug: self.is_active(self.hospitals[slug]))
        for slug, name, _, email in HOSPITALS:
            self.hospitals[slug].refresh_from_db()
            user = User.objects.get(email=email)
            role = "Administrator" if slug in ADMITTED else "Applicant"
            self.account(user, email.partition("@")[0], f"{role}, {name}", second_step=True)

    def membership(self, user, slug):
        return Membership.objects.select_related("user", "hospital").get(user=user, hospital=self.hospitals[slug])

    def staff(self):
        self.say("Doctors and desk")
        self.members = {}
        for key, name, role, slug, title in STAFF:
            hospital = self.hospitals[slug]
            email = f"{key}@{slug}.example"
            if not Membership.objects.filter(user__email=email, hospital=hospital).exists():
                admin = Membership.objects.select_related("user", "hospital").get(hospital=hospital, role=Role.ADMIN)
                services.staff_register(
                    actor=member_actor(admin), hospital=hospital, email=email, name=name, role=role, title=title
                )
            user = User.objects.get(email=email)
            self.account(user, key, f"{role.label}, {hospital.name}", second_step=True)
            self.members[key] = self.membership(user, slug)
        pending = [member.pk for member in self.members.values()]
        active = Membership.objects.filter(pk__in=pending, status=MembershipStatus.ACTIVE)
        wait_until("The registration of the staff", lambda: active.count() == len(pending))
        self.members = {key: self.membership(member.user, member.hospital.slug) for key, member in self.members.items()}

    def patients(self):
        self.say("Patients")
        self.registrations = {}
        for key, person, slug, doctor in PATIENTS:
            hospital = self.hospitals[slug]
            user, _ = services.user_create(email=f"{key}@patients.example", name=person.name)
            with tenant(hospital):
                patient = Patient.objects.filter(mrn=person.mrn).first()
                if patient is None:
                    patient = services.patient_register(
                        actor=member_actor(self.members[doctor]),
                        hospital=hospital,
                        given_name=person.given_name,
                        family_name=person.family_name,
                        birth_date=date.fromisoformat(person.birth_date),
                        sex=person.sex,
                        email=user.email,
                        mrn=person.mrn,
                        user=user,
                        is_duplicate_checked=True,
                    )
            self.registrations[key, slug] = patient
            if not any(account.key == key for account in self.accounts):
                self.account(user, key, "Patient", second_step=False)
        for (key, slug), patient in self.registrations.items():
            wait_until(
                f"The registration of {key} at {slug}", lambda slug=slug, patient=patient: self.is_live(slug, patient)
            )

    def operators(self):
        """For the console at /admin/: one who sees everything there, and Hana, who sees her own hospital."""
        user, _ = services.user_create(email="ops@portal.example", name="Olga Stein")
        User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
        self.account(user, "ops", "Operator of the platform", second_step=True)
        group, _ = Group.objects.get_or_create(name="Hospital operators")
        looked_at = ("auditentry", "membership", "organisation", "user")
        group.permissions.set(
            Permission.objects.filter(
                content_type__app_label="hospitals", codename__in=[f"view_{name}" for name in looked_at]
            )
        )
        hana = User.objects.get(email="hana@northwick.example")
        hana.groups.add(group)
        User.objects.filter(pk=hana.pk).update(is_staff=True)

    def is_live(self, slug, patient):
        with tenant(self.hospitals[slug]):
            return Patient.objects.filter(pk=patient.pk, status=PatientStatus.ACTIVE).exists()


def licence(name):
    from portal.demo_files import pdf

    return pdf("Operating licence", [name, "", "is licensed to run an acute hospital.", "", "Ministry of Health"])
