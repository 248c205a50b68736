"""A real browser against a real server. Without Chromium every test here is skipped and says why."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse

from tests.factories import PASSWORD, user_of
from tests.people import make_people

CHROMIUM = next(
    (
        p
        for p in ("/usr/bin/chromium", shutil.which("chromium"), shutil.which("google-chrome"))
        if p and Path(p).exists()
    ),
    None,
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = Path(__file__).parent / "pictures"  # not committed; for looking at


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("e2e")
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium here: apt-get install chromium"))


@pytest.fixture(scope="session")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    # Playwright's loop makes Django believe that it runs in async code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def live(live_server, settings) -> str:
    """The address of the running portal. Passkeys need the name localhost, so no numbers."""
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    return live_server.url.replace("127.0.0.1", "localhost")


@pytest.fixture
def cast(live, settings):
    """The people of tests/people.py, in the database of the live server."""
    settings.HOSPITALS = {**settings.HOSPITALS, "regulator_needs_passkey": False}
    return make_people()


class Page:
    """A browser page that remembers what went wrong in it."""

    def __init__(self, context, live: str, width: int):
        self.page, self.live, self.width = context.new_page(), live, width
        self.problems: list[str] = []
        self.expected: set[int] = set()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._request)

    def _console(self, message) -> None:
        if message.type != "error":
            return
        if any(f"status of {status}" in message.text for status in self.expected):
            return
        self.problems.append(message.text)

    def _request(self, request) -> None:
        if not request.url.startswith((self.live, "data:", "blob:")):
            self.problems.append(f"foreign address {request.url}")

    def __getattr__(self, name):
        return getattr(self.page, name)

    def open(self, path: str):
        return self.page.goto(self.live + path)

    def path(self) -> str:
        return self.page.url.removeprefix(self.live)


@pytest.fixture
def open_page(browser, live) -> Iterator[Callable[..., Page]]:
    """open_page(width=360, person=cast.alice, java_script_enabled=False) gives a page of a fresh browser."""
    opened = []

    def make(width: int = 1280, person=None, **options) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        page = Page(context, live, width)
        opened.append((context, page))
        if person is not None:
            sign_in(page, person)
        return page

    yield make
    problems = [problem for _, page in opened for problem in page.problems]
    for context, _ in opened:
        context.close()
    assert not problems, problems


@pytest.fixture
def page1280(open_page) -> Page:
    return open_page(1280)


@pytest.fixture
def page360(open_page) -> Page:
    return open_page(360)


def sign_in(page: Page, person) -> None:
    """A signed-in browser without the forms: they have their own test."""
    client = Client()
    client.force_login(user_of(person), backend="allauth.account.auth_backends.AuthenticationBackend")
    cookie = client.cookies[django_settings.SESSION_COOKIE_NAME]
    page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": page.live}])


def code_of(person) -> str:
    """What the authenticator app would show now."""
    row = Authenticator.objects.get(user=user_of(person), type=Authenticator.Type.TOTP)
    secret = get_adapter().decrypt(row.data["secret"])
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def fill_sign_in(page: Page, person, password: str = PASSWORD) -> None:
    page.open(reverse("account_login"))
    page.fill("[name=login]", user_of(person).email)
    page.fill("[name=password]", password)
    page.click("text=Continue")


def passkeys(page: Page):
    """A virtual authenticator of this page; one is enough, a second is refused."""
    session = page.context.new_cdp_session(page.page)
    session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal"}
    options |= dict.fromkeys(
        ("hasResidentKey", "hasUserVerification", "isUserVerified", "automaticPresenceSimulation"), True
    )
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session


def shot(page: Page, name: str) -> None:
    """A picture to look at, when PICTURES of this run are wanted (`touch tests/e2e/pictures/.keep`)."""
    if PICTURES.is_dir():
        page.screenshot(path=PICTURES / f"{name}-{page.width}.png", full_page=True)
