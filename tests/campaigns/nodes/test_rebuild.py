"""An index built anew through a stingy node is the same, byte for byte (O3)."""

import random

import pytest

from chain.gateway import gateways_close
from chain.indexer import Indexer, events_reset
from tests.campaigns.nodes import truth
from tests.campaigns.nodes.conftest import CHAIN, with_chain
from tests.fakes.proxy import Proxy

pytestmark = pytest.mark.django_db(transaction=True)
BLOCKS, LOGS = 1000, 100


class Stingy:
    """No more than 1,000 blocks and 100 logs in one answer; says so in one of the ways that nodes have."""

    WORDS = (
        (-32005, "query returned more than 100 results"),
        (-32000, "block range is too large"),
        (-32602, "exceed maximum block range: 1000"),
        (-32000, "response size should not be greater than 100"),
    )

    def __init__(self, rng):
        self.rng = rng
        self.asked = self.refused_blocks = self.refused_logs = self.refused_single = self.most_logs = 0

    def __call__(self, method, params, answer):
        if method != "eth_getLogs":
            return
        self.asked += 1
        query = params[0]
        span = 1 if "blockHash" in query else int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1
        logs = len(answer["result"])
        if span <= BLOCKS and logs <= LOGS:
            self.most_logs = max(self.most_logs, logs)
            return
        self.refused_blocks += span > BLOCKS
        self.refused_logs += logs > LOGS
        self.refused_single += span == 1
        code, message = self.rng.choice(self.WORDS)
        answer.pop("result")
        answer["error"] = {"code": code, "message": message}


@pytest.mark.scenario("O3")
def test_a_rebuild_through_a_limited_node_gives_the_same_table_hash(world):
    rng = random.Random(7)
    world.again(rng)
    for _ in range(
        3
    ):  # 3,000 blocks with stretches of nothing, dense stretches, and a block that is too much by itself
        world.anvil.rpc("anvil_mine", hex(950))
        world.writer.grow(rng, 15, most=3)
        nonce = world.writer.nonce()
        for n in range(4):
            pairs = [[rng.randbytes(size) for _ in range(40)] for size in (32, 20)]
            raw = world.writer.sign(
                "Consents", "recordMany", ["bytes32[]", "bytes20[]"], pairs, nonce + n, gas=4_000_000
            )
            world.anvil.rpc("eth_sendRawTransaction", raw)
        world.anvil.mine()
    world.anvil.mine(3)
    world.index()
    assert world.differences() == []
    before = truth.index_events(CHAIN, 0, 2**62)
    stingy = Stingy(rng)
    proxy = Proxy(world.anvil.url)
    proxy.twist = stingy
    try:
        with_chain(world.settings, rpc_url=proxy.url, window_blocks=5000)
        events_reset(CHAIN, held=world.held)
        assert truth.index_events(CHAIN, 0, 2**62).rows == []
        world.indexer = Indexer(CHAIN, world.held)
        world.index()
        after = truth.index_events(CHAIN, 0, 2**62)
        assert after.digest == before.digest and len(after.rows) > 480
        assert world.differences() == []
    finally:
        gateways_close()
        proxy.close()
    # It really was refused for either reason and for a single block, and learned: far fewer questions than blocks.
    assert stingy.refused_blocks and stingy.refused_logs and stingy.refused_single >= 3
    assert stingy.most_logs <= LOGS and stingy.asked < 300
