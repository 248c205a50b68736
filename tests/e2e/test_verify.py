"""Verify a file in a browser: hashed there, compared with real chains, and never green without them."""

import hashlib

import pytest
from django.urls import reverse

from hospitals.actors import Actor
from records import receipts
from tests.e2e.axe import assert_accessible
from tests.e2e.conftest import shot
from tests.records.conftest import NOTE, blobs, cast, made, send, settle, work  # noqa: F401  fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def choose(page, tmp_path, content, receipt):
    (tmp_path / "note.txt").write_bytes(content)
    (tmp_path / "receipt.json").write_bytes(receipt)
    page.set_input_files("#id_file", tmp_path / "note.txt")
    page.set_input_files("#id_receipt", tmp_path / "receipt.json")
    page.get_by_role("button", name="Check", exact=True).click()
    shown = page.locator("[data-verdict]:visible")
    shown.wait_for(timeout=60_000)
    return shown


def receipt_of(cast, version):  # noqa: F811
    return receipts.receipt_bytes(receipts.receipt_build(actor=Actor(cast.pat), version=version))


@pytest.mark.scenario("P8")
def test_every_answer_of_the_public_page(live, cast, made, settle, open_page, tmp_path, settings):  # noqa: F811
    version = made(cast.alice, cast.pat_a, chains="BOTH")
    early = receipt_of(cast, version)
    settle()
    receipt = receipt_of(cast, version)
    page = open_page(1280)
    asked = []
    page.page.on("request", lambda request: asked.append((request.method, request.url, request.post_data or "")))
    page.open(reverse("public:verify"))
    good = choose(page, tmp_path, NOTE, receipt)
    assert good.get_attribute("data-verdict") == "authentic"
    assert good.locator("h2").inner_text().startswith("Unchanged since")
    assert cast.a.name in good.inner_text() and "SUPchain" in good.inner_text() and "MEDchain" in good.inner_text()
    assert page.evaluate("document.activeElement.dataset.verdict") == "authentic"
    assert_accessible(page)
    shot(page, "verify-authentic")
    assert choose(page, tmp_path, NOTE + b" ", receipt).get_attribute("data-verdict") == "altered"
    assert_accessible(page)
    shot(page, "verify-altered")
    changed = receipt.replace(b'"v":1', b'"v":2', 1)
    assert choose(page, tmp_path, NOTE, changed).get_attribute("data-verdict") in ("altered", "cannot check now")
    assert choose(page, tmp_path, NOTE, early).get_attribute("data-verdict") == "pending"
    digest = hashlib.sha256(NOTE).hexdigest()
    assert {method for method, _, _ in asked} == {"GET"}
    assert not any(digest in url or "CANARY" in url + body for _, url, body in asked)
    settings.CHAIN = {
        **settings.CHAIN,
        "chains": {n: {**c, "rpc_url": "http://127.0.0.1:9"} for n, c in settings.CHAIN["chains"].items()},
    }
    page.expected.add(503)
    down = choose(page, tmp_path, NOTE, receipt)
    assert down.get_attribute("data-verdict") == "cannot check now"
    assert "says nothing about the file" in down.inner_text()
    shot(page, "verify-down")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_for_everybody(live, open_page, width):
    page = open_page(width)
    page.open(reverse("public:verify"))
    assert page.get_by_role("heading", name="Verify a file").is_visible()
    assert_accessible(page)
    shot(page, "verify")
    page.get_by_text("Check without this portal").click()
    assert page.get_by_text("pip install cryptography ecdsa").is_visible()
    assert_accessible(page)


def test_without_script_the_page_names_the_program(live, open_page):
    page = open_page(360, java_script_enabled=False)
    page.open(reverse("public:verify"))
    notices = page.get_by_text("Without scripts, use the offline check below.").all()
    assert len(notices) == 2  # for a file, and for a list
    assert all(notice.is_visible() for notice in notices)


@pytest.mark.parametrize("width", [360, 1280])
def test_the_description_of_the_api_opens(live, open_page, width):
    page = open_page(width)
    page.open(reverse("api-docs"))
    shot(page, "api-docs")
    assert_accessible(page)
