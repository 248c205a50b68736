"""The regulator's console and the public pages in a browser, with two real chains behind them."""

import pytest
from django.urls import reverse

from hospitals.types import OrganisationStatus
from tests.e2e.axe import overflow, violations
from tests.e2e.conftest import shot
from tests.factories import make_organisation

pytestmark = pytest.mark.django_db(transaction=True)


def check(page, name):
    shot(page, name)
    sideways = overflow(page)
    problems = violations(page) + ([f"scrolls sideways by {sideways} px"] if sideways > 0 else [])
    return [f"{name}: {problem}" for problem in problems]


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.scenario("G7", "M7")
def test_every_regulator_and_public_page_is_accessible(chains, deployer, cast, drive, open_page, width):
    from chain.services import call_enqueue

    make_organisation("Linden Hospital", slug="linden", status=OrganisationStatus.APPLIED, contact_name="Jonas Keller")
    for name, anvil in chains.items():
        anvil.fund(bytes(cast.a.account_address))
        args = [bytes(cast.a.account_address), 1, b"e" * 32]
        call_enqueue(
            chain=name,
            sender=deployer,
            contract="Registry",
            function="admitOrganisation",
            args=args,
            ref=f"admit:{name}",
        )
    drive(projectors=False)
    page, problems = open_page(width, cast.reg), []
    for route in ("home", "applications", "organisations", "contracts", "chains", "statistics", "query"):
        assert page.open(reverse(f"regulator:{route}")).status == 200, route
        problems += check(page, f"regulator-{route}")
    for route, slug in (("application", "linden"), ("organisation", "northwick")):
        page.open(reverse(f"regulator:{route}", args=[slug]))
        problems += check(page, f"regulator-{route}")
    assert "OrganisationAdmitted" in page.inner_text("main")
    page.click("text=OrganisationAdmitted >> nth=0")
    assert "Northwick Hospital was admitted." in page.inner_text("h1")
    problems += check(page, "public-transaction")
    page.click("dd a >> nth=0")
    assert "Northwick Hospital was admitted." in page.inner_text("main")
    problems += check(page, "public-block")
    stranger = open_page(width)
    stranger.expected |= {404}
    for route in ("home", "apply", "chain", "verify"):
        assert stranger.open(reverse(f"public:{route}")).status == 200, route
        problems += check(stranger, f"public-{route}")
    answer = stranger.open(reverse("public:transaction", args=["SUP", "0x" + "ab" * 32]))
    assert answer.status == 404 and "not known on SUPchain" in stranger.inner_text("h1")
    problems += check(stranger, "public-unknown")
    assert problems == []
