"""From a leaf in the outbox to a proof that the contract itself accepts."""

import secrets

import pytest

from chain import accesslog, merkle, selectors
from chain.gateway import gateway
from chain.models import ItemState, OutboxItem, Transaction
from chain.services import access_enqueue_many, anchor_enqueue, call_enqueue, consent_record_enqueue

pytestmark = pytest.mark.django_db(transaction=True)


def leaves(count):
    return [secrets.token_bytes(32) for _ in range(count)]


@pytest.mark.scenario("O16")
def test_a_leaf_becomes_final_and_its_proof_holds_on_chain(hospital, drive):
    sender = hospital()
    wanted = leaves(13)
    for number, leaf in enumerate(wanted):
        for chain in ("SUP", "MED"):
            anchor_enqueue(chain=chain, sender=sender, leaf=leaf, ref=f"r:{chain}:{number}")
    drive(projectors=False)
    for chain in ("SUP", "MED"):
        assert Transaction.objects.filter(chain=chain, lane="anchor").count() == 1
        for number, leaf in enumerate(wanted):
            status = selectors.item(f"r:{chain}:{number}")
            assert status.state == "final" and status.confirmations >= status.confirmations_needed == 3
            proof = selectors.inclusion(f"r:{chain}:{number}")
            assert proof.leaf == leaf and proof.count == 13
            assert merkle.verify(root=proof.root, leaf=leaf, index=proof.index, count=proof.count, proof=proof.proof)
            node = gateway(chain)
            assert node.call("AnchorLog", "verify", proof.root, leaf, proof.index, proof.proof)
            assert not node.call("AnchorLog", "verify", proof.root, secrets.token_bytes(32), proof.index, proof.proof)
            assert node.call("AnchorLog", "anchorOf", proof.root)[0] == proof.block_number


@pytest.mark.scenario("O16")
def test_a_thousand_leaves_share_one_root(hospital, drive, chains):
    sender = hospital(chains=("SUP",))
    for number, leaf in enumerate(leaves(1000)):
        anchor_enqueue(chain="SUP", sender=sender, leaf=leaf, ref=f"r:{number}")
    drive(projectors=False)
    assert Transaction.objects.get(chain="SUP", lane="anchor").count == 1000
    proof = selectors.inclusion("r:777")
    assert len(proof.proof) == 10
    assert gateway("SUP").call("AnchorLog", "verify", proof.root, proof.leaf, proof.index, proof.proof)


def test_enqueue_is_idempotent_by_ref(account):
    from chain.errors import RefConflict

    sender, leaf = account(), secrets.token_bytes(32)
    first = anchor_enqueue(chain="SUP", sender=sender, leaf=leaf, ref="once")
    assert anchor_enqueue(chain="SUP", sender=sender, leaf=leaf, ref="once").id == first.id
    with pytest.raises(RefConflict):
        anchor_enqueue(chain="SUP", sender=sender, leaf=secrets.token_bytes(32), ref="once")
    assert OutboxItem.objects.count() == 1


def test_access_leaves_keep_their_order_and_head(hospital, drive):
    sender = hospital()
    wanted = leaves(300)
    access_enqueue_many(chain="MED", sender=sender, leaves=[(leaf, f"a:{n}") for n, leaf in enumerate(wanted)])
    drive(projectors=False)
    assert selectors.access_count(chain="MED", organisation=sender) == 300
    found = accesslog.leaves_indexed(chain="MED", organisation=sender, to_block=accesslog.indexed_to("MED"))
    assert [leaf for _, leaf in found] == wanted
    head = b"\0" * 24
    for leaf in wanted:
        head = __import__("hashlib").sha256(head + leaf).digest()[:24]
    assert gateway("MED").call("AccessLog", "head", sender) == (head, 300)


def test_one_bad_consent_does_not_hold_the_others(hospital, drive):
    sender = hospital()
    digests = leaves(9)
    consent_record_enqueue(chain="MED", sender=sender, digest=digests[4], lock=b"\1" * 20, ref="first")
    drive(projectors=False)
    for number, digest in enumerate(digests):
        consent_record_enqueue(chain="MED", sender=sender, digest=digest, lock=b"\2" * 20, ref=f"c:{number}")
    drive(projectors=False)
    states = {ref: status.state for ref, status in selectors.items([f"c:{n}" for n in range(9)]).items()}
    assert states.pop("c:4") == "failed"
    assert set(states.values()) == {"final"}
    assert "ConsentsAlreadyRecorded" in selectors.item("c:4").error


def test_a_refused_call_fails_by_name_and_blocks_nothing(hospital, account, drive, chains):
    sender, stranger = hospital(), account()
    nonce = chains["MED"].nonce(sender)
    for number, function in enumerate(("registerPractitioner", "removePractitioner")):
        args = [stranger, 1] if number == 0 else [b"\x09" * 20]
        call_enqueue(chain="MED", sender=sender, contract="Registry", function=function, args=args, ref=f"x:{number}")
    call_enqueue(
        chain="MED", sender=sender, contract="Registry", function="registerPractitioner", args=[account(), 2], ref="x:2"
    )
    drive(projectors=False)
    assert [selectors.item(f"x:{n}").state for n in range(3)] == ["final", "failed", "final"]
    assert "RegistryNotPractitionerOf" in selectors.item("x:1").error
    assert chains["MED"].nonce(sender) == nonce + 2


def test_anchors_of_a_suspended_hospital_wait_and_go_on_later(hospital, deployer, drive):
    sender = hospital(chains=("MED",))

    def regulator(function):
        ref = f"{function}"
        call_enqueue(chain="MED", sender=deployer, contract="Registry", function=function, args=[sender], ref=ref)
        drive(projectors=False, waiting_ok=True)

    regulator("suspendOrganisation")
    anchor_enqueue(chain="MED", sender=sender, leaf=secrets.token_bytes(32), ref="waits")
    drive(projectors=False, waiting_ok=True, most=6)
    status = selectors.item("waits")
    assert status.state == ItemState.QUEUED and "AnchorLogNotActiveOrganisation" in status.error
    regulator("reinstateOrganisation")
    drive(projectors=False)
    assert selectors.item("waits").state == "final"
