"""The operators' console: roles, logs and accounts of the own organisation; nothing to read of patients or keys."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import reverse

from hospitals import audit
from hospitals.models import AuditEntry
from hospitals.tenancy import tenant

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@pytest.fixture
def operator(people, client):
    """Hana looks after A's accounts and log."""
    user = people.hana.user
    user.is_staff = True
    user.save()
    names = ("view_user", "view_membership", "view_organisation", "view_auditentry", "view_accesstoken")
    user.user_permissions.set(Permission.objects.filter(codename__in=names, content_type__app_label="hospitals"))
    client.force_login(user, backend=BACKEND)
    for hospital, member, patient in ((people.a, people.alice, people.pat_a), (people.b, people.dora, people.pat_b)):
        audit.append(hospital=hospital, actor=people.actor(member), action="records.opened", patient=patient)
    return client


def listed(client, name, **query):
    answer = client.get(reverse(f"admin:hospitals_{name}_changelist"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_no_patient_no_content_no_key_is_registered():
    registered = {model.__name__ for model in admin.site._registry}
    assert registered >= {"User", "Organisation", "Membership", "AccessToken", "AuditEntry"}
    private = {"Patient", "PatientClaim", "KeyRecord", "KekVersion", "ActivationCode", "Record", "Wrap", "AccessGrant"}
    assert not registered & (private | {"Authenticator", "Session", "UserSession", "EmailAddress", "EmailConfirmation"})


@pytest.mark.scenario("H2")
def test_an_operator_sees_the_own_organisation(people, operator):
    assert "Birch" not in listed(operator, "organisation") + listed(operator, "membership")
    assert people.alice.user.email in listed(operator, "user")
    assert people.dora.user.email not in listed(operator, "user")
    for name, row in (("organisation", people.b), ("membership", people.dora), ("user", people.dora.user)):
        assert operator.get(reverse(f"admin:hospitals_{name}_change", args=[row.pk])).status_code == 302


def test_the_log_is_for_one_organisation_and_says_who_looked(people, operator):
    assert "records.opened" not in listed(operator, "auditentry")
    page = listed(operator, "auditentry", organisation=people.a.slug)
    assert "records.opened" in page
    assert "Moreno" not in page
    assert "records.opened" not in listed(operator, "auditentry", organisation=people.b.slug)
    with tenant(people.a):
        entries = list(AuditEntry.objects.order_by("seq"))
    assert [entry.action for entry in entries] == ["records.opened", "operator.log_viewed"]
    answer = operator.get(reverse("admin:hospitals_auditentry_change", args=[entries[0].pk]))
    assert answer.status_code == 200
    assert "Moreno" not in answer.content.decode()
    with tenant(people.b):
        foreign = AuditEntry.objects.get()
    assert operator.get(reverse("admin:hospitals_auditentry_change", args=[foreign.pk])).status_code == 302
    with tenant(people.b):
        assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize("is_superuser", [False, True])
def test_nothing_can_be_changed(people, operator, is_superuser):
    user = people.hana.user
    user.is_superuser = is_superuser
    user.save()
    with tenant(people.a):
        entry = AuditEntry.objects.get()
    rows = {"organisation": people.a, "membership": people.alice, "auditentry": entry}
    for name, row in rows.items():
        assert operator.get(reverse(f"admin:hospitals_{name}_add")).status_code == 403
        assert operator.post(reverse(f"admin:hospitals_{name}_change", args=[row.pk]), {}).status_code == 403
        assert (
            operator.post(reverse(f"admin:hospitals_{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
        )


def test_an_operator_does_not_make_operators(people, operator):
    people.hana.user.user_permissions.add(Permission.objects.get(codename="change_user"))
    url = reverse("admin:hospitals_user_change", args=[people.alice.user.pk])
    operator.post(url, {"is_active": "on", "is_staff": "on", "is_superuser": "on", "groups": []})
    people.alice.user.refresh_from_db()
    assert (people.alice.user.is_staff, people.alice.user.is_superuser) == (False, False)


@pytest.mark.parametrize("who", ["alice", "pat", "reg"])
def test_the_console_is_for_operators(people, client, who):
    person = getattr(people, who)
    client.force_login(getattr(person, "user", person), backend=BACKEND)
    assert client.get(reverse("admin:index")).status_code == 302


@pytest.mark.scenario("P20")
def test_the_console_has_no_sign_in_of_its_own(client, db):
    answer = client.get(reverse("admin:login"))
    assert (answer.status_code, answer.url.split("?")[0]) == (302, "/accounts/login/")
