"""Each chain vouches for the other, and what was meant for both is on both (O16)."""

import hashlib
import secrets
from datetime import timedelta

import pytest
from django.utils import timezone

from chain import crosscheck, merkle, selectors
from chain.codec import function
from chain.gateway import gateway, keccak
from chain.models import Block, Finding, OutboxItem, Transaction
from chain.services import anchor_enqueue, call_enqueue
from chain.types import hex0x
from tests.chain_fixtures import Anvil

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.scenario("O16")]


@pytest.fixture
def regulator(hospital, deployer, drive):
    """The regulator's account as a member of both registries, as the portal's first start makes it."""
    for chain in ("SUP", "MED"):
        if not gateway(chain).call("Registry", "isActiveMember", deployer):
            args, ref = [deployer, 5, secrets.token_bytes(32)], f"admit:{chain}:regulator"
            call_enqueue(
                chain=chain, sender=deployer, contract="Registry", function="admitOrganisation", args=args, ref=ref
            )
    drive(projectors=False)
    return deployer


def codes(chain):
    return [alarm.code for alarm in crosscheck.alarms(chain)]


def rewrite(anvil, depth):
    """The last blocks of the chain are thrown away and others put in their place, longer than before."""
    anvil.rpc("anvil_rollback", depth)
    anvil.rpc("evm_setNextBlockTimestamp", int(anvil.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 1)
    for _ in range(depth + 3):
        anvil.rpc("anvil_setCoinbase", hex0x(secrets.token_bytes(20)))
        anvil.mine()


def test_heads_are_recorded_on_the_other_chain_and_anybody_can_recompute_them(regulator, drive, chains):
    recorded = crosscheck.heads_record(is_due=True)
    assert {(row.payload["of"], row.chain) for row in recorded} == {("SUP", "MED"), ("MED", "SUP")}
    drive(projectors=False)
    for row in recorded:
        of, on = row.payload["of"], row.chain
        status = next(item for item in crosscheck.heads_status() if item.of == of)
        # From the other chain's own words and a block of this one, with nothing of ours but the formula.
        receipt = chains[on].rpc("eth_getTransactionReceipt", status.tx_hash)
        root = receipt["logs"][0]["topics"][2]
        block = chains[of].rpc("eth_getBlockByNumber", hex(status.number), False)
        data = b"\0medportal/head/v1\0" + chains[of].chain_id.to_bytes(32) + status.number.to_bytes(8)
        assert root == hex0x(hashlib.sha256(data + bytes.fromhex(block["hash"][2:])).digest())
        assert gateway(on).call("AnchorLog", "anchorOf", bytes.fromhex(root[2:]))[4] == 3  # Kind.ChainHead
    assert crosscheck.heads_check() == 2
    assert crosscheck.batches_check() >= 2
    assert codes("SUP") == codes("MED") == []


def test_a_head_is_recorded_when_it_is_time_and_only_then(regulator, drive, settings):
    settings.CHAIN = {**settings.CHAIN, "heads_seconds": 600}
    assert len(crosscheck.heads_record()) == 2
    assert crosscheck.heads_record(is_due=True) == []  # the first ones are still on their way
    drive(projectors=False)
    assert crosscheck.heads_record() == []  # not yet
    OutboxItem.objects.filter(ref__startswith="head:").update(created_at=timezone.now() - timedelta(seconds=601))
    assert len(crosscheck.heads_record()) == 2
    drive(projectors=False)
    assert OutboxItem.objects.filter(ref__startswith="head:", state="final").count() == 4
    assert codes("SUP") == []
    old = timezone.now() - timedelta(seconds=3 * 600 + 601)
    Transaction.objects.filter(items__ref__startswith="head:SUP:").update(block_time=old)
    assert codes("SUP") == ["head_late"] and codes("MED") == []


def test_a_chain_that_never_got_a_head_is_late_too(regulator, settings):
    settings.CHAIN = {**settings.CHAIN, "heads_seconds": 600}
    assert codes("SUP") == []
    Block.objects.filter(number__gt=0).update(timestamp=timezone.now() - timedelta(days=1))
    assert codes("SUP") == codes("MED") == ["head_late"]


def test_nothing_is_sent_while_the_regulator_is_no_active_member(regulator, drive):
    """Otherwise the wish would wait in the queue for ever."""
    for chain in ("SUP", "MED"):
        call_enqueue(
            chain=chain,
            sender=regulator,
            contract="Registry",
            function="suspendOrganisation",
            args=[regulator],
            ref=f"suspend:{chain}",
        )
    drive(projectors=False)
    assert crosscheck.heads_record(is_due=True) == []
    assert not OutboxItem.objects.filter(ref__startswith="head:").exists()


@pytest.mark.parametrize(("of", "on"), [("SUP", "MED"), ("MED", "SUP")])
def test_a_rewritten_chain_is_named_by_the_other_one(regulator, drive, chains, of, on):
    crosscheck.heads_record(is_due=True)
    drive(projectors=False)
    head = crosscheck.heads_of(of, on).get()
    number = head.payload["number"]
    rewrite(chains[of], chains[of].head - number + 1)
    assert crosscheck.heads_check() == 2
    alarm = next(alarm for alarm in crosscheck.alarms(of) if alarm.code == "chain_rewritten")
    assert alarm.subject == head.ref and f"Block {number} was recorded on {on}chain" in alarm.message
    there = gateway(of).block_by_number(number)
    assert hex0x(there.hash) in alarm.message and head.payload["hash"] in alarm.message
    assert "chain_rewritten" not in codes(on)


def test_a_node_without_the_block_is_named_and_forgiven_when_the_right_one_is_back(
    regulator, drive, settings, tmp_path
):
    crosscheck.heads_record(is_due=True)
    drive(projectors=False)
    right = settings.CHAIN
    other = Anvil("SUP", 31337, tmp_path).start()  # same chain id, but its chain ended long before
    try:
        wrong = {**right["chains"]["SUP"], "rpc_url": other.url}
        settings.CHAIN = {**right, "chains": {**right["chains"], "SUP": wrong}}
        crosscheck.heads_check()
        (alarm,) = [alarm for alarm in crosscheck.alarms("SUP") if alarm.code == "chain_rewritten"]
        assert "has no block there" in alarm.message
    finally:
        other.stop()
    settings.CHAIN = right
    crosscheck.heads_check()
    assert codes("SUP") == []
    assert Finding.objects.get(code="chain_rewritten").cleared_at is not None  # what was seen stays on record


def test_a_silent_node_is_no_news_about_the_past(regulator, drive, chains, settings):
    crosscheck.heads_record(is_due=True)
    drive(projectors=False)
    down = {**settings.CHAIN["chains"]["SUP"], "rpc_url": "http://127.0.0.1:9"}
    settings.CHAIN = {**settings.CHAIN, "chains": {**settings.CHAIN["chains"], "SUP": down}}
    assert crosscheck.heads_check() == 1  # MEDchain's head was still compared
    assert not Finding.objects.exists()


def both(sender, leaf, number=0):
    for chain in ("SUP", "MED"):
        anchor_enqueue(chain=chain, sender=sender, leaf=leaf, ref=f"rec:{number}:{chain}")
    return crosscheck.Wanted({c: f"rec:{number}:{c}" for c in ("SUP", "MED")}, leaf, timezone.now())


def test_missing_on_one_chain_after_the_deadline_is_named(hospital, workers, chains, drive):
    wanted = both(hospital(), secrets.token_bytes(32))
    for _ in range(8):
        workers.send("SUP")
        chains["SUP"].mine()
    workers.index("SUP")
    assert codes("MED") == []  # the deadline has not passed
    OutboxItem.objects.filter(ref="rec:0:MED").update(created_at=timezone.now() - timedelta(minutes=11))
    alarms = crosscheck.alarms("MED")
    assert [a.code for a in alarms] == ["anchor_alone"] and "rec:0:MED" in alarms[0].message
    drive(projectors=False)
    assert codes("MED") == []
    assert crosscheck.both_check([wanted]) == 1 and codes("SUP") == codes("MED") == []


def test_never_queued_for_the_other_chain_is_named(hospital, drive):
    sender, leaf = hospital(), secrets.token_bytes(32)
    wanted = both(sender, leaf)
    OutboxItem.objects.filter(ref="rec:0:MED").delete()
    drive(projectors=False)
    crosscheck.both_check([wanted])
    assert codes("MED") == []  # may still come
    late = crosscheck.Wanted(wanted.refs, leaf, timezone.now() - timedelta(minutes=11))
    crosscheck.both_check([late])
    assert [(a.code, a.subject) for a in crosscheck.alarms("MED")] == [("anchor_alone", "rec:0:MED")]
    anchor_enqueue(chain="MED", sender=sender, leaf=leaf, ref="rec:0:MED")
    crosscheck.both_check([late])
    assert codes("MED") == []


def test_another_leaf_on_one_chain_is_named(hospital, drive):
    sender = hospital()
    wanted = [both(sender, secrets.token_bytes(32), number) for number in range(3)]
    drive(projectors=False)
    assert crosscheck.both_check(wanted) == 3 and crosscheck.batches_check() == 2
    assert codes("SUP") == codes("MED") == []
    OutboxItem.objects.filter(ref="rec:1:MED").update(leaf=secrets.token_bytes(32))
    crosscheck.both_check(wanted)
    crosscheck.batches_check()
    alarms = crosscheck.alarms("MED")
    assert {a.code for a in alarms} == {"anchor_different"} and codes("SUP") == []
    assert "rec:1:MED" in {a.subject for a in alarms}
    # The chain itself contradicts the changed row: its root was made of other leaves.
    assert any("no longer give the root" in a.message for a in alarms)


def test_a_root_that_the_chain_does_not_have_is_named(hospital, drive, chains):
    wanted = both(hospital(), secrets.token_bytes(32))
    drive(projectors=False)
    sent = Transaction.objects.get(chain="SUP", lane="anchor")
    anchor_log = hex0x(sent.to)
    slot_of = function("AnchorLog", "anchorOf").encode([bytes(sent.root)])
    assert int(chains["SUP"].rpc("eth_call", {"to": anchor_log, "data": hex0x(slot_of)}, "latest")[2:66], 16)
    # Somebody with power over the node's state makes it forget one anchor.
    for slot in range(4):
        place = keccak(bytes(sent.root) + slot.to_bytes(32))
        chains["SUP"].rpc("anvil_setStorageAt", anchor_log, hex0x(place), "0x" + "00" * 32)
    chains["SUP"].mine()
    crosscheck.both_check([wanted])
    crosscheck.batches_check()
    alarms = crosscheck.alarms("SUP")
    assert [a.code for a in alarms] == ["anchor_different"]
    assert "rec:0:SUP" in alarms[0].message and "does not have it" in alarms[0].message


def test_a_thousand_records_under_one_root_on_each_chain_each_with_its_own_proof(hospital, drive, chains):
    sender = hospital()
    leaves = [secrets.token_bytes(32) for _ in range(1000)]
    for chain in ("SUP", "MED"):
        for number, leaf in enumerate(leaves):
            anchor_enqueue(chain=chain, sender=sender, leaf=leaf, ref=f"rec:{number}:{chain}")
    drive(projectors=False)
    verify = function("AnchorLog", "verify")
    for chain in ("SUP", "MED"):
        sent = Transaction.objects.get(chain=chain, lane="anchor")
        assert sent.count == 1000
        rows = OutboxItem.objects.filter(transaction=sent).order_by("leaf_index")
        ordered = [bytes(row.leaf) for row in rows]
        assert set(ordered) == set(leaves) and merkle.root(ordered) == bytes(sent.root)
        proofs = [merkle.inclusion_proof(ordered, index) for index in range(1000)]
        calls = [
            {"to": hex0x(sent.to), "data": hex0x(verify.encode([bytes(sent.root), leaf, index, proofs[index]]))}
            for index, leaf in enumerate(ordered)
        ]
        body = [
            {"jsonrpc": "2.0", "id": index, "method": "eth_call", "params": [call, "latest"]}
            for index, call in enumerate(calls)
        ]
        answers = chains[chain].client.post(chains[chain].url, json=body).json()
        assert [int(answer["result"], 16) for answer in answers] == [1] * 1000
        for index in (0, 1, 499, 998, 999):
            # A proof holds hashes over others (or one salted neighbour), and fits no other record or place.
            proof = selectors.inclusion(rows[index].ref)
            assert list(proof.proof) == proofs[index] and len(proof.proof) <= 10
            others = set(ordered) - {ordered[index], ordered[index ^ 1]}
            assert not set(proof.proof) & others
            assert not merkle.verify(
                root=bytes(sent.root), leaf=ordered[index - 1], index=index, count=1000, proof=proofs[index]
            )
