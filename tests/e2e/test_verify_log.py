"""A patient's list of who looked, from page to public check: complete, cut off, outdated, and without a chain."""

import json

import pytest
from django.urls import reverse

from hospitals import audit, audit_maps, log_export
from hospitals.actors import Actor
from tests.e2e.axe import assert_accessible
from tests.e2e.conftest import shot
from tests.records.conftest import blobs, cast, made, send, settle, work  # noqa: F401  fixtures
from tests.records.logs import reissue

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def choose(page, tmp_path, export):
    (tmp_path / "log.json").write_bytes(export)
    page.set_input_files("#id_log", tmp_path / "log.json")
    page.get_by_role("button", name="Check the list").click()
    shown = page.locator("[data-log-results] [data-verdict]:visible")
    shown.wait_for(timeout=60_000)
    return shown


def look(cast, times=3):  # noqa: F811
    for _ in range(times):
        audit.append(hospital=cast.a, actor=cast.actor(cast.alice), action="records.opened", patient=cast.pat_a)


@pytest.mark.scenario("P7")
def test_every_answer_about_a_list(live, cast, settle, open_page, tmp_path, settings):  # noqa: F811
    look(cast)
    settle()
    early = log_export.export(actor=Actor(cast.pat), patient=cast.pat_a)
    assert audit_maps.map_make(cast.a)
    settle()
    export = log_export.export(actor=Actor(cast.pat), patient=cast.pat_a)
    page = open_page(1280)
    asked = []
    page.page.on("request", lambda request: asked.append((request.method, request.url, request.post_data or "")))
    page.open(reverse("public:verify"))
    good = choose(page, tmp_path, export)
    assert good.get_attribute("data-verdict") == "authentic", good.inner_text()
    assert good.locator("h3").inner_text() == "Entries 1 to 4, none missing."
    assert cast.a.name in good.inner_text() and "MEDchain block" in good.inner_text()
    assert "Newer entries in the file that the ledger will count next: 1." in good.inner_text()
    assert page.evaluate("document.activeElement.dataset.verdict") == "authentic"
    assert_accessible(page)
    shot(page, "verify-log-authentic")
    cut = json.loads(export)
    cut |= {"entries": cut["entries"][:2], "count": 2}
    altered = choose(page, tmp_path, reissue(cast.a, cut))
    assert altered.get_attribute("data-verdict") == "altered"
    assert "Entry 3 is missing" in altered.inner_text()
    assert_accessible(page)
    shot(page, "verify-log-altered")
    assert choose(page, tmp_path, early).get_attribute("data-verdict") == "pending"
    look(cast)
    assert audit_maps.map_make(cast.a)
    settle()
    older = choose(page, tmp_path, export)
    assert older.get_attribute("data-verdict") == "superseded"
    assert "Entries 1 to 4 were complete" in older.inner_text()
    shot(page, "verify-log-superseded")
    newest = log_export.export(actor=Actor(cast.pat), patient=cast.pat_a)
    assert choose(page, tmp_path, newest).get_attribute("data-verdict") == "authentic"
    assert {method for method, _, _ in asked} == {"GET"}
    key = json.loads(export)["log_key"]
    assert not any(key in url or cast.pat_a.pk.hex in url + body for _, url, body in asked)
    settings.CHAIN = {
        **settings.CHAIN,
        "chains": {n: {**c, "rpc_url": "http://127.0.0.1:9"} for n, c in settings.CHAIN["chains"].items()},
    }
    page.expected.add(503)
    down = choose(page, tmp_path, newest)
    assert down.get_attribute("data-verdict") == "cannot check now"
    shot(page, "verify-log-down")


@pytest.mark.scenario("P7")
@pytest.mark.parametrize("width", [360, 1280])
def test_the_patient_reads_that_none_is_missing_and_up_to_which_block(live, cast, settle, open_page, width):  # noqa: F811
    look(cast)
    settle()
    made_map = audit_maps.map_make(cast.a)
    settle()
    page = open_page(width, cast.pat)
    page.open(reverse("patient:log"))
    note = page.locator(".p-note--ok", has_text=cast.a.name)
    assert "entries 1 to 4, none missing" in note.inner_text()  # the fourth is this look
    assert "counts entries 1 to 3 in block" in note.inner_text() and made_map
    assert_accessible(page)
    shot(page, f"patient-log-{width}")
    page.open(reverse("public:verify"))
    assert_accessible(page)
    shot(page, f"verify-{width}")
