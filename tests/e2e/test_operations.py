"""The health pages of operators and regulator in a browser, with alarms on them and without."""

import pytest
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from chain.heartbeats import heartbeat_write
from chain.models import Heartbeat
from portal import alarms
from portal.watch import Watch
from tests.e2e.axe import assert_accessible
from tests.e2e.conftest import shot

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
