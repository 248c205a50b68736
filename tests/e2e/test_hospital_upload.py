"""From the form to Confirmed in a browser, with and without a script, on both chains."""
# ruff: noqa: F811 (fixtures of another part of the tree)

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from hospitals.tenancy import tenant
from records.models import Upload
from tests.e2e.axe import overflow, violations
from tests.e2e.conftest import shot
from tests.records.conftest import NOTE, blobs, cast, made, send, settle, work  # noqa: F401
from tests.records.files import EICAR, dicom

pytestmark = pytest.mark.django_db(transaction=True)


def url(name, *args, slug="northwick"):
    return reverse(f"hospital:{name}", args=[slug, *args])


def as_file(name, data):
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def clean(page, name):
    shot(page, name)
    assert violations(page) == [], name
    assert overflow(page) <= 0, name


@pytest.mark.scenario("D1", "D13")
def test_upload_with_a_bar_an_error_for_each_file_and_states_that_move(live, cast, open_page, work, settle):
    page = open_page(1280, cast.alice)
    page.expected.add(422)
    page.open(url("upload_for", cast.pat_a.pk))
    page.set_input_files("#id_file", [as_file("ct-head.dcm", dicom()), as_file("virus.txt", EICAR)])
    page.set_input_files("#id_file", [as_file("note.txt", NOTE)])
    page.select_option("#id_category", "imaging")
    page.fill("#id_title", "CT of the head")
    assert page.inner_text("[data-upload-word]") == "Upload 3 files"
    clean(page, "hospital-upload-chosen")
    page.click("form[data-upload] [type=submit]")
    page.wait_for_selector("text=Arrived, being checked >> nth=0", state="detached")
    page.wait_for_selector("[data-error]:visible")
    # The refused one stays with its reason; the others were received; nothing is sent twice.
    expect(page.locator("[data-upload-list] li")).to_have_count(3)
    expect(page.locator("[data-upload-list] [data-text]", has_text="Received")).to_have_count(2)
    assert "virus" in page.inner_text("[data-upload-list]")
    with tenant(cast.a):
        assert Upload.objects.count() == 2
    clean(page, "hospital-upload-refused")
    page.click("text=Remove")
    expect(page.locator("[data-upload-list] li")).to_have_count(2)

    # The states move without a reload.
    page.open(url("jobs"))
    page.evaluate("window.stayed = true")
    assert page.locator(".p-chip >> text=Received").count() == 2
    work()
    page.wait_for_selector(".p-chip >> text=Anchoring")
    clean(page, "hospital-jobs-moving")
    settle()
    expect(page.locator(".p-chip--ok")).to_have_count(2)
    assert page.evaluate("window.stayed")
    shot(page, "hospital-jobs-confirmed")

    page.open(url("patient", cast.pat_a.pk))
    clean(page, "hospital-patient-full")
    page.click("text=CT of the head >> nth=0")
    assert page.locator(".p-proof >> text=Unchanged since").count() == 1
    page.click("summary:has-text('How this is proven')")
    clean(page, "hospital-record")
    page.open(url("home"))
    clean(page, "hospital-home-full")


def test_phone_pages_of_a_full_patient(live, cast, open_page, made, settle):
    made(cast.alice, cast.pat_a, title="Blood panel")
    record = made(cast.alice, cast.pat_a, title="Penicillin", category="allergies")
    made(cast.adam, cast.pat_a, name="ct.dcm", data=dicom(), title="CT of the head", category="imaging", chains="BOTH")
    settle()
    page = open_page(360, cast.alice)
    for name, path in [
        ("patient-full", url("patient", cast.pat_a.pk)),
        ("record", url("record", record.record_id)),
        ("withdraw", url("record_withdraw", record.record_id)),
        ("home-full", url("home")),
        ("jobs-full", url("jobs")),
        ("patient-log-full", url("patient_log", cast.pat_a.pk)),
    ]:
        assert page.open(path).status == 200
        clean(page, f"hospital-{name}")


def test_upload_without_a_script(live, cast, open_page):
    page = open_page(1280, cast.alice, java_script_enabled=False)
    page.open(url("upload_for", cast.pat_a.pk))
    page.set_input_files("#id_file", [as_file("note.txt", NOTE), as_file("empty.txt", b"")])
    page.select_option("#id_category", "laboratory")
    page.expected.add(422)
    page.click("form[data-upload] [type=submit]")
    assert "One file was not accepted" in page.inner_text("main")
    assert "empty.txt" in page.inner_text("main") and "The other file was received" in page.inner_text("main")
    page.set_input_files("#id_file", [as_file("second.txt", NOTE + b"2")])
    page.click("form[data-upload] [type=submit]")
    assert page.path() == url("jobs") and page.locator(".p-chip >> text=Received").count() == 2
