"""O15: every number on a home page is a hand count from chain and log, and its link lists exactly those rows."""
# ruff: noqa: F811 (fixtures of another part of the tree)

import re
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from chain.artefacts import deployment
from chain.codec import events as kinds_of
from chain.gateway import gateway
from chain.models import ChainState
from chain.types import hex0x
from hospitals.actors import Actor
from hospitals.models import AuditEntry
from hospitals.tenancy import all_tenants, tenant
from records import gate, services
from records.errors import NotFound
from records.models import Purpose
from tests.records.conftest import NOTE, blobs, cast, made, send, settle, version_of, work  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.scenario("O15")]
STAT = re.compile(r'<h2 class="p-statlabel"><a href="([^"]+)">([^<]+)</a></h2><p class="p-stat">([^<]*)</p>')
ROWS = re.compile(r'<tr role="row">(?!<th role="columnheader")')


def told_by_the_node(chain, contract, name):
    """Events straight from the node, decoded here: the index has no say in a hand count."""
    place = deployment(chain)
    address = next(row.address for row in place.contracts.values() if row.name == contract)
    topics = {hex0x(topic): kind for topic, kind in kinds_of(contract).items() if kind.name == name}
    logs = gateway(chain).get_logs([address], place.start_block, gateway(chain).look().finalized)
    return [topics[log.topics[0]].decode(log.topics, log.data) for log in logs if log.topics[0] in topics]


def seals_on(chain, hospital=None):
    return sum(
        event["count"]
        for event in told_by_the_node(chain, "AnchorLog", "Anchored")
        if event["kind"] == 0 and (hospital is None or event["organisation"] == hex0x(hospital.account_address))
    )


def log_on_chain(hospital):
    return sum(
        len(event["leaves"])
        for event in told_by_the_node("MED", "AccessLog", "AccessLogged")
        if event["organisation"] == hex0x(hospital.account_address)
    )


def shares_on_chain():
    recorded = {event["digest"] for event in told_by_the_node("MED", "Consents", "ConsentRecorded")}
    return recorded - {event["digest"] for event in told_by_the_node("MED", "Consents", "ConsentRevoked")}


@pytest.fixture
def busy(cast, made, settle):
    """Records on one chain and on both, shares that are open and one that was stopped, looks and a refusal."""
    versions = [made(cast.alice, cast.pat_a, chains=chains) for chains in ("SUP", "MED", "BOTH")]
    made(cast.dora, cast.pat_b, chains="MED")
    grants = [share(cast, category) for category in ("laboratory", "imaging")]
    settle()
    # Dora reads by consent, so that stopping it makes a new key, and with it further seals.
    with tenant(cast.a):
        read(cast.dora, versions[2])
        with pytest.raises(NotFound):
            read(cast.cleo, versions[0])
        grants[0].refresh_from_db()
        services.grant_revoke(actor=Actor(cast.pat), grant=grants[0])
    settle()
    return cast


def share(cast, category):
    with tenant(cast.a):
        return services.grant_create(
            actor=Actor(cast.pat),
            patient=cast.pat_a,
            grantee=cast.dora,
            scope_type="category",
            scope_value=category,
            expires_at=timezone.now() + timedelta(days=7),
        )


def read(member, version):
    from hospitals.actors import member_actor

    return b"".join(gate.release(actor=member_actor(member), version=version, purpose=Purpose.TREATMENT).chunks)


def numbers(client, path):
    """{label: (number, address)} as a person sees them."""
    text = client.get(path).content.decode()
    return {unescape(label): (value.strip(), unescape(href)) for href, label, value in STAT.findall(text)}


def rows_at(client, href):
    """How many rows the page behind a link lists, counted in the page itself."""
    answer = client.get(href)
    assert answer.status_code == 200, href
    text = answer.content.decode()
    name = answer.resolver_match.view_name
    if name in ("patient:log", "hospital:log"):
        listed = [
            row for day in answer.context["days"] for row in (day["entries"] if "entries" in day else day["rows"])
        ]
        return sum(row.times for row in listed)
    if name == "patient:sharing":
        return text.count("Stop sharing<")
    if name == "patient:records":
        return text.count('<p class="p-line__t">')
    return len(ROWS.findall(text.partition("<tbody")[2]))


def counted(client, path):
    """Every number of a page, after each was found to be the number of rows behind its link."""
    found = {}
    for label, (value, href) in numbers(client, path).items():
        if value.isdecimal():
            assert rows_at(client, href) == int(value), (label, href)
            found[label] = int(value)
    return found


