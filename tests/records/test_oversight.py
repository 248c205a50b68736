"""Numbers on dashboards are counts of rows that anybody with the right can list, and of what the chains hold."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from chain import selectors as chain_selectors
from chain.models import ChainEvent
from hospitals.actors import Actor
from hospitals.models import AuditEntry
from hospitals.tenancy import all_tenants, tenant
from records import oversight, services


def sealed_on(chain):
    """Records that final events of the chain itself say were anchored."""
    events = ChainEvent.objects.filter(chain=chain, name="Anchored", is_canonical=True)
    return sum(event.args["count"] for event in events if event.args["kind"] == 0)


@pytest.fixture
def busy(cast, made, send, settle):
    """Three records on their chains, one that waits, one share that was stopped."""
    for chains in ("SUP", "MED", "BOTH"):
        made(cast.alice, cast.pat_a, chains=chains, category="imaging")
    with tenant(cast.a):
        grant = services.grant_create(
            actor=Actor(cast.pat),
            patient=cast.pat_a,
            grantee=cast.dora,
            scope_type="category",
            scope_value="laboratory",
            expires_at=timezone.now() + timedelta(days=7),
        )
    settle()
    with tenant(cast.a):
        grant.refresh_from_db()
        services.grant_revoke(actor=Actor(cast.pat), grant=grant)
    settle()
    made(cast.alice, cast.pat_a, chains="SUP")
    return cast


@pytest.mark.scenario("G2", "O15")
def test_statistics_equal_a_hand_count(busy):
    with all_tenants("test"):
        found = oversight.statistics()
    assert found.anchored == {"SUP": 2, "MED": 2} == {chain: sealed_on(chain) for chain in ("SUP", "MED")}
    assert found.waiting == 1 and found.late == 0
    assert found.revokes_by_month[-1] == (timezone.localdate().replace(day=1), 1)
    assert sum(count for _month, count in found.revokes_by_month[:-1]) == 0
    assert found.enforce_seconds is not None and found.enforce_seconds < 60
    rows = {row.hospital.slug: row for row in found.hospitals}
    assert (rows["northwick"].records, rows["northwick"].waiting) == (4, 1)
    assert rows["birch"].records == 0


@pytest.mark.scenario("O15")
def test_each_dashboard_shows_these_numbers_and_leads_to_the_rows(busy):
    reg = busy.client(busy.reg)
    page = reg.get(reverse("regulator:statistics"))
    assert page.context["figures"].anchored == {"SUP": 2, "MED": 2}
    assert "as of block" in page.content.decode()
    assert len(reg.get(reverse("regulator:query"), {"chain": "MED"}).context["rows"]) == 2
    assert len(reg.get(reverse("regulator:query"), {"state": "pending"}).context["rows"]) == 1
    assert reg.get(reverse("regulator:query"), {"hospital": "birch"}).context["page"].paginator.count == 0

    pat = busy.client(busy.pat).get(reverse("patient:log"), {"days": "2190"})
    with tenant(busy.a):
        own = AuditEntry.objects.filter(patient=busy.pat_a).count()
        whole = AuditEntry.objects.count()
    with tenant(busy.b):
        own += AuditEntry.objects.filter(patient=busy.pat_b).count()
    assert pat.context["page"].paginator.count == own
    assert sum(row.times for day in pat.context["days"] for row in day["entries"]) == own
    on_chain = chain_selectors.access_count(chain="MED", organisation=bytes(busy.a.account_address))
    assert 0 < on_chain <= whole


@pytest.mark.scenario("G6")
def test_query_by_state_time_and_chain_shows_no_content(busy):
    with all_tenants("test"):
        rows = oversight.record_rows(list(oversight.record_query(chain="SUP")))
        assert [len(row.anchors) for row in rows] == [1, 2, 1]
        assert oversight.record_query(state="final").count() == 3
        assert oversight.record_query(state="nonsense").count() == 0
        assert oversight.record_query(until=timezone.localdate() - timedelta(days=1)).count() == 0
    names = {name for row in rows for name in vars(row)}
    assert names == {"reference", "hospital", "number", "state", "created_at", "final_at", "anchors"}


@pytest.mark.scenario("G2", "H2")
def test_a_content_address_is_not_found_for_the_regulator(busy):
    with all_tenants("test"):
        reference = oversight.record_query().first().record_id
    reg = busy.client(busy.reg)
    for address in (
        f"/me/records/{reference}/",
        f"/h/northwick/records/{reference}/",
        f"/api/v1/me/records/{reference}/",
    ):
        assert reg.get(address).status_code in (403, 404), address
