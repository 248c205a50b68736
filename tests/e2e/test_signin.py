"""P20 in a browser: passkeys, the second step, what Back shows, drafts that outlive idle sign-off."""

import re

import pytest
from django.urls import reverse

from hospitals.services import sessions_end
from hospitals.types import Role
from tests.e2e.axe import assert_accessible
from tests.e2e.conftest import code_of, fill_sign_in, passkeys, shot, sign_in
from tests.factories import make_member, make_user

pytestmark = [pytest.mark.scenario("P20"), pytest.mark.django_db(transaction=True)]

OPEN_PAGES = [
    "account_login",
    "account_signup",
    "account_reset_password",
    "account_reset_password_done",
    "account_activate",
]
OWN_PAGES = [
    "account_place", "account_home", "account_claim", "mfa_index", "mfa_activate_totp", "mfa_add_webauthn",
    "mfa_list_webauthn", "usersessions_list", "account_change_password", "account_email", "account_logout",
]  # fmt: skip


@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_around_sign_in_is_accessible(open_page, cast, width):
    page = open_page(width)
    for name in OPEN_PAGES:
        page.open(reverse(name))
        shot(page, name)
        assert_accessible(page)
    sign_in(page, cast.pat)
    for name in OWN_PAGES:
        page.open(reverse(name))
        shot(page, name)
        assert_accessible(page)
    page.expected = {404}
    page.open("/no/such/page/")
    shot(page, "error_404")
    assert_accessible(page)


def test_password_and_code(open_page, cast):
    page = open_page(360)
    fill_sign_in(page, cast.alice, "wrong")
    assert "is not right" in page.inner_text("main")
    assert_accessible(page)
    fill_sign_in(page, cast.alice)
    assert page.path() == reverse("mfa_authenticate")
    assert_accessible(page)
    page.fill("[name=code]", code_of(cast.alice))
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/h/{cast.a.slug}/")


def test_a_new_doctor_adds_a_passkey_and_signs_in_with_it(open_page, cast):
    member = make_member(cast.a, Role.DOCTOR, user=make_user("Nina New"))
    page = open_page(1280)
    passkeys(page)
    fill_sign_in(page, member)
    page.wait_for_url("**" + reverse("mfa_index"))
    page.open(f"/h/{cast.a.slug}/")
    assert page.path() == reverse("mfa_index")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_role("button", name="Add this device").click()
    page.wait_for_url("**" + reverse("mfa_view_recovery_codes"))
    assert page.locator(".p-codes li").count() == 10
    shot(page, "recovery_codes")
    page.open(f"/h/{cast.a.slug}/")
    assert page.path() == f"/h/{cast.a.slug}/"
    page.open(reverse("account_logout"))
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url("**" + reverse("account_login"))
    page.click("text=Sign in with a passkey")
    page.wait_for_url(f"**/h/{cast.a.slug}/")


def test_the_regulator_comes_in_with_the_passkey_only(open_page, cast, settings):
    settings.HOSPITALS = {**settings.HOSPITALS, "regulator_needs_passkey": True}
    page = open_page(1280)
    passkeys(page)
    fill_sign_in(page, cast.reg)
    page.fill("[name=code]", code_of(cast.reg))
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url("**" + reverse("mfa_index"))
    assert "only with a passkey" in page.inner_text("main")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_role("button", name="Add this device").click()
    page.wait_for_url("**" + reverse("mfa_view_recovery_codes"))
    page.open("/regulator/")
    assert page.path().startswith(reverse("mfa_reauthenticate_webauthn"))
    assert_accessible(page)
    page.get_by_role("button", name="Use your passkey").click()
    page.wait_for_url("**/regulator/")


def test_back_after_signing_out_shows_sign_in(open_page, cast):
    page = open_page(1280)
    fill_sign_in(page, cast.pat)
    page.wait_for_url("**/me/")
    page.open(reverse("account_home"))
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url("**" + reverse("account_login"))
    page.go_back()
    page.wait_for_url(re.compile(r"/accounts/login/\?next=/accounts/$"))
    assert cast.pat.name not in page.inner_text("body")


def test_idle_sign_off_keeps_the_draft(open_page, cast, settings):
    settings.SESSION_IDLE_SECONDS = 3
    page = open_page(1280, cast.pat)
    page.expected = {401}
    page.open(reverse("account_claim"))
    page.fill("[name=given_name]", "Half-typed")
    sessions_end(user=cast.pat)
    page.wait_for_selector("dialog.p-dialog")
    assert page.locator("main").is_hidden()
    shot(page, "signed_off")
    assert_accessible(page)
    cast.pat.refresh_from_db()
    sign_in(page, cast.pat)
    page.click("text=I have signed in, go on")
    page.wait_for_selector("dialog.p-dialog", state="detached")
    assert page.input_value("[name=given_name]") == "Half-typed"


def test_typing_keeps_the_session_open(open_page, cast, settings):
    settings.SESSION_IDLE_SECONDS = 6
    page = open_page(1280, cast.pat)
    page.open(reverse("account_claim"))
    for letter in "typing slowly":
        page.type("[name=given_name]", letter)
        page.wait_for_timeout(700)
    assert page.locator("dialog.p-dialog").count() == 0


def test_without_scripts(open_page, cast):
    page = open_page(360, java_script_enabled=False)
    fill_sign_in(page, cast.alice)
    assert page.locator("text=Use a passkey").is_hidden()
    page.fill("[name=code]", code_of(cast.alice))
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/h/{cast.a.slug}/")
    page.open(reverse("account_logout"))
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    assert page.path() == reverse("account_login")


def test_by_keyboard_alone(open_page, cast):
    page = open_page(1280)
    page.open(reverse("account_login"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "Skip to main content"
    page.focus("[name=login]")
    page.keyboard.type(cast.pat.email)
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse battery staple")
    page.keyboard.press("Enter")
    page.wait_for_url("**/me/")
