"""The health pages of operators and regulator in a browser, and the numbers on home pages with their rows."""
# ruff: noqa: F811 (fixtures of another part of the tree)

import pytest
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from chain.heartbeats import heartbeat_write
from chain.models import Heartbeat
from hospitals.actors import Actor
from hospitals.tenancy import tenant
from portal import alarms
from portal.watch import Watch
from records import services
from tests.e2e.axe import assert_accessible, overflow, violations
from tests.e2e.conftest import shot
from tests.records.conftest import blobs, made, send, settle, work  # noqa: F401
from tests.records.conftest import cast as admitted  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.scenario("O17")
def test_alarms_come_and_go_on_both_pages(chains, cast, drive, hospital, open_page, width):
    account = hospital()
    for part in {*alarms.parts(), "watch"}:
        heartbeat_write(part=part, instance="worker@northwick-app-01")
    cast.hana.user.is_staff = True
    cast.hana.user.save()
    chains["SUP"].fund(account, 10**15)
    Heartbeat.objects.filter(part="sender:MED").update(at=F("at") - timezone.timedelta(minutes=5))
    Heartbeat.objects.filter(part="indexer:SUP").update(note="RpcUnavailable")
    from chain.services import anchor_enqueue

    anchor_enqueue(chain="SUP", sender=account, leaf=b"\x07" * 32, ref="seven")
    drive(projectors=False)
    Watch().turn()
    for person, route, name in (
        (cast.hana, "operator:health", "operator-health"),
        (cast.reg, "regulator:chains", "regulator-chains-alarms"),
    ):
        page = open_page(width, person)
        assert page.open(reverse(route)).status == 200
        text = page.inner_text("main")
        for words in (
            "The sender has stopped",
            "manage.py chain_send",
            "An account is low on money",
            "What to do:",
            "Waits for the node",
        ):
            assert words in text
        shot(page, name)
        assert_accessible(page)
        if route == "operator:health":
            watched = page
    # The open page renews itself: what was repaired goes, and stands below as past.
    heartbeat_write(part="sender:MED", instance="worker@northwick-app-01")
    chains["SUP"].fund(account)
    Watch().turn()
    watched.wait_for_selector("text=Nothing needs attention.", timeout=20_000)
    assert "Alarms that have ended" in watched.inner_text("main")
    shot(watched, "operator-health-calm")
    assert_accessible(watched)


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.scenario("O15")
def test_numbers_and_their_rows_in_a_browser(live, admitted, made, share, settle, open_page, width):
    cast = admitted
    made(cast.alice, cast.pat_a, chains="BOTH")
    share(cast)
    settle()
    made(cast.alice, cast.pat_a)
    homes = {
        cast.reg: (
            reverse("regulator:home"),
            ["Seals on MEDchain", "Patients’ shares open", "Entries in the access logs"],
        ),
        cast.hana: (
            reverse("hospital:home", args=["northwick"]),
            ["Seals on the chains", "Patients’ shares open", "Refused"],
        ),
        cast.pat: (reverse("patient:home"), ["Records confirmed", "You share with", "Looks by others"]),
    }
    problems = []
    for person, (home, labels) in homes.items():
        page = open_page(width, person)
        page.open(home)
        problems += check(page, f"numbers-{home.strip('/').replace('/', '-')}")
        for label in labels:
            page.open(home)
            page.click(f"h2.p-statlabel >> text={label}")
            page.wait_for_load_state()
            problems += check(page, f"numbers-{label}")
    page = open_page(width, cast.reg)
    for route in ("statistics", "organisations"):
        page.open(reverse(f"regulator:{route}"))
        problems += check(page, f"numbers-{route}")
    assert problems == []


def check(page, name):
    shot(page, name)
    sideways = overflow(page)
    found = violations(page) + ([f"scrolls sideways by {sideways} px"] if sideways > 0 else [])
    return [f"{name}: {problem}" for problem in found]


@pytest.fixture
def share():
    """Call it for a share of Pat with Dora."""

    def run(cast):
        with tenant(cast.a):
            services.grant_create(
                actor=Actor(cast.pat),
                patient=cast.pat_a,
                grantee=cast.dora,
                scope_type="all",
                scope_value="",
                expires_at=timezone.now() + timezone.timedelta(days=7),
            )

    return run
