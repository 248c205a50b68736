"""O17: every alarm is provoked, and read on the operator's page, on the regulator's page and in the metrics."""
# ruff: noqa: F811 (fixtures of another part of the tree)

import re
import secrets
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.urls import reverse
from django.utils.html import escape

from chain import council
from chain.crosscheck import findings_note
from chain.gateway import gateway
from chain.heartbeats import heartbeat_write
from chain.indexer import Indexer
from chain.models import Block, ChainEvent, ChainState, Heartbeat, Lease, OutboxItem, Transaction
from chain.runner import Worker
from chain.services import anchor_enqueue, call_enqueue
from chain.types import Alarm, hex0x
from hospitals.audit import append
from hospitals.audit_watch import log_check
from hospitals.models import AuditEntry, Organisation
from hospitals.tenancy import all_tenants, tenant
from hospitals.walls import append_only_create, append_only_drop
from portal import alarms, broker
from portal.alarm_kinds import KINDS
from portal.models import AlarmRow
from portal.watch import Watch
from records.models import Epoch, Upload
from records.storage import blob_store
from tests.records.conftest import blobs, made, send, work  # noqa: F401

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.scenario("O17")]
ALARM = re.compile(r'data-alarm="(\w+)"')
BASE = Path(__file__).resolve().parents[2]
SAMPLE = re.compile(r'portal_alarms\{chain="(\w*)",code="(\w+)"\} ([0-9.]+)')


class Portal:
    """A portal at work, on two chains."""

    def __init__(self, people, chains, drive, workers, account, client):
        self.people, self.chains, self.drive, self.workers = people, chains, drive, workers
        self.account, self.client = account, client
        self.operator = people.cleo.user
        self.operator.is_staff = self.operator.is_superuser = True
        self.operator.save()
        self.live()

    def live(self, *, without=()):
        for part in {*alarms.parts(), "watch"} - set(without):
            heartbeat_write(part=part, instance="here")

    def pass_time(self, minutes=11, *, without=(), silent=()):
        """All that is stored gets older; then parts and chains go on, except `without` and `silent`."""
        ago = timedelta(minutes=minutes)
        times = {
            ChainState: "checked_at",
            Block: "timestamp",
            Heartbeat: "at",
            Transaction: "created_at",
            OutboxItem: "created_at",
            Upload: "created_at",
        }
        with all_tenants("test"):
            for model, field in times.items():
                model.objects.update(**{field: F(field) - ago})
        self.live(without=without)
        for name in set(self.chains) - set(silent):
            self.chains[name].mine()
            self.workers.index(name)

    def anchor(self, chain="SUP"):
        ref = secrets.token_hex(8)
        anchor_enqueue(chain=chain, sender=self.account, leaf=secrets.token_bytes(32), ref=ref)
        return ref

    def seen(self):
        """(code, chain) of every alarm, after pages and metrics told the same."""
        Watch().turn()
        shown = {(row.code, row.chain) for row in alarms.alarms_all()}
        regulator, operator = self.people.client(self.people.reg), self.people.client(self.operator)
        for page in (regulator.get(reverse("regulator:chains")), operator.get(reverse("operator:health"))):
            text = page.content.decode()
            assert set(ALARM.findall(text)) == {code for code, _ in shown}
            for row in alarms.alarms_all():
                for words in (row.kind.title, row.kind.advice, row.message):
                    assert escape(str(words)) in text
            assert ("Nothing needs attention." in text) is not bool(shown)
        samples = SAMPLE.findall(self.client.get("/metrics").content.decode())
        assert {(code, chain) for chain, code, count in samples if float(count)} == shown
        assert {code for _, code, _ in samples} == set(KINDS)
        return shown


@pytest.fixture
def portal(people, chains, drive, workers, hospital, client):
    portal = Portal(people, chains, drive, workers, hospital(), client)
    Watch().turn()
    assert alarms.alarms_all() == []
    return portal


def no_node(settings, *names):
    down = {name: {**settings.CHAIN["chains"][name], "rpc_url": "http://127.0.0.1:9"} for name in names}
    settings.CHAIN = {**settings.CHAIN, "chains": {**settings.CHAIN["chains"], **down}}


# -- parts -------------------------------------------------------------------------------------------------------------


def test_each_part_that_dies(portal, monkeypatch):
    # The watch itself beats while it asks, so its own death is seen on the pages alone.
    monkeypatch.setattr("portal.watch.Pulse.beat", lambda self, note="": None)
    for part, code in [*alarms.parts().items(), ("watch", "watch_dead")]:
        portal.pass_time(without=[part])
        assert portal.seen() == {(code, part.partition(":")[2])}
        portal.live()
    assert portal.seen() == set()
    assert not AlarmRow.objects.filter(ended_at__isnull=True).exists()


