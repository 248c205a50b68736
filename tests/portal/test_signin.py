"""P20: password with a second step or a passkey; locks with a stated end; what signing out ends; what Back shows."""

import re
import time
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hospitals import lockout, second_step
from hospitals.models import AccessToken, KeyRecord, PatientClaim, User
from hospitals.services import activation_create, sessions_end
from hospitals.tenancy import all_tenants, tenant
from hospitals.types import Role
from tests.factories import PASSWORD, make_member, make_organisation, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.scenario("P20")]


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()


def sign_in(client, user, password=PASSWORD):
    return client.post(reverse("account_login"), {"login": user.email, "password": password})


def code_of(user, ahead=0):
    secret = get_adapter().decrypt(Authenticator.objects.get(user=user, type="totp").data["secret"])
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + ahead))


def token_of(user):
    return AccessToken.objects.create(
        user=user,
        name="t",
        scopes=[],
        token_hash=bytes(32),
        prefix="hp_x",
        expires_at=timezone.now() + timedelta(days=1),
    )


# -- password and second step ------------------------------------------------------------------------------------


def test_staff_sign_in_needs_both_steps(people, client):
    answer = sign_in(client, people.alice.user)
    assert answer.url == reverse("mfa_authenticate")
    page = f"/h/{people.a.slug}/"
    assert reverse("account_login") in client.get(page).url
    answer = client.post(answer.url, {"code": code_of(people.alice.user)})
    assert answer.url == reverse("account_place")
    assert client.get(answer.url).url == page


def test_a_code_works_once(people, client):
    code = code_of(people.alice.user)
    sign_in(client, people.alice.user)
    client.post(reverse("mfa_authenticate"), {"code": code})
    other = Client()
    sign_in(other, people.alice.user)
    assert other.post(reverse("mfa_authenticate"), {"code": code}).status_code == 200
    assert "_auth_user_id" not in other.session


def test_a_recovery_code_replaces_the_second_step_once(people, client):
    code = RecoveryCodes.activate(people.alice.user).get_unused_codes()[0]
    sign_in(client, people.alice.user)
    assert client.post(reverse("mfa_authenticate"), {"code": code}).status_code == 302
    other = Client()
    sign_in(other, people.alice.user)
    assert other.post(reverse("mfa_authenticate"), {"code": code}).status_code == 200


def test_a_patient_goes_straight_home(people, client):
    answer = sign_in(client, people.pat)
    assert answer.url == reverse("account_place")
    assert client.get(answer.url).url == "/me/"


def test_one_who_is_staff_and_patient_chooses(people, client):
    people.pat_a.user = people.cleo.user
    with tenant(people.a):
        people.pat_a.save(update_fields=["user"])
    client = people.client(people.cleo)
    page = client.get(reverse("account_place"))
    assert page.status_code == 200
    assert f"/h/{people.a.slug}/" in page.text and 'href="/me/"' in page.text


def test_an_invited_account_needs_no_second_confirmation_of_its_address(people, client):
    EmailAddress.objects.filter(user=people.pat).delete()
    assert sign_in(client, people.pat).url == reverse("account_place")
    assert EmailAddress.objects.get(user=people.pat).verified


# -- staff keep the second step ----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.DOCTOR, Role.CLERK, Role.ADMIN])
def test_staff_without_a_second_step_open_nothing_else(people, role):
    member = make_member(people.a, role, user=make_user("New Member"))
    client = people.client(member)
    for page in (
        f"/h/{people.a.slug}/",
        "/me/",
        reverse("account_place"),
        reverse("account_claim"),
        "/api/v1/records/",
    ):
        answer = client.get(page)
        assert answer.status_code == (403 if page.startswith("/api/") else 302), page
        if answer.status_code == 302:
            assert answer.url == reverse("mfa_index")
    assert client.get(reverse("mfa_index")).status_code == 200
    assert client.get(reverse("usersessions_list")).status_code == 200


def test_a_patient_who_becomes_staff_is_stopped_at_the_next_click(people):
    client = people.client(people.pat)
    assert client.get(reverse("account_claim")).status_code == 200
    make_member(people.b, Role.CLERK, user=people.pat)
    assert client.get(reverse("account_claim")).url == reverse("mfa_index")


def test_operators_need_a_second_step(people):
    people.pat.is_staff = True
    people.pat.save()
    assert people.client(people.pat).get("/admin/").url == reverse("mfa_index")


def test_staff_cannot_switch_it_off(people, client):
    sign_in(client, people.alice.user)
    client.post(reverse("mfa_authenticate"), {"code": code_of(people.alice.user)})
    page = client.get(reverse("mfa_index"))
    assert "the last one stays" in page.text
    client.post(reverse("mfa_deactivate_totp"))
    assert Authenticator.objects.filter(user=people.alice.user, type="totp").exists()


