"""Reorganisations of a real chain, rewinds, contradictions, and an index that can be thrown away."""

import contextlib
import secrets
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from chain import projection, selectors
from chain.artefacts import deployment
from chain.errors import ChainHalted, ChainMismatch, LeaseLost, RpcInconsistent
from chain.gateway import gateway
from chain.indexer import Indexer
from chain.leases import Held
from chain.models import Block, ChainEvent, ChainState, Lease
from chain.services import anchor_enqueue
from tests.chain_fixtures import Anvil

pytestmark = pytest.mark.django_db(transaction=True)


def stored(chain, *, canonical=True):
    rows = ChainEvent.objects.filter(chain=chain, is_canonical=canonical).order_by("block_number", "log_index")
    return [
        (r.block_number, r.log_index, r.block_hash, r.block_time, r.tx_hash, r.address, r.contract, r.name, r.args)
        for r in rows
    ]


def assert_index_is_the_chain(chain):
    """What the index calls canonical is what eth_getLogs gives now, in order, and blocks hang together."""
    place = deployment(chain)
    state = ChainState.objects.get(name=chain)
    logs = gateway(chain).get_logs(list(place.names), place.start_block, state.cursor_number)
    theirs = sorted((int(log.blockNumber, 16), int(log.logIndex, 16), log.blockHash) for log in logs)
    ours = [(row[0], row[1], "0x" + row[2].hex()) for row in stored(chain)]
    assert ours == theirs
    tail = list(Block.objects.filter(chain=chain, is_canonical=True, number__gte=state.finalized).order_by("number"))
    assert all(b.parent_hash == a.hash for a, b in zip(tail, tail[1:], strict=False))
    assert tail[-1].hash == state.cursor_hash


def anchor(sender, name="SUP"):
    ref = secrets.token_hex(8)
    anchor_enqueue(chain=name, sender=sender, leaf=secrets.token_bytes(32), ref=ref)
    return ref


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_reorganisation_is_followed_and_its_transaction_anchored_once(hospital, workers, chains, drive, depth):
    sender = hospital(chains=("SUP",))
    refs = []
    for _ in range(depth):
        refs.append(anchor(sender))
        workers.send("SUP")
        chains["SUP"].mine()
        workers.send("SUP")
    workers.index("SUP")
    assert {status.state for status in selectors.items(refs).values()} == {"mined"}
    before = len(stored("SUP"))
    chains["SUP"].rpc("anvil_reorg", depth, [])
    workers.index("SUP")
    assert len(stored("SUP")) == before - depth
    assert len(stored("SUP", canonical=False)) == depth
    assert selectors.sync_status("SUP").last_fork_depth == depth
    assert_index_is_the_chain("SUP")
    drive(projectors=False)
    assert {status.state for status in selectors.items(refs).values()} == {"final"}
    assert gateway("SUP").call("AnchorLog", "nextSeq", sender) == depth
    assert_index_is_the_chain("SUP")
    assert selectors.inclusion(refs[0]).block_number > 0


def test_a_fork_and_back_makes_the_old_rows_canonical_again(hospital, workers, chains):
    sender = hospital(chains=("SUP",))
    anvil = chains["SUP"]
    anchor(sender)
    workers.send("SUP")
    snapshot = anvil.snapshot()
    anvil.mine()
    workers.index("SUP")
    first = stored("SUP")
    assert anvil.rpc("evm_revert", snapshot)  # a shorter chain first, then the longer one once more
    workers.index("SUP")
    assert len(stored("SUP")) == len(first) - 1
    ChainEvent.objects.filter(chain="SUP", is_canonical=False).get()
    lost = ChainEvent.objects.filter(chain="SUP", is_canonical=False).count()
    workers.send("SUP")
    anvil.mine()
    workers.index("SUP")
    assert lost == 1
    assert_index_is_the_chain("SUP")