def test_a_part_that_never_lived(portal, monkeypatch):
    monkeypatch.setattr("portal.watch.Pulse.beat", lambda self, note="": None)
    Heartbeat.objects.filter(part="worker").delete()
    assert portal.seen() == {("worker_dead", "")}


def test_two_places_of_one_part_do_not_hide_each_other(portal):
    heartbeat_write(part="worker", instance="elsewhere")
    Heartbeat.objects.filter(part="worker", instance="here").update(at=F("at") - timedelta(minutes=5))
    assert portal.seen() == set()
    text = portal.people.client(portal.operator).get(reverse("operator:health")).content.decode()
    assert "elsewhere" in text and "No sign of life" in text


def test_a_broker_that_does_not_answer(portal, monkeypatch, tmp_path):
    from celery import Celery

    monkeypatch.setattr(broker, "app", Celery(broker=f"redis+socket://{tmp_path}/nobody.sock"))
    assert portal.seen() == {("broker_silent", "")}


def test_a_check_that_fails_does_not_silence_the_others(portal, monkeypatch):
    def fail():
        raise ValueError

    monkeypatch.setattr(broker, "alarms", fail)
    portal.pass_time(without=["worker"])
    assert portal.seen() == {("check_failed", ""), ("worker_dead", "")}


# -- the index ---------------------------------------------------------------------------------------------------------


def test_a_chain_that_contradicts_what_was_final(portal):
    portal.anchor()
    portal.drive(projectors=False)
    portal.chains["SUP"].rpc("anvil_reorg", 6, [])
    portal.chains["SUP"].mine(2)
    assert portal.workers.indexers["SUP"].step().kind == "halt"
    assert portal.seen() == {("halted", "SUP")}


def test_an_indexer_that_stopped(portal):
    portal.pass_time(without=["indexer:MED"], silent=["MED"])
    assert portal.seen() == {("index_stopped", "MED"), ("indexer_dead", "MED")}


def test_a_node_that_is_gone(portal, settings):
    no_node(settings, "MED")
    portal.pass_time(without=["indexer:MED"], silent=["MED"])
    Lease.objects.filter(name="indexer:MED").delete()
    Worker("indexer", "MED", Indexer, threading.Event()).turn()
    assert Heartbeat.objects.exclude(instance="here").get(part="indexer:MED").note == "RpcUnavailable"
    assert portal.seen() == {("node_silent", "MED"), ("unreachable", "MED")}
    gateway("MED").rpc.close()


def test_a_network_that_makes_no_blocks(portal):
    portal.pass_time(silent=["SUP"])
    portal.workers.index("SUP")
    assert portal.seen() == {("chain_silent", "SUP")}
    portal.chains["SUP"].mine()
    portal.workers.index("SUP")
    assert portal.seen() == set()


def test_an_index_that_is_behind(portal, settings):
    tail = {name: {**chain, "tail_blocks": 2} for name, chain in settings.CHAIN["chains"].items()}
    settings.CHAIN = {**settings.CHAIN, "chains": tail}
    portal.chains["SUP"].mine(12)
    portal.workers.indexers["SUP"].step()
    assert portal.seen() == {("index_lag", "SUP")}
    metrics = portal.client.get("/metrics").content.decode()
    lag = ChainState.objects.get(name="SUP")
    assert f'portal_chain_index_lag_blocks{{chain="SUP"}} {lag.head - lag.cursor_number}.0' in metrics
    portal.workers.index("SUP")
    assert portal.seen() == set()


def test_a_block_that_cannot_be_read(portal):
    ChainState.objects.filter(name="SUP").update(gaps=[3])
    assert portal.seen() == {("gap", "SUP")}


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_a_transaction_that_is_stuck(portal):
    portal.anchor()
    portal.workers.send("SUP")
    portal.chains["SUP"].rpc("anvil_dropAllTransactions")
    portal.pass_time()
    assert portal.seen() == {("stuck", "SUP")}
    portal.drive(projectors=False)
    assert portal.seen() == set()


def test_a_backlog(portal):
    portal.anchor("MED")
    portal.pass_time()
    assert portal.seen() == {("backlog", "MED")}
    assert 'portal_outbox_items{chain="MED",state="queued"} 1.0' in portal.client.get("/metrics").content.decode()


def test_a_contract_that_refuses(portal, deployer):
    args = [portal.account, 1, secrets.token_bytes(32)]
    call_enqueue(
        chain="MED", sender=deployer, contract="Registry", function="admitOrganisation", args=args, ref="a second time"
    )
    portal.drive(projectors=False)
    assert portal.seen() == {("refused", "MED")}