def test_staff_cannot_remove_the_last_passkey(people, client):
    """The library asks before it removes an app, not before it removes a passkey."""
    user = people.alice.user
    sign_in(client, user)
    client.post(reverse("mfa_authenticate"), {"code": code_of(user)})
    Authenticator.objects.filter(user=user).delete()
    key = Authenticator.objects.create(user=user, type="webauthn", data={"name": "key", "credential": {}})
    client.post(reverse("mfa_remove_webauthn", args=[key.pk]))
    assert Authenticator.objects.filter(pk=key.pk).exists()
    TOTP.activate(user, generate_totp_secret())
    client.post(reverse("mfa_remove_webauthn", args=[key.pk]))
    assert not Authenticator.objects.filter(pk=key.pk).exists()


def test_a_patient_may_remove_it(people, client):
    TOTP.activate(people.pat, generate_totp_secret())
    sign_in(client, people.pat)
    client.post(reverse("mfa_authenticate"), {"code": code_of(people.pat)})
    client.post(reverse("mfa_deactivate_totp"))
    assert not Authenticator.objects.filter(user=people.pat).exists()


def test_the_regulator_needs_a_passkey_used_in_this_session(people, settings):
    settings.HOSPITALS = {**settings.HOSPITALS, "regulator_needs_passkey": True}
    client = people.client(people.reg)
    assert client.get("/regulator/").url == reverse("mfa_index")
    Authenticator.objects.create(user=people.reg.user, type="webauthn", data={"name": "key", "credential": {}})
    assert client.get("/regulator/").url.startswith(reverse("mfa_reauthenticate_webauthn"))
    session = client.session
    session["account_authentication_methods"] = [{"method": "mfa", "type": "webauthn", "at": time.time()}]
    session.save()
    assert client.get("/regulator/").status_code != 302


def test_no_secret_of_the_app_stands_in_the_database(people):
    stored = Authenticator.objects.get(user=people.alice.user, type="totp").data["secret"]
    assert re.fullmatch(r"[A-Z2-7]+", get_adapter().decrypt(stored))
    assert get_adapter().decrypt(stored) not in stored


# -- locks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_known", [True, False])
def test_ten_wrong_passwords_lock_with_a_stated_end(people, client, is_known):
    person = people.pat if is_known else User(email="nobody@example.org")
    for _ in range(9):
        page = sign_in(client, person, "wrong")
        assert "is not right" in page.text
    assert re.search(r"locked for 15 minutes, until \d\d:\d\d UTC", sign_in(client, person, "wrong").text)
    page = sign_in(client, person)
    assert "locked for" in page.text
    assert "_auth_user_id" not in client.session


def test_the_lock_ends(people, client, monkeypatch):
    for _ in range(10):
        sign_in(client, people.pat, "wrong")
    now = time.time()
    monkeypatch.setattr(lockout.time, "time", lambda: now + lockout.SECONDS + 1)
    cache.clear()  # its own clock did not move
    assert sign_in(client, people.pat).url == reverse("account_place")


def test_a_right_password_forgets_the_wrong_ones(people, client):
    for _ in range(2):
        for _ in range(6):
            sign_in(client, people.pat, "wrong")
        assert sign_in(client, people.pat).status_code == 302
        client.post(reverse("account_logout"))


def test_ten_wrong_codes_lock(people, client):
    sign_in(client, people.alice.user)
    for _ in range(10):
        page = client.post(reverse("mfa_authenticate"), {"code": "000000"})
    assert "locked for 15 minutes" in page.text
    page = client.post(reverse("mfa_authenticate"), {"code": code_of(people.alice.user)})
    assert "locked for" in page.text


# -- leaving -----------------------------------------------------------------------------------------------------


def test_signing_out_ends_session_and_tokens(people):
    client, token = people.client(people.alice), token_of(people.alice.user)
    key = client.session.session_key
    answer = client.post(reverse("account_logout"))
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert not client.session.exists(key)
    token.refresh_from_db()
    assert token.revoked_at
    assert reverse("account_login") in client.get(f"/h/{people.a.slug}/").url


def test_signing_out_everywhere(people):
    here, there, token = people.client(people.pat), people.client(people.pat), token_of(people.pat)
    here.post(reverse("account_logout"), {"everywhere": "yes"})
    assert reverse("account_login") in there.get("/me/").url
    token.refresh_from_db()
    assert token.revoked_at


def test_one_device_is_signed_out_and_only_ones_own(people, client):
    for browser in (here := Client(), there := Client(), other := Client()):
        sign_in(browser, people.quinn if browser is other else people.pat)
    from allauth.usersessions.models import UserSession

    foreign = UserSession.objects.get(user=people.quinn)
    assert here.post(reverse("account_device_end", args=[foreign.pk])).status_code == 404
    mine = UserSession.objects.get(session_key=there.session.session_key)
    here.post(reverse("account_device_end", args=[mine.pk]))
    assert reverse("account_login") in there.get("/me/").url
    assert here.get(reverse("account_home")).status_code == 200


