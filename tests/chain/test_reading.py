"""Viewer, status pages and the long-running commands."""

import secrets
import threading

import pytest

from chain import selectors
from chain.artefacts import NAMES
from chain.errors import RpcUnavailable
from chain.gateway import gateway
from chain.models import ChainState, Transaction
from chain.services import access_enqueue_many, anchor_enqueue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.scenario("M7")
def test_a_transaction_is_shown_from_pending_to_final(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    anchor_enqueue(chain="SUP", sender=sender, leaf=secrets.token_bytes(32), ref="one")
    workers.send("SUP")
    tx_hash = selectors.item("one").tx_hash
    shown = selectors.transaction_view("SUP", tx_hash)
    assert (shown.state, shown.contract, shown.function) == ("pending", "AnchorLog", "anchor")
    chains["SUP"].mine()
    assert selectors.transaction_view("SUP", tx_hash).state == "mined"
    drive(projectors=False)
    shown = selectors.transaction_view("SUP", tx_hash.upper().replace("0X", "0x"))
    assert shown.state == "final" and shown.confirmations >= shown.confirmations_needed
    assert [(event.contract, event.name) for event in shown.events] == [("AnchorLog", "Anchored")]
    assert shown.events[0].args["organisation"] == "0x" + sender.hex()
    assert shown.gas_used > 0 and shown.fee_wei > 0
    block = selectors.block_view("SUP", shown.block_number)
    assert [item.tx_hash for item in block.transactions] == [tx_hash]
    assert selectors.block_view("SUP", block.hash).number == block.number
    assert (block.previous_number, block.next_number) == (block.number - 1, block.number + 1)


@pytest.mark.scenario("M7")
def test_unknown_and_malformed(chains):
    assert selectors.transaction_view("SUP", "0x" + "ab" * 32) is None
    assert selectors.block_view("SUP", 10**9) is None
    assert selectors.block_view("SUP", 10**30) is None
    assert selectors.block_view("SUP", "0x" + "ab" * 32) is None
    for wrong in ("0x12", "hello", ""):
        with pytest.raises(ValueError):
            selectors.transaction_view("SUP", wrong)
    newest = selectors.blocks_newest("SUP", limit=3)
    assert [b.number for b in newest] == [chains["SUP"].head - n for n in range(3)]


def test_a_chain_that_is_down_says_so(chains, settings):
    down = {**settings.CHAIN["chains"]["SUP"], "rpc_url": "http://127.0.0.1:9"}
    settings.CHAIN = {**settings.CHAIN, "chains": {**settings.CHAIN["chains"], "SUP": down}}
    with pytest.raises(RpcUnavailable):
        selectors.transaction_view("SUP", "0x" + "ab" * 32)
    assert {item.is_matching for item in selectors.contracts("SUP")} == {None}
    assert "unreachable" in [alarm.code for alarm in selectors.alarms("SUP")]
    gateway("SUP").rpc.close()


@pytest.mark.scenario("G7")
def test_published_contracts_match_and_are_announced(hospital, drive):
    hospital()
    drive(projectors=False)
    for name in ("SUP", "MED"):
        rows = selectors.contracts(name)
        assert [row.name for row in rows] == list(NAMES)
        assert all(row.is_matching and row.version == 1 for row in rows)
        announced = {event.contract_name for event in selectors.events_named(name, "ReleaseAnnounced", limit=20)}
        assert announced == {*NAMES} - {"AccessManager"}  # the library's own, and what approves all others


@pytest.mark.scenario("O17")
def test_alarms_are_provoked_and_seen(hospital, workers, chains, drive):
    from datetime import timedelta

    from django.utils import timezone

    sender = hospital()
    assert selectors.alarms() == []
    events = selectors.events_of(sender, contract="Registry", limit=5)
    assert [(e.chain, e.name) for e in events] and {e.name for e in events} == {"OrganisationAdmitted"}
    anchor_enqueue(chain="SUP", sender=sender, leaf=secrets.token_bytes(32), ref="stuck")
    workers.send("SUP")
    assert selectors.queue_status("SUP").waiting == 1
    old = timezone.now() - timedelta(minutes=11)
    Transaction.objects.filter(state="broadcast").update(created_at=old)
    ChainState.objects.filter(name="MED").update(checked_at=old)
    codes = {(alarm.chain, alarm.code) for alarm in selectors.alarms()}
    assert codes == {("SUP", "stuck"), ("MED", "index_stopped")}
    chains["SUP"].fund(sender, 10)
    ChainState.objects.filter(name="SUP").update(gaps=[3])
    codes = {alarm.code for alarm in selectors.alarms("SUP")}
    assert codes == {"stuck", "low_balance", "gap"}


@pytest.mark.scenario("O16")
def test_anchors_of_both_chains_are_compared(hospital, workers, chains, drive):
    from datetime import timedelta

    from django.utils import timezone

    from chain.models import ChainEvent, OutboxItem

    sender, leaf = hospital(), secrets.token_bytes(32)
    for name in ("SUP", "MED"):
        anchor_enqueue(chain=name, sender=sender, leaf=leaf, ref=f"both:{name}")
    for _ in range(8):
        workers.send("SUP")
        chains["SUP"].mine()
    workers.index("SUP")
    assert selectors.item("both:SUP").state == "final"
    assert selectors.alarms() == []
    OutboxItem.objects.filter(ref="both:MED").update(created_at=timezone.now() - timedelta(minutes=11))
    assert [(alarm.chain, alarm.code) for alarm in selectors.alarms()] == [("MED", "backlog"), ("MED", "anchor_alone")]
    drive(projectors=False)
    assert selectors.alarms() == []
    event = ChainEvent.objects.get(chain="SUP", name="Anchored")
    ChainEvent.objects.filter(pk=event.pk).update(args={**event.args, "root": "0x" + "00" * 32})
    assert [(alarm.chain, alarm.code) for alarm in selectors.alarms()] == [("SUP", "anchor_missing")]


def test_item_queries_do_not_grow_with_the_items(hospital, drive, django_assert_num_queries):
    sender = hospital(chains=("MED",))
    leaves = [(secrets.token_bytes(32), f"q:{n}") for n in range(20)]
    with django_assert_num_queries(4):  # one of them the transaction around the insert
        access_enqueue_many(chain="MED", sender=sender, leaves=leaves)
    drive(projectors=False)
    with django_assert_num_queries(2):
        found = selectors.items([ref for _, ref in leaves])
    assert len(found) == 20 and all(status.leaf for status in found.values())


def test_the_commands_do_the_whole_way_by_themselves(hospital, chains, workers, tmp_path):
    """chain_send and chain_index with --once, as an operator would run them."""
    from django.core.management import call_command

    from chain.models import Lease

    sender = hospital()
    Lease.objects.all().delete()
    anchor_enqueue(chain="SUP", sender=sender, leaf=secrets.token_bytes(32), ref="by-command")
    for _ in range(6):
        call_command("chain_send", once=True)
        chains["SUP"].mine()
    call_command("chain_send", once=True)
    call_command("chain_index", once=True)
    assert selectors.item("by-command").state == "final"
    assert selectors.sync_status("SUP").lag == 0


def test_a_second_worker_waits_and_takes_over_when_the_first_stops(hospital, chains, workers):
    from chain.models import Lease
    from chain.runner import Worker
    from chain.sending import Sender

    hospital(chains=("SUP",))
    Lease.objects.all().delete()
    stops = [threading.Event(), threading.Event()]
    pair = [Worker("sender", "SUP", Sender, stop) for stop in stops]
    first = threading.Thread(target=pair[0].run)
    first.start()
    try:
        while not Lease.objects.filter(holder=pair[0].holder).exists():
            first.join(0.05)
        assert pair[1].turn() == 5.0  # a sixth of the lease: come back later
    finally:
        stops[0].set()
        first.join(20)
    assert not first.is_alive()
    stops[1].set()
    assert pair[1].turn() == 0
    assert Lease.objects.get(name="sender:SUP").fence == 2


def test_a_final_block_can_be_asked_about_after_thousands_of_others(chains):
    """The chains of the tests forget old states; each test stands on blocks of its own."""
    from tests.chain_fixtures import DEPTH

    med = chains["MED"]
    snapshot = med.snapshot()
    med.mine(1100)
    med.revert(snapshot)
    med.mine(DEPTH + 1)
    final = hex(med.head - DEPTH)
    assert med.rpc("eth_call", {"to": "0x" + "11" * 20, "data": "0x"}, final) == "0x"
    with pytest.raises(RuntimeError, match="BlockOutOfRange"):
        med.rpc("eth_call", {"to": "0x" + "11" * 20, "data": "0x"}, hex(med.head - 2 * DEPTH - 2))
