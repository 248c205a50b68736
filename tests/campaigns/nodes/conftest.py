"""A chain for these campaigns: deep finality, an organisation whose key the campaign holds, blocks to take away."""

import contextlib

import pytest

from chain.errors import RpcUnavailable
from chain.gateway import gateways_close
from chain.indexer import Indexer, events_reset
from chain.leases import lease_release, lease_take
from tests.campaigns.nodes import truth
from tests.campaigns.nodes.world import Writer, places_of
from tests.chain_fixtures import KEYS
from tests.records.conftest import blobs, cast, entries, made, send, settle, work

__all__ = ["blobs", "cast", "entries", "made", "send", "settle", "work", "world"]

DEEP = 64
CHAIN = "MED"  # blocks without a price, so that every transaction stays valid in every fork


class World:
    """One anvil, the record of its contracts, a writer, and the product's indexer on it."""

    def __init__(self, anvil, settings, writer_key):
        self.anvil, self.settings = anvil, settings
        self.places = places_of(anvil.chain_id, settings.CHAIN["deployments_dir"])
        self.writer = Writer(anvil, self.places, writer_key)
        self.held = lease_take(name=f"indexer:{CHAIN}", holder="campaign", seconds=36_000)
        self.indexer = Indexer(CHAIN, self.held)
        self.begin = None

    def again(self, rng):
        """As at first, with a new stretch of blocks, deeper than any fork to come, and an index from nothing: so each
        round can be played alone. (Also, anvil forgets the states of old blocks.)"""
        if self.begin is not None:
            self.anvil.revert(self.begin)
        self.begin = self.anvil.snapshot()
        for _ in range(8):
            self.anvil.rpc("anvil_mine", hex(rng.randint(8, 10)))
            self.writer.grow(rng, 1, most=2)
        events_reset(CHAIN, held=self.held)
        self.indexer = Indexer(CHAIN, self.held)
        self.settle()

    def lease(self, job):
        return lease_take(name=f"{job}:{CHAIN}", holder="campaign", seconds=36_000)

    def settle(self):
        """Like the worker's loop: after a contradiction or a node that was too slow it looks again."""
        for _ in range(20):
            with contextlib.suppress(RpcUnavailable):
                return self.index()
        return self.index()

    def index(self, *, most=2000):
        """Until nothing is left to do; the node may take steps back meanwhile."""
        for _ in range(most):
            if self.indexer.step().is_idle:
                return
        raise AssertionError("the index never came to rest")

    def differences(self, *, blocks=None, to_head=True):
        """Against the whole chain, or against its last blocks."""
        first = 0 if blocks is None else max(0, self.anvil.head - blocks)
        return truth.differences(CHAIN, self.anvil.url, self.places, first=first, to_head=to_head)


def with_chain(settings, **changes):
    """The same settings with other values for the campaign's chain."""
    chains = settings.CHAIN["chains"]
    settings.CHAIN = {**settings.CHAIN, "chains": {**chains, CHAIN: {**chains[CHAIN], **changes}}}


@pytest.fixture
def world(hospital, chains, workers, settings):
    """An admitted organisation, and an indexer that waits 64 blocks. `again` begins a round."""
    sender = hospital(chains=(CHAIN,))
    for _ in range(4):
        workers.send(CHAIN)
        workers.index(CHAIN)
        chains[CHAIN].mine()
    for job in ("indexer", "sender"):
        lease_release(workers.held[job, CHAIN])
    with_chain(settings, finality=f"depth:{DEEP}")
    made = World(chains[CHAIN], settings, KEYS[sender])
    yield made
    gateways_close()
