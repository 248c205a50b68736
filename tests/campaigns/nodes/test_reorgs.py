"""Reorganisations of 1 to 64 blocks of a real chain, at any moment: afterwards the index is the chain, byte for byte.

192 rounds are every depth with every kind; the places of transactions and the moment come from the seed.
"""

import contextlib
import json

import pytest

from chain.errors import RpcInconsistent
from chain.rpc import Rpc
from tests.campaigns.nodes import truth
from tests.campaigns.nodes.conftest import CHAIN, DEEP, with_chain
from tests.campaigns.nodes.world import KINDS

pytestmark = pytest.mark.django_db(transaction=True)


def case(index):
    """37 and 64, 3 and 64 have no common factor: 192 rounds in a row are all the pairs."""
    return index * 37 % DEEP + 1, KINDS[index % 3]


def test_192_rounds_are_every_depth_with_every_kind():
    assert len({case(index) for index in range(192)}) == 192


def bucket(depth):
    return "1-8" if depth <= 8 else "9-32" if depth <= 32 else "33-64"


def play(world, run, rng, depth, kind):
    """Reorganises and counts what that did to transactions that had been in blocks."""
    lost, placed = world.writer.reorganise(rng, depth, kind)
    run.injected(f"{kind}, {bucket(depth)} blocks deep")
    run.note(
        deepest=max(depth, run.notes.get("deepest", 0)),
        transactions_lost=run.notes.get("transactions_lost", 0) + lost,
        transactions_placed=run.notes.get("transactions_placed", 0) + placed,
    )
    return lost


@pytest.mark.campaign
def test_after_any_reorganisation_the_index_is_the_chain(campaign, world):
    run = campaign("reorgs", small=12, ci=192, night=10_000)
    for index, rng in run:
        reorg_round(world, run, rng, *case(index))


def reorg_round(world, run, rng, depth, kind):
    world.again(rng)
    stored = truth.events_stored(CHAIN)
    world.writer.grow(rng, rng.randint(1, 4))
    if rng.random() < 0.9:  # else the fork hits an index that lags
        world.index()
    assert play(world, run, rng, depth, kind) > 0
    if rng.random() < 0.5:
        world.writer.grow(rng, rng.randint(1, 2))
    world.index()
    assert world.differences() == []
    now = truth.events_stored(CHAIN)
    assert now >= stored, "an event was deleted"
    run.note(events_written=run.notes.get("events_written", 0) + now)


class Between:
    """Calls `act` once, before the n-th question that the indexer asks from now on."""

    def __init__(self, monkeypatch):
        self.left, self.act = None, None
        real = Rpc._post

        def post(rpc, body):
            if self.left is not None:
                self.left -= 1
                if self.left <= 0:
                    act, self.left = self.act, None
                    act()
            return real(rpc, body)

        monkeypatch.setattr(Rpc, "_post", post)

    def arm(self, count, act):
        self.left, self.act = count, act

    @property
    def has_fired(self):
        return self.left is None


@pytest.mark.campaign
def test_a_fork_in_the_middle_of_a_batch_leaves_no_mixture(campaign, world, monkeypatch):
    """Questions go out three at a time, and between any two of them the chain becomes another one, up to thrice."""
    with_chain(world.settings, finality=f"depth:{DEEP}", calls_per_batch=3)
    between = Between(monkeypatch)
    run = campaign("reorgs-mid-batch", small=12, ci=96, night=10_000)
    for index, rng in run:
        mid_batch_round(world, between, run, rng, *case(index))


def mid_batch_round(world, between, run, rng, depth, kind):
    world.again(rng)
    world.writer.grow(rng, rng.randint(1, 30), most=2)
    for _ in range(rng.randint(1, 3)):
        between.arm(rng.randint(2, 20), lambda: play(world, run, rng, depth, kind))
        with contextlib.suppress(RpcInconsistent):
            while not between.has_fired and not world.indexer.step().is_idle:
                pass
        # Whatever the step wrote is a state of one chain: every link and every event of the index hold together.
        assert_is_one_chain(world)
    between.left = None
    world.writer.grow(rng, 1)
    world.settle()
    assert world.differences() == []


def assert_is_one_chain(world):
    blocks = truth.blocks_of(CHAIN, truth.state_of(CHAIN)[2])
    assert blocks, "the cursor stands where no block is stored"
    hashes = {number: block_hash for number, block_hash, _ in blocks}
    assert all(hashes.get(number - 1, parent) == parent for number, _, parent in blocks)
    for row in truth.index_events(CHAIN, blocks[0][0], 2**62).rows:
        number, _, block_hash, *_ = json.loads(row)
        assert hashes[number] == block_hash, f"an event of another version of block {number}"
