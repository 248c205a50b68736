"""The cast. A and B are hospitals; Dora of B is the outsider in every test of a page of A."""

from dataclasses import dataclass
from datetime import date
from types import SimpleNamespace

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.test import Client

from hospitals.actors import Actor, member_actor
from hospitals.models import KekVersion, KeyRecord, Membership, Organisation, Patient, User
from hospitals.tenancy import all_tenants
from hospitals.types import OrganisationKind, Role
from tests.factories import make_member, make_organisation, make_patient, make_user, user_of


@dataclass
class People:
    a: Organisation
    b: Organisation
    authority: Organisation
    alice: Membership  # doctor at A
    adam: Membership  # doctor at A
    cleo: Membership  # clerk at A
    hana: Membership  # administrator and privacy officer at A
    dora: Membership  # doctor at B
    boris: Membership  # administrator at B
    reg: Membership  # regulator
    pat: User  # registered at A and B
    pat_a: Patient
    pat_b: Patient
    quinn: User  # registered at B
    quinn_b: Patient
    kim_a: Patient  # Pat's child, no account

    def actor(self, person: Membership | User) -> Actor:
        return member_actor(person) if isinstance(person, Membership) else Actor(person)

    def client(self, person: Membership | User) -> Client:
        """A signed-in browser."""
        client = Client()
        client.force_login(user_of(person), backend="allauth.account.auth_backends.AuthenticationBackend")
        return client


def make_people() -> People:
    a = make_organisation("Northwick Hospital", slug="northwick", colour="teal")
    b = make_organisation("Birch Clinic", slug="birch", colour="plum")
    authority = make_organisation("Health Authority", slug="regulator", kind=OrganisationKind.REGULATOR)
    alice = make_member(a, Role.DOCTOR, "Alice Okafor", title="Cardiology")
    dora = make_member(b, Role.DOCTOR, "Dora Lindqvist")
    pat, quinn = make_user("Pat Moreno"), make_user("Quinn Abara")
    born = date(1984, 3, 14)
    return People(
        a=a,
        b=b,
        authority=authority,
        alice=alice,
        adam=make_member(a, Role.DOCTOR, "Adam Brandt"),
        cleo=make_member(a, Role.CLERK, "Cleo Novak"),
        hana=make_member(a, Role.ADMIN, "Hana Sato"),
        dora=dora,
        boris=make_member(b, Role.ADMIN, "Boris Wahl"),
        reg=make_member(authority, Role.REGULATOR, "Reg Officer"),
        pat=pat,
        pat_a=make_patient(alice, "Pat", "Moreno", user=pat, birth_date=born),
        pat_b=make_patient(dora, "Pat", "Moreno", user=pat, birth_date=born),
        quinn=quinn,
        quinn_b=make_patient(dora, "Quinn", "Abara", user=quinn, birth_date=date(1991, 7, 2)),
        kim_a=make_patient(alice, "Kim", "Moreno", birth_date=date(2013, 12, 1)),
    )


# Making some forty key pairs takes most of the time of a short test, so the rows of the first cast are kept and
# inserted again. Parents stand before children.
TABLES = (User, EmailAddress, Authenticator, Organisation, Membership, KekVersion, KeyRecord, Patient)
_kept: tuple[People, list] | None = None


def _make_once() -> People:
    global _kept
    if _kept is None:
        cast = make_people()
        with all_tenants("test fixtures"):
            _kept = cast, [(model, list(model.objects.all())) for model in TABLES]
        return cast
    cast, tables = _kept
    with all_tenants("test fixtures"):
        for model, rows in tables:
            model.objects.bulk_create(rows)
        return People(**{name: _reload(getattr(cast, name)) for name in People.__dataclass_fields__})


def _reload(row):
    parents = {Membership: ["user", "hospital"], Patient: ["hospital", "user", "registered_by"]}.get(type(row), [])
    return type(row).objects.select_related(*parents).get(pk=row.pk)


@pytest.fixture
def people(db, settings) -> People:
    # A passkey needs a browser; the rule itself has its own test.
    settings.HOSPITALS = {**settings.HOSPITALS, "regulator_needs_passkey": False}
    has_rows = User.objects.exists() or KekVersion.objects.exists()
    return make_people() if has_rows else _make_once()


@pytest.fixture
def organisations(db) -> SimpleNamespace:
    """Two bare hospitals, where people do not matter."""
    return SimpleNamespace(a=make_organisation("Hospital A"), b=make_organisation("Hospital B"))