def test_an_account_without_money(portal):
    portal.anchor()
    portal.drive(projectors=False)
    portal.chains["SUP"].fund(portal.account, 10**15)
    assert portal.seen() == {("low_balance", "SUP")}
    row = AlarmRow.objects.get(code="low_balance")
    assert row.subject.lower() == hex0x(portal.account) and "0.0010 left" in row.message
    portal.chains["SUP"].fund(portal.account)
    assert portal.seen() == set()


def test_foreign_code(portal):
    place = next(row for row in alarms.chain_health.contracts("MED") if row.name == "AnchorLog")
    portal.chains["MED"].rpc("anvil_setCode", place.address, "0x6001")
    assert portal.seen() == {("foreign_code", "MED")}


def test_an_anchor_that_is_gone(portal):
    portal.anchor()
    portal.drive(projectors=False)
    event = ChainEvent.objects.get(chain="SUP", name="Anchored")
    ChainEvent.objects.filter(pk=event.pk).update(args={**event.args, "root": "0x" + "00" * 32})
    assert portal.seen() == {("anchor_missing", "SUP")}


def test_a_record_that_is_on_one_chain_only(portal):
    leaf = secrets.token_bytes(32)
    for name in portal.chains:
        anchor_enqueue(chain=name, sender=portal.account, leaf=leaf, ref=f"both:{name}")
    for _ in range(8):
        portal.workers.send("SUP")
        portal.chains["SUP"].mine()
    portal.pass_time()
    assert portal.seen() == {("anchor_alone", "MED"), ("backlog", "MED")}
    portal.drive(projectors=False)
    assert portal.seen() == set()


@pytest.mark.parametrize("code", ["chain_rewritten", "anchor_different", "nodes_disagree"])
def test_what_the_comparisons_found(portal, code):
    """How each of them is found has its own tests; here they are read."""
    finding = {"code": code, "chain": "MED", "checked": ["block:7"]}
    findings_note(**finding, found={"block:7": "Block 7 is another one."})
    assert portal.seen() == {(code, "MED")}
    findings_note(**finding, found={})
    assert portal.seen() == set()


def test_chains_that_do_not_vouch_for_each_other(portal, settings):
    settings.CHAIN = {**settings.CHAIN, "heads_seconds": 1}
    portal.pass_time()
    assert portal.seen() == {("head_late", "SUP"), ("head_late", "MED")}


def test_a_change_of_the_rules_that_is_on_its_way(portal, monkeypatch):
    # A council that approves has its own tests on the chain; its alarm comes by this function.
    waiting = [Alarm("release_waiting", "MED", "The council approved version 2 of Consents.", "0x07")]
    monkeypatch.setattr(council, "alarms", lambda chain: waiting if chain == "MED" else [])
    assert portal.seen() == {("release_waiting", "MED")}


# -- access logs -------------------------------------------------------------------------------------------------------


def test_a_log_that_was_changed_past_the_portal(portal):
    people = portal.people
    for _ in range(3):
        append(hospital=people.a, actor=people.actor(people.alice), action="records.opened", patient=people.pat_a)
    with connection.cursor() as cursor:
        for statement in append_only_drop(connection.vendor, "hospitals_auditentry"):
            cursor.execute(statement)
    with tenant(people.a):
        AuditEntry.objects.filter(seq=2).update(action="records.listed")
    log_check(people.a)
    try:
        assert ("log_gap", "MED") in portal.seen()
        assert "Entry 2 was changed" in AlarmRow.objects.get(code="log_gap").message
    finally:
        with connection.cursor() as cursor:
            for statement in append_only_create(connection.vendor, "hospitals_auditentry"):
                cursor.execute(statement)


def test_a_log_that_nobody_checks_and_whose_map_does_not_come(portal):
    people = portal.people
    append(hospital=people.a, actor=people.actor(people.alice), action="records.opened", patient=people.pat_a)
    Organisation.objects.filter(pk=people.a.pk).update(decided_at=F("applied_at") - timedelta(days=1))
    assert {("log_unchecked", "MED"), ("log_map_late", "MED")} <= portal.seen()


# -- records -----------------------------------------------------------------------------------------------------------


def test_an_upload_that_nobody_seals(portal, send, work):
    send(portal.people.alice, portal.people.pat_a)
    portal.pass_time()
    assert ("uploads_waiting", "") in portal.seen()
    work()
    assert ("uploads_waiting", "") not in portal.seen()


@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_a_sealed_file_that_is_missing(portal, made, harm):
    made(portal.people.alice, portal.people.pat_a)
    with all_tenants("test"):
        address = Epoch.objects.get().payload_blob
    assert "blobs_missing" not in {code for code, _ in portal.seen()}
    path = blob_store()._path(address)
    content = path.read_bytes()
    path.unlink()
    if harm == "cut":
        path.write_bytes(content[:-1])
    assert ("blobs_missing", "") in portal.seen()
    assert address in AlarmRow.objects.get(code="blobs_missing").message
    path.write_bytes(content)
    assert "blobs_missing" not in {code for code, _ in portal.seen()}


