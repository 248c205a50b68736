"""A node that lies, stalls, cuts, sends HTML or somebody else's receipts: at no moment is the index another chain than
the real one, and no wish is lost or done twice."""

import contextlib
import json
import random

import pytest

from chain import rpc as chain_rpc
from chain.errors import ChainError
from chain.gateway import gateways_close
from chain.indexer import Indexer, events_reset
from chain.models import Account, Attempt, Finding, OutboxItem, Transaction
from chain.sending import Sender
from chain.services import anchor_enqueue
from tests.campaigns.nodes import lies, truth
from tests.campaigns.nodes.conftest import CHAIN, with_chain
from tests.fakes.proxy import Proxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.campaign]
UNSETTLED = ["queued", "broadcast", "mined"]


@pytest.fixture
def proxy(world, monkeypatch):
    """Between the portal and the chain of this campaign. The pause after three failures is shown elsewhere."""
    monkeypatch.setattr(chain_rpc, "PAUSE_SECONDS", 0.01)
    found = Proxy(world.anvil.url)
    yield found
    gateways_close()
    found.close()


def faults(index):
    """All of them in turn, whatever the number of rounds."""
    every = [*lies.WRONG, *lies.TRANSPORT]
    return every[index % len(every)]


def test_a_hostile_node_puts_nothing_wrong_into_the_index(campaign, world, proxy):
    with_chain(world.settings, rpc_url=proxy.url, finality="depth:5", read_seconds=lies.READ_SECONDS)
    run = campaign("hostile-index", small=20, ci=148, night=20_000)
    for index, rng in run:
        index_round(world, proxy, run, rng, faults(index), faults(rng.randrange(1000)))


def index_round(world, proxy, run, rng, *whats):
    world.again(rng)
    liar = lies.Liar(proxy, world.anvil, rng, run.injected)
    world.writer.grow(rng, rng.randint(1, 6), most=2)
    if rng.random() < 0.3:
        events_reset(CHAIN, held=world.held)  # catching up reads by ranges, following reads by blocks
        world.indexer = Indexer(CHAIN, world.held)
    for what in whats:
        liar.will(what, after=rng.randrange(4))
        for _ in range(8):
            with contextlib.suppress(ChainError):
                if world.indexer.step().is_idle:
                    if not liar.is_waiting:
                        break
                    world.writer.grow(rng, 1, most=2)
                if truth.is_begun(CHAIN):
                    assert world.differences(to_head=False) == [], what.__name__
    liar.stop()
    world.settle()
    assert world.differences() == []


def test_a_hostile_node_makes_no_wish_lost_or_done_twice(campaign, world, proxy):
    """Sender and indexer behind the liar; counted on the real chain: one anchor for each leaf, no nonce without one."""
    with_chain(world.settings, rpc_url=proxy.url, finality="depth:3", read_seconds=lies.READ_SECONDS)
    sender = Sender(CHAIN, world.lease("sender"))
    run = campaign("hostile-send", small=16, ci=148, night=10_000)
    for index, rng in run:
        send_round(world, sender, proxy, run, rng, faults(index), faults(rng.randrange(1000)))


def send_round(world, sender, proxy, run, rng, *whats):
    books_closed()
    world.again(rng)
    liar = lies.Liar(proxy, world.anvil, rng, run.injected)
    writer = world.writer
    nonce, first = writer.nonce(), world.anvil.head + 1
    leaves = [rng.randbytes(32) for _ in range(rng.randint(1, 3))]
    for leaf in leaves:
        anchor_enqueue(chain=CHAIN, sender=writer.address, leaf=leaf, ref=leaf.hex()[:16])
    for what in whats:
        liar.will(what, after=rng.randrange(5))
        for _ in range(8):
            for step in (sender.step, world.indexer.step):
                with contextlib.suppress(ChainError):
                    step()
            if rng.random() < 0.5:
                world.anvil.mine()
            if not liar.is_waiting:
                break
    liar.stop()
    for _ in range(40):
        with contextlib.suppress(ChainError):
            sender.step()
        world.anvil.mine()
        with contextlib.suppress(ChainError):
            world.indexer.step()
        if not OutboxItem.objects.filter(state__in=UNSETTLED).exists():
            break
    world.settle()
    assert world.differences() == []
    assert list(OutboxItem.objects.exclude(state="final").values_list("ref", "state", "error")) == []
    assert_anchored_once(world, leaves, nonce, first)


def books_closed():
    """The chain of the last round is gone, and with it what was sent to it."""
    OutboxItem.objects.all().delete()
    Transaction.objects.update(mined_attempt=None)
    for model in (Attempt, Transaction, Account):
        model.objects.all().delete()


def assert_anchored_once(world, leaves, nonce, first):
    """From the chain alone: as many transactions as anchors, and the anchors hold as many leaves as were wished."""
    rows = truth.chain_events(world.anvil.url, world.places, first, world.anvil.head).rows
    anchors = [json.loads(row)[8] for row in rows if json.loads(row)[7] == "Anchored"]
    assert sum(item["count"] for item in anchors) == len(leaves)
    assert world.writer.nonce() - nonce == len(anchors)


def test_what_one_node_alone_can_hide_a_second_one_shows(campaign, world, proxy):
    """Lies that fit together: whatever got into the index is found by the second node, block by block, or was refused
    at once; afterwards an index built anew is the chain."""
    with_chain(world.settings, rpc_url=proxy.url, rpc_url_2=world.anvil.url, finality="depth:5", window_blocks=40)
    world.again(random.Random(3))
    world.anvil.mine(6)  # what is told about a block that is not final yet, nobody compares before it is
    world.settle()
    honest = truth.index_events(CHAIN, 0, 2**62).digest
    run = campaign("hostile-two-nodes", small=24, ci=200, night=10_000)
    found = refused = 0
    for index, rng in run:
        liar = lies.Liar(proxy, world.anvil, rng, run.injected)
        events_reset(CHAIN, held=world.held)
        world.indexer = Indexer(CHAIN, world.held)
        liar.will(lies.SUBTLE[index % len(lies.SUBTLE)], after=rng.randrange(2))
        was_refused = False
        for _ in range(40):
            try:
                if world.indexer.step().is_idle:
                    break
            except ChainError:
                was_refused = True
        assert not liar.is_waiting, "nothing was lied about"
        is_wrong = truth.index_events(CHAIN, 0, 2**62).digest != honest
        doubts = list(Finding.objects.filter(chain=CHAIN, cleared_at__isnull=True))
        assert bool(doubts) == is_wrong, "a lie below finality stayed unseen, or an honest index was doubted"
        assert is_wrong or was_refused
        found, refused = found + is_wrong, refused + (not is_wrong)
        liar.stop()
        if is_wrong:
            events_reset(CHAIN, held=world.held)
            world.indexer = Indexer(CHAIN, world.held)
            world.settle()
        assert not Finding.objects.filter(chain=CHAIN, cleared_at__isnull=True).exists()
        assert world.differences() == []
        run.note(found_by_second_node=found, refused_at_once=refused)
