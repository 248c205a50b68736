"""The patients' pages in a browser: readable at 360 and 1280 pixels, sharing by keyboard, nothing needs a script."""

from datetime import timedelta

import pytest
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone

from hospitals import audit
from hospitals.actors import member_actor
from hospitals.tenancy import tenant
from records import services, sweeper, tasks
from records.models import Record
from tests.e2e.axe import overflow, violations
from tests.e2e.conftest import shot
from tests.factories import PASSWORD
from tests.records.conftest import multipart

pytestmark = pytest.mark.django_db(transaction=True)
LETTER = b"Dear Pat,\n\nthe rhythm of your heart is regular again.\n\nDr Alice Okafor, cardiology\n"


@pytest.fixture
def letters(cast, settings, tmp_path):
    """Three records of Pat, sealed by the real pipeline; no chain runs here, so they stay on their way."""
    settings.RECORDS = {**settings.RECORDS, "blob_dir": tmp_path / "blobs"}
    titles = [("Discharge letter, cardiology", "letters"), ("Blood panel", "laboratory"), ("Pulse at home", "vitals")]
    for days, (title, category) in enumerate(titles):
        body, content_type = multipart([("letter.txt", LETTER + title.encode())])
        request = RequestFactory().generic("POST", "/", body, content_type=content_type)
        with tenant(cast.a):
            services.upload_receive(
                actor=member_actor(cast.alice),
                patient=cast.pat_a,
                file=request.FILES["file"],
                chains="SUP",
                category=category,
                title=title,
                care_on=timezone.localdate() - timedelta(days=days * 25),
            )
    while sweeper.sweep_once(tasks.run_inline, grace_seconds=-1):
        pass
    with tenant(cast.a):
        for action, refused in (("records.listed", False), ("records.version.read", False), ("patients.listed", True)):
            audit.append(
                hospital=cast.a,
                actor=member_actor(cast.dora if refused else cast.alice),
                action=action,
                patient=cast.pat_a,
                basis="" if refused else "treatment",
                purpose="TREAT",
                is_refused=refused,
            )
        return list(Record.objects.filter(patient=cast.pat_a).order_by("care_on"))


def check(page, name):
    shot(page, f"patient-{name}")
    sideways = overflow(page)
    problems = violations(page) + ([f"scrolls sideways by {sideways} px"] if sideways > 0 else [])
    return [f"{name}: {problem}" for problem in problems]


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.scenario("P1")
def test_every_patient_page_is_accessible(cast, letters, open_page, width):
    page = open_page(width, cast.pat)
    problems = []
    for name, address in (
        ("home", reverse("patient:home")),
        ("records", reverse("patient:records")),
        ("records-none", reverse("patient:records") + "?type=imaging"),
        ("record", reverse("patient:record", args=[letters[0].pk])),
        ("log", reverse("patient:log")),
        ("sharing", reverse("patient:sharing")),
    ):
        assert page.open(address).status == 200, name
        problems += check(page, name)
    page.open(reverse("patient:share"))
    problems += check(page, "share-who")
    page.check("text=Dora Lindqvist")
    page.click("text=Continue")
    problems += check(page, "share-what")
    page.check("text=Northwick Hospital")
    page.check("text=Laboratory")
    page.click("text=Continue")
    problems += check(page, "share-purpose")
    page.click("text=Continue")
    problems += check(page, "share-until")
    page.click("text=Continue")
    assert "can read 1 record that they cannot read now" in page.inner_text("main")
    problems += check(page, "share-check")
    quinn = open_page(width, cast.quinn)
    quinn.open(reverse("patient:records"))
    problems += check(quinn, "records-empty")
    assert problems == []


@pytest.mark.scenario("P22")
def test_record_is_read_without_a_script(cast, letters, open_page):
    page = open_page(360, cast.pat, java_script_enabled=False)
    page.open(reverse("patient:records"))
    page.click("text=Discharge letter, cardiology")
    text = page.inner_text("main")
    assert "the rhythm of your heart is regular again" in text
    assert "Not yet anchored" in text or "on its way" in text


def test_wizard_by_keyboard_alone(cast, letters, open_page):
    """The first Tab is the skip link; every answer and the button are reached and used with keys."""
    page = open_page(1280, cast.pat)
    page.open(reverse("patient:share"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "nhsuk-skip-link"
    page.keyboard.press("Enter")
    for _step in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "who":
            break
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_url("**/what/**")
    assert PASSWORD not in page.content()
