"""Invitations, sessions, tokens, applications: what needs no chain."""

from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from chain.models import OutboxItem
from hospitals import audit, services
from hospitals.actors import Actor
from hospitals.errors import HospitalsError, Invalid, NotFound, Refused
from hospitals.models import AccessToken, ActivationCode, AuditEntry, KeyRecord, Membership, Organisation, User
from hospitals.tenancy import tenant
from hospitals.types import Role
from tests.factories import PASSWORD, make_member, make_user


def invite(people, **fields):
    values = {"email": "nia@a.example.org", "name": "Nia Park", "role": "nurse", **fields}
    return services.staff_register(actor=people.actor(people.hana), hospital=people.a, **values)


@pytest.mark.scenario("H8", "O14")
def test_a_new_member_of_staff(people, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        member = invite(people)
    assert member.status == "pending"
    item = OutboxItem.objects.get(ref=member.chain_ref)
    assert (item.chain, item.payload["function"]) == ("MED", "registerPractitioner")
    assert item.payload["args"] == ["0x" + member.chain_address.hex(), 2]
    purposes = set(KeyRecord.objects.filter(owner_id__in=[member.pk, member.user.pk]).values_list("purpose", flat=True))
    assert purposes == {"wrap", "sign", "chain"}
    assert not member.user.has_usable_password()
    with tenant(people.a):
        assert AuditEntry.objects.get(action="staff.registered").target_id == str(member.pk)
    code = mail.outbox[0].body.split("code:")[1].split()[0]
    with pytest.raises(Invalid):
        services.activation_redeem(code=code, password="short")
    user = services.activation_redeem(code=code.lower().replace("-", " "), password=PASSWORD)
    assert user.check_password(PASSWORD)
    with pytest.raises(Invalid, match="does not work"):
        services.activation_redeem(code=code, password=PASSWORD)


@pytest.mark.parametrize("role", ["clerk", "admin", "privacy"])
def test_office_roles_are_local_and_have_keys(people, role):
    member = invite(people, role=role)
    assert (member.status, member.chain_ref) == ("active", "")
    assert member.chain_address
    assert not OutboxItem.objects.filter(lane="call").exists()


@pytest.mark.scenario("H8")
@pytest.mark.parametrize("who", ["alice", "cleo", "pat", "reg", "boris", "dora"])
def test_only_the_administrator_registers_staff(people, who):
    with pytest.raises(Refused):
        services.staff_register(
            actor=people.actor(getattr(people, who)), hospital=people.a, email="x@example.org", name="X", role="nurse"
        )
    with pytest.raises(Refused):
        services.staff_end(actor=people.actor(getattr(people, who)), hospital=people.a, membership_id=people.adam.pk)
    assert not OutboxItem.objects.exists()


def test_an_existing_person_gets_a_second_role_elsewhere_not_here(people, mailoutbox):
    with pytest.raises(Invalid) as raised:
        invite(people, email=people.alice.user.email)
    assert list(raised.value.fields) == ["email"]
    member = invite(people, email=people.dora.user.email, name="Somebody Else", role="doctor")
    assert member.user == people.dora.user
    assert member.user.name == "Dora Lindqvist"
    assert member.chain_address != people.dora.chain_address
    assert mailoutbox == []


def test_old_invitations_end_with_the_next_and_with_time(people):
    user = make_user("New", password=None)
    first, second = services.activation_create(user=user), services.activation_create(user=user)
    with pytest.raises(Invalid):
        services.activation_redeem(code=first, password=PASSWORD)
    ActivationCode.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for code in (second, "", "nonsense"):
        with pytest.raises(Invalid, match="does not work"):
            services.activation_redeem(code=code, password=PASSWORD)


@pytest.mark.scenario("H1")
def test_ending_a_role_cuts_sessions_and_tokens_at_once(people):
    browsers = [people.client(people.adam) for _ in range(2)]
    other = people.client(people.alice)
    token, raw = services.token_create(actor=people.actor(people.adam), name="Script", scopes=["records:read"])
    private, _ = services.token_create(actor=Actor(people.adam.user), name="Own", scopes=["log:read"])
    services.staff_end(actor=people.actor(people.hana), hospital=people.a, membership_id=people.adam.pk)
    for browser in browsers:
        request = browser.get("/accounts/email/")
        assert request.status_code == 302
    assert other.session["_auth_user_id"] == str(people.alice.user.pk)
    assert User.objects.get(pk=people.adam.user.pk).session_epoch == 1
    assert AccessToken.objects.get(pk=token.pk).revoked_at
    assert AccessToken.objects.get(pk=private.pk).revoked_at is None
    item = OutboxItem.objects.get(ref=f"staff-end:{people.adam.pk.hex}")
    assert item.payload["function"] == "removePractitioner"
    with pytest.raises(HospitalsError, match="already ended"):
        services.staff_end(actor=people.actor(people.hana), hospital=people.a, membership_id=people.adam.pk)


@pytest.mark.scenario("H8")
def test_two_roles_end_separately(people):
    second = invite(people, email=people.dora.user.email, name="Dora", role="doctor")
    services.staff_end(actor=people.actor(people.hana), hospital=people.a, membership_id=second.pk)
    assert Membership.objects.get(pk=people.dora.pk).status == "active"
    with pytest.raises(NotFound):
        services.staff_end(actor=people.actor(people.hana), hospital=people.a, membership_id=people.dora.pk)


def test_the_last_administrator_stays(people):
    with pytest.raises(HospitalsError, match="last administrator"):
        services.staff_end(actor=people.actor(people.hana), hospital=people.a, membership_id=people.hana.pk)
    make_member(people.a, Role.ADMIN)
    services.staff_end(actor=people.actor(people.hana), hospital=people.a, membership_id=people.hana.pk)


def test_tokens_are_shown_once_and_kept_as_a_hash(people):
    token, raw = services.token_create(actor=people.actor(people.alice), name="Lab", scopes=["records:write"], days=30)
    row = AccessToken.objects.get(pk=token.pk)
    assert raw.startswith("hp_")
    assert len(raw) > 40
    assert raw not in str(row.__dict__)
    assert bytes(row.token_hash) == services.token_hash(raw)
    for bad in ({"scopes": []}, {"scopes": ["everything"]}, {"days": 0}, {"days": 4000}, {"name": ""}):
        values = {"name": "Lab", "scopes": ["records:read"], **bad}
        with pytest.raises(Invalid) as raised:
            services.token_create(actor=people.actor(people.alice), **values)
        assert list(raised.value.fields) == list(bad)
    with pytest.raises(NotFound):
        services.token_revoke(actor=people.actor(people.dora), token_id=token.pk)
    services.token_revoke(actor=people.actor(people.alice), token_id=token.pk)
    services.token_revoke(actor=people.actor(people.alice), token_id=token.pk)
    with tenant(people.a):
        assert AuditEntry.objects.filter(action="tokens.revoked").count() == 1


def apply(**fields):
    values = {"name": "Cedar Hospital", "kind": "hospital", "contact_name": "Cem", "contact_email": "cem@c.example.org"}
    return services.organisation_apply(**{**values, **fields})


@pytest.mark.scenario("G1", "G8")
def test_an_application_is_decided_once_by_another_officer(people):
    c = apply(evidence_name="../../licence.pdf", evidence=b"%PDF secret licence")
    assert (c.status, c.slug, c.initials, c.evidence_name) == ("applied", "cedar-hospital", "CH", "licence.pdf")
    assert b"licence" not in bytes(c.evidence_sealed)
    reg = people.actor(people.reg)
    assert services.evidence_open(actor=reg, organisation=c) == b"%PDF secret licence"
    with pytest.raises(Refused):
        services.evidence_open(actor=people.actor(people.hana), organisation=c)
    for outsider in (people.hana, people.alice, people.pat):
        with pytest.raises(Refused):
            services.organisation_admit(actor=people.actor(outsider), organisation=c)
    own = Membership.objects.create(user=people.reg.user, hospital=c, role=Role.ADMIN)
    with pytest.raises(Refused, match="another officer"):
        services.organisation_admit(actor=reg, organisation=c)
    Membership.objects.filter(pk=own.pk).update(status="ended")
    with pytest.raises(Invalid):
        services.organisation_refuse(actor=reg, organisation=c, reason="no")
    services.organisation_refuse(actor=reg, organisation=c, reason="The licence has expired.")
    with pytest.raises(HospitalsError, match="already decided"):
        services.organisation_admit(actor=reg, organisation=Organisation.objects.get(pk=c.pk))
    assert not OutboxItem.objects.filter(lane="call").exists()
    with tenant(people.authority):
        assert list(AuditEntry.objects.order_by("seq").values_list("action", flat=True)) == [
            "organisations.applied",
            "organisations.refused",
        ]


@pytest.mark.scenario("G1")
def test_admission_needs_evidence_and_pays_for_gas_where_it_costs(people, settings):
    c = apply()
    reg = people.actor(people.reg)
    with pytest.raises(Invalid) as raised:
        services.organisation_admit(actor=reg, organisation=c)
    assert list(raised.value.fields) == ["evidence"]
    chains = settings.CHAIN["chains"]
    settings.CHAIN = {**settings.CHAIN, "chains": {**chains, "MED": {**chains["MED"], "gas_price_wei": 0}}}
    services.organisation_admit(actor=reg, organisation=c, evidence_name="visit.txt", evidence=b"Seen on site")
    calls = OutboxItem.objects.filter(lane="call")
    assert {(item.chain, item.payload["function"]) for item in calls} == {
        ("SUP", "admitOrganisation"),
        ("MED", "admitOrganisation"),
    }
    assert {bytes(item.sender) for item in calls} == {bytes(people.authority.account_address)}
    assert [item.chain for item in OutboxItem.objects.filter(lane="transfer")] == ["SUP"]


def test_names_never_collide_with_routes(people):
    slugs = [
        apply(name=name, contact_email=f"c{n}@example.org").slug
        for n, name in enumerate(["Regulator", "API", "Northwick", "Cedar", "Cedar", "東京病院"])
    ]
    assert slugs == ["regulator-2", "api-2", "northwick-2", "cedar", "cedar-2", "organisation"]


@pytest.mark.parametrize(
    "fields", [{"name": "x"}, {"kind": "regulator"}, {"kind": "pub"}, {"contact_email": "x"}, {"contact_name": " "}]
)
def test_wrong_applications_change_nothing(people, fields):
    before = (Organisation.objects.count(), User.objects.count())
    with pytest.raises(Invalid):
        apply(**fields)
    assert (Organisation.objects.count(), User.objects.count()) == before


def test_settings_of_a_hospital(people):
    with pytest.raises(Refused):
        services.organisation_settings_update(
            actor=people.actor(people.alice), hospital=people.a, default_chains="MED", special_categories=[]
        )
    services.organisation_settings_update(
        actor=people.actor(people.hana), hospital=people.a, default_chains="BOTH", special_categories=["imaging"]
    )
    assert Organisation.objects.get(pk=people.a.pk).default_chains == "BOTH"
    assert audit.verify_hospital(people.a).count == 1


def test_an_address_is_one_account_however_it_is_written(db):
    user, _ = services.user_create(email="Ann@Example.org", name="Ann")
    again, is_new = services.user_create(email=" ann@EXAMPLE.org ", name="Other")
    assert (again, is_new, again.name) == (user, False, "Ann")
    assert Client().login(email="ann@example.org", password="") is False