# -- the record of alarms ----------------------------------------------------------------------------------------------


def test_an_alarm_keeps_its_beginning_and_is_listed_when_over(portal):
    portal.pass_time(without=["worker"])
    portal.seen()
    AlarmRow.objects.filter(code="worker_dead").update(raised_at=F("raised_at") - timedelta(hours=3))
    begun = AlarmRow.objects.get(code="worker_dead").raised_at
    portal.seen()
    row = AlarmRow.objects.get(code="worker_dead")
    assert (row.raised_at, row.ended_at) == (begun, None)
    text = portal.people.client(portal.operator).get(reverse("operator:health")).content.decode()
    assert "3 hours ago" in text.replace("\xa0", " ")
    portal.live()
    portal.seen()
    text = portal.people.client(portal.operator).get(reverse("operator:health")).content.decode()
    assert "Alarms that have ended" in text and "No worker is at work" in text


def test_many_alarms_of_one_kind_are_one_entry(portal, monkeypatch):
    many = [Alarm("anchor_different", "SUP", f"Record {n} differs.", str(n)) for n in range(30)]
    monkeypatch.setattr(broker, "alarms", lambda: many)
    assert {alarm.code for alarm in Watch().turn()} == {"anchor_different"}
    text = portal.people.client(portal.operator).get(reverse("operator:health")).content.decode()
    assert "30 alarms" in text and "And 25 more." in text and text.count("data-alarm=") == 1
    assert 'portal_alarms{chain="SUP",code="anchor_different"} 30.0' in portal.client.get("/metrics").content.decode()
    monkeypatch.setattr(broker, "alarms", list)
    assert portal.seen() == set()
    assert AlarmRow.objects.filter(ended_at__isnull=False).count() == 30


def test_every_alarm_has_its_words_and_its_line_in_the_handbook():
    code = re.compile(r'\bAlarm\(\s*"(\w+)"')
    sources = [path for app in ("chain", "hospitals", "records", "portal") for path in (BASE / app).rglob("*.py")]
    raised = {name for path in sources for name in code.findall(path.read_text())}
    assert len(raised) > 15 and raised <= set(KINDS)
    handbook = (BASE / "docs" / "operations.md").read_text()
    assert [name for name in KINDS if f"`{name}`" not in handbook] == []


def test_every_kind_says_what_to_do():
    for code, kind in KINDS.items():
        assert kind.tone in ("stop", "warn"), code
        assert (
            len(str(kind.title)) < 60 and len(str(kind.advice)) > 30 and str(kind.advice).endswith((".", "reindex"))
        ), code


def test_an_operator_of_one_hospital_sees_only_its_log_alarms(portal, monkeypatch):
    gap = [Alarm("log_gap", "", f"entry 7 of {slug}", slug) for slug in ("northwick", "birch")]
    monkeypatch.setattr(broker, "alarms", lambda: gap)
    portal.operator.is_superuser = False
    portal.operator.save()
    Watch().turn()
    assert "entry 7" not in portal.people.client(portal.operator).get(reverse("operator:health")).content.decode()
    hana = portal.people.hana.user
    hana.is_staff = True
    hana.save()
    text = portal.people.client(hana).get(reverse("operator:health")).content.decode()
    assert "entry 7 of northwick" in text and "birch" not in text
    regulator = portal.people.client(portal.people.reg).get(reverse("regulator:chains")).content.decode()
    assert "entry 7 of northwick" in regulator and "entry 7 of birch" in regulator


# -- who may read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["alice", "hana", "dora", "pat", "reg"])
def test_the_operators_page_is_closed_to_others(people, person):
    assert people.client(getattr(people, person)).get(reverse("operator:health")).status_code == 404


def test_metrics_without_a_token_are_for_this_machine(client, people):
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.7").status_code == 404
    for header in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via"):
        assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 404


def test_metrics_with_a_token_are_for_its_holder(client, people, settings):
    settings.METRICS_TOKEN = "t0ken"
    assert client.get("/metrics").status_code == 404
    for wrong in ("", "Bearer", "Bearer t0keN", "Basic t0ken", "Bearer tökén"):
        assert client.get("/metrics", headers={"Authorization": wrong}).status_code == 404
    answer = client.get("/metrics", REMOTE_ADDR="10.0.0.7", headers={"Authorization": "Bearer t0ken"})
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/plain")


def test_metrics_name_nobody(portal, made):
    made(portal.people.alice, portal.people.pat_a)
    text = portal.client.get("/metrics").content.decode()
    assert 'portal_uploads{state="sealed"} 1.0' in text
    for word in ("Moreno", "Okafor", "northwick", "Northwick", "@", hex0x(portal.account)):
        assert word not in text
