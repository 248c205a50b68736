"""The regulator's releases and the public list of contracts in a browser, with two real chains behind them."""

import pytest
from django.urls import reverse

from tests.council import CHAIN, REASON, newest
from tests.e2e.test_regulator import check

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.scenario("G4", "G7")]


@pytest.mark.parametrize("width", [1280, 360])
def test_a_version_goes_from_a_proposal_to_the_public_list(
    chains, cast, officers, candidate, drive, waited, open_page, width
):
    first, second, third = officers(cast.authority)
    item, problems = candidate(), []
    page = open_page(width, first)
    page.expected |= {422}
    page.open(reverse("regulator:releases"))
    assert "Nothing waits" in page.inner_text("main")
    problems += check(page, "releases-empty")
    page.open(reverse("regulator:release_new"))
    problems += check(page, "release-which")
    page.fill("[name=address]", "0x1234")
    page.click("text=Look at it")
    assert "Enter an address" in page.inner_text("main")
    problems += check(page, "release-wrong")
    page.open(reverse("regulator:release_new"))
    page.click("text=AnchorLog, version 2")
    assert "Built from our sources" in page.inner_text("main")
    page.click("main button:has-text('Propose')")
    problems += check(page, "release-why")
    page.fill("[name=reason]", REASON)
    page.click("main button:has-text('Propose')")
    assert "on its way" in page.inner_text("main")
    drive()
    page.open(reverse("regulator:releases"))
    problems += check(page, "releases")
    page.click("text=AnchorLog, version 2")
    assert "Another officer has to approve" in page.inner_text("main")
    problems += check(page, "release-proposed")

    other = open_page(width, second)
    other.open(reverse("regulator:release", args=[CHAIN, newest().id]))
    assert REASON in other.inner_text("main")
    other.click("main button:has-text('Approve')")
    assert "on its way" in other.inner_text("main")
    problems += check(other, "release-sent")
    drive()
    other.open(other.path())
    assert "Approved, waiting time" in other.inner_text("main")
    problems += check(other, "release-waiting")
    assert not other.query_selector("button:has-text('Put into effect')")
    waited()
    other.open(other.path())
    other.click("main button:has-text('Put into effect')")
    drive()
    other.open(other.path())
    assert "In effect" in other.inner_text(".p-chip")
    problems += check(other, "release-done")
    other.open(reverse("regulator:contracts"))
    problems += check(other, "regulator-contracts-two")

    stranger = open_page(width)
    stranger.open(reverse("public:contracts"))
    text = stranger.inner_text("main")
    assert "Officer 1 of 3" in text and "Officer 2 of 3" in text and "Mara" not in text
    assert item.checksum[:6] in text
    problems += check(stranger, "public-contracts")
    chains[CHAIN].rpc("anvil_setCode", item.checksum, "0x6001")
    stranger.open(reverse("public:contracts"))
    assert "Does not match" in stranger.inner_text("main")

    page.open(reverse("regulator:release", args=[CHAIN, newest().id]))
    assert not page.query_selector("button:has-text('Stop it')")
    assert problems == [], problems


def test_stopping_needs_a_reason_and_works_without_script(chains, cast, officers, candidate, drive, open_page):
    first, second, third = officers(cast.authority)
    item = candidate()
    page = open_page(360, first, java_script_enabled=False)
    page.expected |= {422}
    page.open(f"{reverse('regulator:release_new')}?chain={CHAIN}&contract=AnchorLog&address={item.checksum}")
    page.fill("[name=reason]", REASON)
    page.click("main button:has-text('Propose')")
    drive()
    stopper = open_page(360, third, java_script_enabled=False)
    stopper.expected |= {422}
    stopper.open(reverse("regulator:release", args=[CHAIN, newest().id]))
    stopper.click("main button:has-text('Stop it')")
    assert "This field is required" in stopper.inner_text("main") or "Reason" in stopper.inner_text(".p-error")
    stopper.fill("[name=reason]", "The audit found a mistake.")
    stopper.click("main button:has-text('Stop it')")
    drive()
    stopper.open(stopper.path())
    assert "The audit found a mistake." in stopper.inner_text("main")
    assert newest().state == "cancelled"