def test_the_regulators_numbers(busy):
    reg = busy.client(busy.reg)
    with all_tenants("hand count"):
        entries = AuditEntry.objects.exclude(hospital=busy.authority).count()
    found = counted(reg, reverse("regulator:home"))
    assert found["Seals on SUPchain"] == seals_on("SUP") > 2
    assert found["Seals on MEDchain"] == seals_on("MED") > 3
    assert found["Anchored today"] == seals_on("SUP") + seals_on("MED")
    assert found["Patients’ shares open"] == len(shares_on_chain()) == 1
    assert found["Sharing stopped this month"] == len(told_by_the_node("MED", "Consents", "ConsentRevoked")) == 1
    assert found["Entries in the access logs"] == entries == log_on_chain(busy.a) + log_on_chain(busy.b)
    assert found["Organisations admitted"] == 2
    assert counted(reg, reverse("regulator:statistics"))["Waiting"] == 0
    for page in ("seals", "shares", "accesses"):
        text = reg.get(reverse(f"regulator:{page}")).content.decode()
        assert "Northwick Hospital" in text
        for word in ("Moreno", "Okafor", "Lindqvist", "Result", "aboratory"):
            assert word not in text, (page, word)


def test_an_administrators_numbers(busy):
    hana = busy.client(busy.hana)
    with tenant(busy.a):
        entries = AuditEntry.objects.count()
        refused = AuditEntry.objects.filter(is_refused=True).count()
    home = reverse("hospital:home", args=["northwick"])
    first = {label: int(value) for label, (value, _href) in numbers(hana, home).items()}
    assert first["Seals on the chains"] == seals_on("SUP", busy.a) + seals_on("MED", busy.a)
    assert first["Patients’ shares open"] == 1
    assert first["Entries in the access log"] == entries == log_on_chain(busy.a)
    assert first["Refused"] == refused == 1
    # Reading the log is an entry, so the numbers are compared one link at a time.
    for label in first:
        value, href = numbers(hana, home)[label]
        assert rows_at(hana, href) == int(value), label
    boris = busy.client(busy.boris)
    assert counted(boris, reverse("hospital:home", args=["birch"]))["Seals on the chains"] == seals_on("MED", busy.b)


def test_a_patients_numbers(busy):
    pat = busy.client(busy.pat)
    with all_tenants("hand count"):
        looks = AuditEntry.objects.filter(patient__in=[busy.pat_a, busy.pat_b], actor_membership__isnull=False).count()
    found = counted(pat, reverse("patient:home"))
    assert found == {
        "Records confirmed": 4,
        "Records on their way": 0,
        "You share with": len(shares_on_chain()),
        "Looks by others": looks,
    }
    assert looks > 4


def test_doctors_see_no_figures_of_the_house(busy):
    assert numbers(busy.client(busy.alice), reverse("hospital:home", args=["northwick"])) == {}
    for page in ("seals", "shares"):
        assert busy.client(busy.alice).get(reverse(f"hospital:{page}", args=["northwick"])).status_code == 403
        assert busy.client(busy.dora).get(reverse(f"hospital:{page}", args=["northwick"])).status_code == 404


def test_what_waits_is_counted_as_waiting(busy, made):
    made(busy.alice, busy.pat_a, chains="BOTH")
    reg = busy.client(busy.reg)
    text = reg.get(reverse("regulator:home")).content.decode()
    assert "2 waiting" in text
    assert rows_at(reg, reverse("regulator:seals") + "?state=waiting") == 2
    assert rows_at(reg, reverse("regulator:seals") + "?state=late") == 0
    assert counted(busy.client(busy.pat), reverse("patient:home"))["Records on their way"] == 1


def test_a_lagging_index_says_as_of_which_block(busy):
    homes = {
        busy.pat: reverse("patient:home"),
        busy.hana: reverse("hospital:home", args=["northwick"]),
        busy.reg: reverse("regulator:home"),
    }
    for person, path in homes.items():
        assert "data-as-of" not in busy.client(person).get(path).content.decode()
    state = ChainState.objects.get(name="MED")
    ChainState.objects.filter(name="MED").update(head=state.head + 60)
    lag = state.head + 60 - state.cursor_number
    for person, path in homes.items():
        text = busy.client(person).get(path).content.decode()
        assert f"MEDchain figures are as of block {state.finalized}; the index is {lag} blocks behind." in text
        assert "SUPchain figures" not in text
