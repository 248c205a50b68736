"""Defects put in on purpose: the rounds that are meant for each must fail, or they would not find a real one."""

import random

import pytest

from chain import fork, indexer
from chain.errors import ChainError
from chain.indexer import Indexer
from chain.models import ChainEvent
from chain.outbox import Outbox
from chain.sending import Sender
from tests.campaigns.harness import Run
from tests.campaigns.nodes import lies
from tests.campaigns.nodes.conftest import CHAIN, DEEP, with_chain
from tests.campaigns.nodes.test_hostile import index_round, proxy, send_round
from tests.campaigns.nodes.test_reorgs import Between, case, mid_batch_round, reorg_round

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["proxy"]
MOST = 40
WRONG = (AssertionError, ChainError)


def counted():
    return Run("planted", rounds=MOST, seed="planted")


def caught(play):
    """Plays rounds until one fails; how many it took."""
    run = counted()
    for index in range(MOST):
        try:
            play(run, index, run.rng(index))
        except WRONG:
            return index + 1
    raise pytest.fail.Exception(f"the defect was not found in {MOST} rounds")


def forks(world):
    return lambda run, index, rng: reorg_round(world, run, rng, *case(index))


def test_events_of_a_lost_block_stay_canonical(world, monkeypatch):
    real = indexer.ChainEvent

    class Kept:
        objects = type("Nothing", (), {"filter": staticmethod(lambda **_: real.objects.none())})

    monkeypatch.setattr(indexer, "ChainEvent", Kept)
    caught(forks(world))


def test_events_of_lost_blocks_are_deleted(world, monkeypatch):
    real = Indexer._rewind

    def rewind(self, state, look, ancestor):
        ChainEvent.objects.filter(chain=CHAIN, block_number__gt=ancestor).delete()
        return real(self, state, look, ancestor)

    monkeypatch.setattr(Indexer, "_rewind", rewind)
    caught(forks(world))


def test_what_returns_stays_lost(world, monkeypatch):
    """Rows of a block that came back are not made canonical again."""
    from chain import eventstore

    real = eventstore._write

    def write(table, columns, key, rows):
        there = set(ChainEvent.objects.filter(is_canonical=False).values_list("block_hash", flat=True))
        kept = [row for row in rows if not hasattr(row, "tx_hash") or row.block_hash not in there]
        real(table, columns, key, kept)

    monkeypatch.setattr(eventstore, "_write", write)
    anvil = world.anvil

    def there_and_back(run, index, rng):
        """The transactions of the lost blocks return in the very same ones."""
        world.again(rng)
        world.writer.grow(rng, 3)
        world.index()
        ChainEvent.objects.filter(block_number__gt=anvil.head - 2).update(is_canonical=False)
        indexer.Block.objects.filter(chain=CHAIN, number__gt=anvil.head - 2).update(is_canonical=False)
        below = indexer.Block.objects.get(chain=CHAIN, number=anvil.head - 2, is_canonical=True)
        indexer.ChainState.objects.filter(name=CHAIN).update(cursor_number=below.number, cursor_hash=below.hash)
        world.index()
        assert world.differences() == []

    monkeypatch.undo()
    there_and_back(counted(), 0, random.Random(1))
    monkeypatch.setattr(eventstore, "_write", write)
    caught(there_and_back)


@pytest.mark.parametrize("defect", ["links", "cursor"])
def test_two_versions_of_the_chain_are_mixed(world, monkeypatch, defect):
    with_chain(world.settings, finality=f"depth:{DEEP}", calls_per_batch=3)
    between = Between(monkeypatch)
    if defect == "links":
        # Headers need not hang together, and logs are asked for by number: the node's own word saves nobody.
        monkeypatch.setattr(fork, "is_linked", lambda parent, hashes: True)

        def logs_by_block(self, addresses, headers):
            found = [self.get_logs(addresses, header.number, header.number) for header in headers]
            for header, logs in zip(headers, found, strict=True):
                for log in logs:
                    log.blockHash = "0x" + header.hash.hex()
            return found

        monkeypatch.setattr(indexer.gateway(CHAIN).__class__, "logs_by_block", logs_by_block)
    else:
        # The cursor is moved before the events are there, in a transaction of its own.
        real = Indexer._save

        def save(self, state, look, blocks, events, number, block_hash):
            indexer.ChainState.objects.filter(name=CHAIN).update(cursor_number=number, cursor_hash=block_hash)
            state.cursor_number = number
            if events and len(events) % 2:
                raise indexer.RpcInconsistent("the process was killed here")
            real(self, state, look, blocks, events, number, block_hash)

        monkeypatch.setattr(Indexer, "_save", save)
    caught(lambda run, index, rng: mid_batch_round(world, between, run, rng, *case(index)))


LOOK_AWAY = {
    "a log's word about its block": lies.logs_of_another_block,
    "an empty block": lies.logs_kept_back,
}


@pytest.mark.parametrize("defect", LOOK_AWAY)
def test_a_node_is_believed(world, proxy, monkeypatch, defect):
    with_chain(world.settings, rpc_url=proxy.url, finality="depth:5", read_seconds=2)
    what = LOOK_AWAY[defect]
    if what is lies.logs_of_another_block:
        real = Indexer._rows

        def rows(self, logs, first, last, headers):
            said = {indexer._int(log.blockNumber): bytes.fromhex(log.blockHash[2:]) for log in logs}
            headers = {n: indexer.replace(h, hash=said.get(n, h.hash)) for n, h in headers.items()}
            for log in logs:
                log.blockHash = "0x" + said[indexer._int(log.blockNumber)].hex()
            return real(self, logs, first, last, headers)

        monkeypatch.setattr(Indexer, "_rows", rows)
    else:
        monkeypatch.setattr(Indexer, "_surely_empty", lambda self, header: None)
    caught(lambda run, index, rng: index_round(world, proxy, run, rng, what))


@pytest.mark.parametrize("defect", ["no receipt", "any receipt", "any count"])
def test_a_sender_believes_a_node(world, proxy, monkeypatch, defect):
    with_chain(world.settings, rpc_url=proxy.url, finality="depth:3", read_seconds=2)
    sender = Sender(CHAIN, world.lease("sender"))
    if defect == "no receipt":
        what = lies.no_receipt

        def elsewhere(self, rows, look):
            spent = self._spent(rows, look)
            return {row.id for row in rows if row.account_nonce < spent.get(row.sender, 0)}

        monkeypatch.setattr(Sender, "_elsewhere", elsewhere)
    elif defect == "any receipt":
        what = lies.a_receipt_out_of_nothing
        real = Sender._headers

        class Everything(tuple):
            def __contains__(self, item):
                return True

        monkeypatch.setattr(
            Sender,
            "_headers",
            lambda self, numbers: {
                n: indexer.replace(h, transactions=Everything()) for n, h in real(self, numbers).items()
            },
        )
    else:
        what = lies.a_higher_count
        monkeypatch.setattr(Outbox, "_used", lambda self, sender: self.node.transaction_count(sender))
        monkeypatch.setattr(Sender, "_gap_fill", lambda self, row: None)
    caught(lambda run, index, rng: send_round(world, sender, proxy, run, rng, what, what))