def test_ended_sessions_stay_ended(people):
    client = people.client(people.pat)
    sessions_end(user=people.pat)
    assert reverse("account_login") in client.get("/me/").url


def test_signed_in_pages_are_not_stored(people):
    answer = people.client(people.pat).get(reverse("account_home"))
    assert "no-store" in answer.headers["Cache-Control"]


def test_fifteen_idle_minutes_end_it_and_polling_does_not_count(people, settings):
    client = people.client(people.pat)
    client.get(reverse("account_home"))
    session = client.session
    session["seen_at"] = int(time.time()) - settings.SESSION_IDLE_SECONDS + 30
    session.save()
    alive = reverse("account_alive")
    assert client.get(alive, headers={"X-Polling": "1"}).status_code == 200
    session = client.session
    session["seen_at"] -= 60
    session.save()
    assert client.get(alive, headers={"X-Polling": "1"}).status_code == 401
    assert reverse("account_login") in client.get("/me/").url


def test_use_renews_the_session(people, settings):
    client = people.client(people.pat)
    client.get(reverse("account_home"))
    session = client.session
    session["seen_at"] = int(time.time()) - settings.SESSION_IDLE_SECONDS + 30
    session.save()
    client.get(reverse("account_alive"))
    assert client.session["seen_at"] >= int(time.time()) - 5


# -- new accounts ------------------------------------------------------------------------------------------------


def register(client, email):
    return client.post(
        reverse("account_signup"), {"name": "Vera Visitor", "email": email, "password1": "four words nobody knows"}
    )


@pytest.mark.scenario("P18")
def test_registration_answers_the_same_for_a_known_address(people, client):
    new, known = register(Client(), "vera@example.org"), register(Client(), people.pat.email)
    assert (new.status_code, new.url) == (known.status_code, known.url)
    assert {m.to[0] for m in mail.outbox} == {"vera@example.org", people.pat.email}
    assert User.objects.filter(email=people.pat.email).count() == 1


@pytest.mark.scenario("P18")
def test_a_visitor_registers_and_waits_for_the_desk(people, client):
    answer = register(client, "vera@example.org")
    code = re.search(r"^([A-Z0-9]{4}-[A-Z0-9]{4})$", mail.outbox[-1].body, re.M).group(1)
    answer = client.post(answer.url, {"code": code})
    assert answer.url == reverse("account_place")
    vera = User.objects.get(email="vera@example.org")
    assert vera.name == "Vera Visitor"
    assert KeyRecord.objects.filter(owner_id=vera.pk).exists()
    assert "No hospital yet" in client.get(answer.url).text
    said = {
        "hospital": people.a.pk,
        "given_name": "Vera",
        "family_name": "Visitor",
        "birth_date": "1990-02-03",
        "sex": "female",
    }
    pats = {**said, "hospital": people.b.pk, "given_name": "Pat", "family_name": "Moreno", "birth_date": "1984-03-14"}
    answers = [client.post(reverse("account_claim"), data) for data in (said, pats)]
    assert {(a.status_code, a.url) for a in answers} == {(302, reverse("account_claim_sent"))}
    with all_tenants("test"):
        assert PatientClaim.objects.filter(user=vera).count() == 2
    page = client.get(reverse("account_place"))
    assert "Waiting for the desk" in page.text and people.a.name in page.text


def test_an_invitation_opens_once(people, client):
    user = make_user("Invited Person", password=None)
    code = activation_create(user=user)
    weak = client.post(reverse("account_activate"), {"code": code, "password": "short"})
    assert weak.status_code == 422
    assert client.post(reverse("account_activate"), {"code": code, "password": PASSWORD}).status_code == 302
    assert sign_in(client, user).status_code == 302
    again = Client().post(reverse("account_activate"), {"code": code, "password": PASSWORD})
    assert again.status_code == 422


def test_a_forgotten_password_tells_nothing(people, client):
    answers = [
        client.post(reverse("account_reset_password"), {"email": e}) for e in (people.pat.email, "no@example.org")
    ]
    assert len({(a.status_code, a.url) for a in answers}) == 1


def test_needed_kinds(people, settings):
    assert second_step.needed_kinds(people.pat) == frozenset()
    assert second_step.needed_kinds(people.alice.user) == {"webauthn", "totp"}
    settings.HOSPITALS = {**settings.HOSPITALS, "regulator_needs_passkey": True}
    assert second_step.needed_kinds(people.reg.user) == {"webauthn"}
    foreign = make_organisation("Other", slug="other")
    assert second_step.needed_kinds(make_member(foreign, Role.NURSE).user) == {"webauthn", "totp"}