def test_beyond_finality_the_index_halts_and_nothing_more_is_signed(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    ref = anchor(sender)
    drive(projectors=False)
    before = stored("SUP")
    final = ChainState.objects.get(name="SUP").finalized
    chains["SUP"].rpc("anvil_reorg", 6, [])
    chains["SUP"].mine(2)
    assert workers.indexers["SUP"].step().kind == "halt"
    assert stored("SUP") == before
    status = selectors.sync_status("SUP")
    assert str(final) in status.halted_reason and status.is_behind
    anchor(sender)
    for worker in (workers.indexers["SUP"], workers.senders["SUP"]):
        with pytest.raises(ChainHalted):
            worker.step()
    assert [alarm.code for alarm in selectors.alarms("SUP")][0] == "halted"
    assert selectors.item(ref).state == "final"
    assert projection.final_events(projector="x", chain="SUP") == []


def test_a_node_behind_the_final_block_is_waited_for(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    anchor(sender)
    chains["SUP"].mine(10)  # anvil cannot go back behind a snapshot
    workers.index("SUP")
    before = stored("SUP")
    chains["SUP"].rpc("anvil_rollback", 8)
    Block.objects.filter(number__lt=ChainState.objects.get(name="SUP").finalized).delete()
    for worker in (workers.indexers["SUP"], workers.senders["SUP"]):
        with pytest.raises(RpcInconsistent):
            worker.step()
    assert stored("SUP") == before
    assert selectors.sync_status("SUP").halted_reason == ""


def test_a_rewound_chain_gets_everything_again(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    refs = [anchor(sender)]
    workers.send("SUP")
    chains["SUP"].mine()
    workers.send("SUP")
    refs.append(anchor(sender))
    workers.send("SUP")
    chains["SUP"].mine()
    workers.send("SUP")
    workers.index("SUP")
    chains["SUP"].rpc("anvil_rollback", 2)
    chains["SUP"].rpc("anvil_dropAllTransactions")
    drive(projectors=False)
    assert {status.state for status in selectors.items(refs).values()} == {"final"}
    assert gateway("SUP").call("AnchorLog", "nextSeq", sender) == 2
    assert_index_is_the_chain("SUP")


def test_another_chain_id_is_refused(workers, chains, hospital):
    sender = hospital()
    anchor(sender)
    chains["SUP"].rpc("anvil_setChainId", 4242)
    try:
        for worker in (workers.indexers["SUP"], workers.senders["SUP"]):
            with pytest.raises(ChainMismatch, match="4242"):
                worker.step()
    finally:
        chains["SUP"].rpc("anvil_setChainId", 31337)
    assert chains["SUP"].rpc("eth_getBlockByNumber", "pending", False)["transactions"] == []


def test_another_genesis_is_refused(workers, chains, hospital):
    anchor(hospital(chains=("SUP",)))
    ChainState.objects.filter(name="SUP").update(genesis_hash=b"\x07" * 32)
    for worker in (workers.indexers["SUP"], workers.senders["SUP"]):
        with pytest.raises(ChainMismatch, match="reset or replaced"):
            worker.step()


def test_a_rebuilt_index_is_identical(hospital, workers, chains, drive, tmp_path):
    sender = hospital()
    for _ in range(3):
        anchor(sender)
        drive(projectors=False)
    before = {name: stored(name) for name in chains}
    assert all(len(rows) > 5 for rows in before.values())
    with pytest.raises(CommandError, match="an indexer is at work"):
        call_command("chain_reindex", verbosity=0)
    Lease.objects.all().delete()
    call_command("chain_reindex", verbosity=0)
    assert {name: stored(name) for name in chains} == before
    # And from nothing at all.
    for model in (ChainEvent, Block, ChainState, Lease):
        model.objects.all().delete()
    call_command("chain_index", once=True)
    assert {name: stored(name) for name in chains} == before


def test_projections_are_replayable_and_see_final_events_only(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    anchor(sender)
    workers.send("SUP")
    chains["SUP"].mine()
    workers.index("SUP")
    seen = []
    while projection.run("one", "SUP", lambda event: seen.append((event.block_number, event.name)), limit=3):
        pass
    assert "Anchored" not in [name for _, name in seen]
    drive(projectors=False)
    projection.run("one", "SUP", lambda event: seen.append((event.block_number, event.name)))
    assert seen[-1][1] == "Anchored" and seen == sorted(seen, key=lambda item: item[0])
    again = []
    projection.projector_reset(projector="one", chain="SUP")
    projection.run("one", "SUP", lambda event: again.append((event.block_number, event.name)))
    assert again == seen


def test_a_handler_that_fails_leaves_the_cursor(hospital):
    hospital(chains=("SUP",))

    def fail(event):
        raise RuntimeError("later")

    with pytest.raises(RuntimeError):
        projection.run("two", "SUP", fail)
    cursor = projection.cursor_of("two", "SUP")
    assert (cursor.block_number, cursor.log_index) == (-1, -1)


def test_an_indexer_with_an_old_fence_writes_nothing(hospital, workers, chains):
    hospital(chains=("SUP",))
    old = workers.held["indexer", "SUP"]
    Lease.objects.filter(name=old.name).update(holder="other", fence=old.fence + 1)
    chains["SUP"].mine()
    cursor = ChainState.objects.get(name="SUP").cursor_number
    with pytest.raises(LeaseLost):
        workers.indexers["SUP"].step()
    assert ChainState.objects.get(name="SUP").cursor_number == cursor
    newer = Indexer("SUP", Held(old.name, "other", old.fence + 1))
    while not newer.step().is_idle:
        pass
    assert ChainState.objects.get(name="SUP").cursor_number == cursor + 1


@pytest.mark.parametrize("stop_at", range(1, 12))
def test_a_crash_after_any_statement_leaves_a_whole_state(hospital, workers, chains, stop_at):
    sender = hospital(chains=("SUP",))
    anchor(sender)
    workers.send("SUP")
    chains["SUP"].mine(2)
    count = 0

    def crash(execute, sql, params, many, context):
        nonlocal count
        if sql.startswith(("INSERT", "UPDATE", "SAVEPOINT", "RELEASE", "BEGIN", "COPY")):
            count += 1
            if count == stop_at:
                raise RuntimeError("power cut")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(crash), contextlib.suppress(RuntimeError):
        workers.index("SUP")
    workers.index("SUP")
    assert_index_is_the_chain("SUP")


@pytest.mark.slow
def test_a_killed_anvil_comes_back_as_the_same_chain(chains, settings, tmp_path):
    """Each start of anvil from a state file adds a block 0 and shows any of them; the chain is the same all along."""
    flags = ("--state", str(tmp_path / "state.json"), "--state-interval", "1")
    seen, shown = set(), set()
    anvil = Anvil("SUP", 31337, tmp_path, *flags)
    sup = {**settings.CHAIN["chains"]["SUP"], "rpc_url": anvil.url}
    settings.CHAIN = {**settings.CHAIN, "chains": {"SUP": sup}}
    try:
        for _ in range(5):
            anvil.start()
            anvil.mine(2)
            seen.add(gateway("SUP").look().genesis_hash)
            shown.add(anvil.rpc("eth_getBlockByNumber", "0x0", False)["hash"])
            time.sleep(1.5)
            anvil.process.kill()
            anvil.process.wait()
    finally:
        gateway("SUP").rpc.close()
        anvil.stop()
    assert len(seen) == 1 <= len(shown)
