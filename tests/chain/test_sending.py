"""Crashes, rivals, gaps, orphans and stuck fees on the way into a block: one wish, one effect."""

import json
import secrets
import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from eth_abi import encode as abi_encode

from chain import codec, selectors
from chain.artefacts import deployment, deployment_path
from chain.errors import LeaseLost, RpcInconsistent, RpcUnavailable
from chain.gateway import Gateway, gateway, keccak
from chain.leases import lease_hold, lease_release, lease_take
from chain.models import Account, Attempt, ItemState, Lease, OutboxItem, Transaction
from chain.outbox import Claimed
from chain.rpc import Rpc
from chain.sending import Sender, Sent
from chain.services import anchor_enqueue, call_enqueue, failed_retry, transfer_enqueue
from chain.signing import sign_transaction
from chain.types import Fees, Receipt
from tests.chain_fixtures import KEYS
from tests.fakes.geth import GWEI, FakeGeth

pytestmark = pytest.mark.django_db(transaction=True)


def anchor(sender, name="SUP"):
    ref = secrets.token_hex(8)
    anchor_enqueue(chain=name, sender=sender, leaf=secrets.token_bytes(32), ref=ref)
    return ref


def foreign_signed(chain, sender, nonce):
    """A transaction that somebody else made with the same key."""
    return sign_transaction(
        KEYS[sender],
        chain_id=chain.chain_id,
        account_nonce=nonce,
        to=b"\x55" * 20,
        value=1,
        data=b"",
        gas_limit=21_000,
        fees=Fees(100 * GWEI, 50 * GWEI, is_legacy=False),
    )


def foreign(chain, sender, nonce):
    return chain.rpc("eth_sendRawTransaction", "0x" + foreign_signed(chain, sender, nonce).raw.hex())


def test_a_crash_between_store_and_send_anchors_once(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    nonce = chains["SUP"].nonce(sender)
    ref = anchor(sender)
    workers.senders["SUP"].outbox.prepare()  # the process dies here: bytes stored, nothing sent
    stored = Transaction.objects.get(lane="anchor")
    assert stored.attempts.get().sent_at is None
    drive(projectors=False)
    assert selectors.item(ref).state == "final"
    assert Transaction.objects.get(lane="anchor").id == stored.id
    assert chains["SUP"].nonce(sender) == nonce + 1


def test_a_crash_between_send_and_note_is_already_known(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    ref = anchor(sender)
    workers.send("SUP")
    Attempt.objects.update(sent_at=None)  # sent, but the process died before it wrote that down
    result = workers.send("SUP")
    assert (result.sent, result.waiting) == (0, 1)
    drive(projectors=False)
    assert selectors.item(ref).state == "final"
    assert Transaction.objects.filter(lane="anchor").count() == 1


@pytest.mark.parametrize("stop_at", range(1, 14))
def test_a_crash_after_any_statement_leaves_no_gap_and_no_second_anchor(hospital, workers, chains, drive, stop_at):
    sender = hospital(chains=("SUP",))
    nonce = chains["SUP"].nonce(sender)
    refs = [anchor(sender), anchor(sender)]
    count = 0

    def crash(execute, sql, params, many, context):
        nonlocal count
        if sql.startswith(("INSERT", "UPDATE", "SAVEPOINT", "RELEASE")):
            count += 1
            if count == stop_at:
                raise RuntimeError("power cut")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(crash):
        for _ in range(3):
            try:
                workers.send("SUP")
            except RuntimeError:
                break
            chains["SUP"].mine()
    drive(projectors=False)
    assert {status.state for status in selectors.items(refs).values()} == {"final"}
    assert Transaction.objects.filter(lane="anchor", state="final").count() == chains["SUP"].nonce(sender) - nonce == 1


def test_an_accepted_send_whose_answer_is_lost_is_not_repeated(hospital, workers, chains, drive, monkeypatch):
    sender = hospital(chains=("SUP",))
    nonce = chains["SUP"].nonce(sender)
    ref = anchor(sender)
    real = Rpc.call

    def lossy(self, method, *params, type=str):  # noqa: A002
        answer = real(self, method, *params, type=type)
        if method == "eth_sendRawTransaction":
            raise RpcUnavailable("the line was cut")
        return answer

    monkeypatch.setattr(Rpc, "call", lossy)
    with pytest.raises(RpcUnavailable):
        workers.send("SUP")
    monkeypatch.undo()
    drive(projectors=False)
    assert selectors.item(ref).state == "final"
    assert chains["SUP"].nonce(sender) == nonce + 1


def test_a_sender_that_lost_its_lease_signs_nothing(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    anchor(sender)
    held = workers.held["sender", "SUP"]
    Lease.objects.filter(name=held.name).update(expires_at=timezone.now() - timedelta(seconds=1))
    taken = lease_take(name=held.name, holder="rival", seconds=30)
    assert taken.fence == held.fence + 1
    with pytest.raises(LeaseLost):
        workers.send("SUP")
    assert not Transaction.objects.filter(lane="anchor").exists()
    rival = Sender("SUP", taken)
    rival.step()
    assert Transaction.objects.filter(lane="anchor").count() == 1


def test_a_lease_has_one_holder_and_a_growing_fence(db):
    first = lease_take(name="job", holder="a", seconds=30)
    assert lease_take(name="job", holder="b", seconds=30) is None
    lease_hold(first, seconds=30)
    lease_release(first)
    second = lease_take(name="job", holder="b", seconds=0)
    third = lease_take(name="job", holder="c", seconds=30)  # expired at once
    assert [first.fence, second.fence, third.fence] == [1, 2, 3]
    for late in (first, second):
        with pytest.raises(LeaseLost):
            lease_hold(late, seconds=30)


def test_two_workers_on_the_same_rows_make_one_transaction(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    nonce = chains["SUP"].nonce(sender)
    refs = [anchor(sender) for _ in range(5)]
    outbox = workers.senders["SUP"].outbox
    rows = list(OutboxItem.objects.filter(ref__in=refs).order_by("created_at"))
    plans = [next(outbox._plans(sender, "anchor", rows)) for _ in range(2)]
    found, barrier = [], threading.Barrier(2)

    def work(plan):
        barrier.wait()
        try:
            found.append(outbox._commit(plan, 200_000))
        except Claimed as error:
            found.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(item, Claimed) for item in found) == [False, True]
    drive(projectors=False)
    assert {status.state for status in selectors.items(refs).values()} == {"final"}
    assert chains["SUP"].nonce(sender) == nonce + 1
    assert Account.objects.get(chain="SUP", address=sender).next_account_nonce == nonce + 1


def test_a_gap_left_by_somebody_else_is_filled(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    nonce = chains["SUP"].nonce(sender)
    foreign(chains["SUP"], sender, nonce + 2)
    refs = []
    for _ in range(2):
        refs.append(anchor(sender))
        drive(projectors=False)
    assert chains["SUP"].nonce(sender) == nonce + 3
    refs.append(anchor(sender))
    drive(projectors=False)
    assert {status.state for status in selectors.items(refs).values()} == {"final"}
    assert gateway("SUP").call("AnchorLog", "nextSeq", sender) == 3


@pytest.mark.parametrize("width", [1, 3])
def test_a_gap_that_a_reorganisation_tore_is_filled(hospital, workers, chains, drive, width):
    """A foreign transaction was counted, then left with its block: its nonce is free again, in front of ours."""
    sender = hospital(chains=("SUP",))
    nonce = chains["SUP"].nonce(sender)
    for step in range(width):
        foreign(chains["SUP"], sender, nonce + step)
    chains["SUP"].mine()
    ref = anchor(sender)
    workers.senders["SUP"].outbox.prepare()
    assert Transaction.objects.get(lane="anchor").account_nonce == nonce + width
    chains["SUP"].rpc("anvil_reorg", 1, [])
    drive(projectors=False)
    assert selectors.item(ref).state == "final"
    assert chains["SUP"].nonce(sender) == nonce + width + 1
    assert (
        list(Transaction.objects.filter(lane="transfer", sender=sender).values_list("state", "count"))
        == [("final", 0)] * width
    )


def test_a_count_that_is_said_once_only_makes_no_gap(hospital, workers, chains, drive, monkeypatch):
    sender = hospital(chains=("SUP",))
    nonce = chains["SUP"].nonce(sender)
    real = Gateway.transaction_count
    lies = [10**9]

    def counted(self, address, block="latest"):
        return lies.pop() if lies and block == "latest" else real(self, address, block)

    monkeypatch.setattr(Gateway, "transaction_count", counted)
    ref = anchor(sender)
    with pytest.raises(RpcInconsistent, match="of one account"):
        workers.send("SUP")
    assert not lies and not Transaction.objects.filter(lane="anchor").exists()
    drive(projectors=False)
    assert selectors.item(ref).state == "final" and chains["SUP"].nonce(sender) == nonce + 1


def test_a_node_that_finds_no_receipts_does_not_make_a_second_anchor(hospital, workers, chains, drive, monkeypatch):
    """Its list of transactions lags behind its blocks: the nonce is spent, finally, and no receipt says by whom."""
    sender = hospital(chains=("SUP",))
    ref = anchor(sender)
    workers.send("SUP")
    chains["SUP"].mine(8)
    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "receipts", lambda self, hashes: [None] * len(hashes))
        for _ in range(3):
            workers.send("SUP")
            workers.index("SUP")
    assert selectors.item(ref).state != "queued"
    drive(projectors=False)
    assert selectors.item(ref).state == "final"
    assert Transaction.objects.filter(lane="anchor").count() == 1
    assert gateway("SUP").call("AnchorLog", "nextSeq", sender) == 1


def test_a_receipt_of_a_block_that_the_transaction_is_not_in_proves_nothing(hospital, workers, chains, monkeypatch):
    sender = hospital(chains=("SUP",))
    ref = anchor(sender)
    workers.send("SUP")
    block = gateway("SUP").block_by_number(2)

    def receipts(self, hashes):
        return [
            Receipt(tx_hash, block.hash, block.number, is_success=True, gas_used=1, gas_price=1) for tx_hash in hashes
        ]

    monkeypatch.setattr(Gateway, "receipts", receipts)
    workers.send("SUP")
    assert selectors.item(ref).state == "broadcast"


def test_a_nonce_that_was_spent_elsewhere_queues_the_wish_again(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    ref = anchor(sender)
    workers.senders["SUP"].outbox.prepare()
    foreign(chains["SUP"], sender, chains["SUP"].nonce(sender))
    chains["SUP"].mine()
    drive(projectors=False)
    assert selectors.item(ref).state == "final"
    assert sorted(Transaction.objects.filter(lane="anchor").values_list("state", flat=True)) == ["dropped", "final"]
    assert gateway("SUP").call("AnchorLog", "nextSeq", sender) == 1


def test_a_call_that_reverts_in_its_block_fails_when_that_is_final(hospital, account, deployer, workers, chains, drive):
    """The estimate was good, then another transaction came first."""
    sender = hospital(chains=("MED",))
    person = account()
    call_enqueue(
        chain="MED", sender=sender, contract="Registry", function="registerPractitioner", args=[person, 1], ref="p"
    )
    call_enqueue(
        chain="MED", sender=deployer, contract="Registry", function="suspendOrganisation", args=[sender], ref="s"
    )
    anchor_ref = anchor(sender, "MED")
    workers.senders["MED"].outbox.prepare()
    rows = {row.lane + bytes(row.sender).hex(): row for row in Transaction.objects.filter(state="broadcast")}
    first = rows["call" + deployer.hex()]
    chains["MED"].rpc("eth_sendRawTransaction", "0x" + bytes(first.attempts.get().raw).hex())
    chains["MED"].mine()
    drive(projectors=False, waiting_ok=True, most=10)
    status = selectors.item("p")
    assert status.state == "failed" and "RegistryNotActiveOrganisation" in status.error
    assert selectors.item(anchor_ref).state == ItemState.QUEUED  # a leaf is not at fault: it waits
    call_enqueue(
        chain="MED", sender=deployer, contract="Registry", function="reinstateOrganisation", args=[sender], ref="r"
    )
    drive(projectors=False)
    assert selectors.item(anchor_ref).state == "final"
    assert failed_retry(ref="p") and not failed_retry(ref="p")
    drive(projectors=False)
    assert selectors.item("p").state == "final"


def test_an_account_without_money_keeps_its_backlog(hospital, workers, chains, drive):
    sender = hospital(chains=("SUP",))
    chains["SUP"].fund(sender, 1)
    ref = anchor(sender)
    for _ in range(3):
        workers.send("SUP")
        chains["SUP"].mine()
    status = selectors.item(ref)
    assert status.state in ("queued", "broadcast") and "nsufficient" in status.error
    assert "low_balance" in [alarm.code for alarm in selectors.alarms("SUP")]
    chains["SUP"].fund(sender)
    drive(projectors=False)
    assert selectors.item(ref).state == "final"


def test_a_transfer_pays_another_account(account, drive, chains, workers):
    giver, taker = account(), b"\x66" * 20
    transfer_enqueue(chain="SUP", sender=giver, to=taker, value=5 * 10**17, ref="gas")
    drive(projectors=False)
    assert selectors.item("gas").state == "final"
    assert gateway("SUP").balance(taker) == 5 * 10**17


# -- a node that is not as kind as anvil --------------------------------------------------------------------------


@pytest.fixture
def geth(account, settings, tmp_path):
    """A fake node as SUP; the deployment on record names it."""
    fake = FakeGeth(chain_id=31337)
    source = json.loads(deployment_path(31337).read_text())
    source["genesis_hash"] = fake.blocks[0]["hash"]
    release = codec.function("Registry", "releaseAt")
    for name, item in source["contracts"].items():
        code_hash = keccak(bytes.fromhex(fake.code[2:]))
        item["code_hash"] = "0x" + code_hash.hex()
        asked = release.encode([name.encode().ljust(32, b"\0"), item["version"]])
        fake.views["0x" + asked.hex()] = "0x" + abi_encode(["address", "bytes32"], [item["address"], code_hash]).hex()
    (tmp_path / "31337.json").write_text(json.dumps(source))
    chains = {**settings.CHAIN["chains"], "SUP": {**settings.CHAIN["chains"]["SUP"], "rpc_url": fake.url}}
    settings.CHAIN = {**settings.CHAIN, "chains": chains, "deployments_dir": tmp_path}
    assert deployment("SUP").genesis_hash.hex() == fake.blocks[0]["hash"][2:]
    yield fake
    gateway("SUP").rpc.close()
    fake.close()


def with_bump(settings, seconds, **changes):
    chains = {**settings.CHAIN["chains"]}
    chains["SUP"] = {**chains["SUP"], "bump_seconds": seconds, **changes}
    settings.CHAIN = {**settings.CHAIN, "chains": chains}


@pytest.fixture
def lease(db):
    return lease_take(name="sender:SUP", holder="test", seconds=600)


def test_a_stuck_transaction_is_raised_at_the_same_nonce(geth, account, lease, settings):
    with_bump(settings, 0)
    sender = account()
    transfer_enqueue(chain="SUP", sender=sender, to=b"\x01" * 20, value=1, ref="t")
    Sender("SUP", lease).step()
    first = Attempt.objects.get()
    geth.base_fee = int(first.max_fee) * 3
    geth.mine()
    for _ in range(4):
        Sender("SUP", lease).step()
        geth.mine()
    attempts = list(Attempt.objects.order_by("pk"))
    assert len(attempts) > 1
    assert all(new.max_fee * 8 >= old.max_fee * 9 for old, new in zip(attempts, attempts[1:], strict=False))
    assert all(new.priority_fee * 8 >= old.priority_fee * 9 for old, new in zip(attempts, attempts[1:], strict=False))
    for _ in range(4):
        geth.mine()
        Sender("SUP", lease).step()
    row = Transaction.objects.get()
    assert row.state == "final" and row.account_nonce == 0
    assert geth.nonce_of("0x" + sender.hex()) == 1
    assert selectors.item("t").tx_hash == "0x" + bytes(row.mined_attempt.tx_hash).hex()


def test_a_fee_stops_at_its_cap(geth, account, lease, settings):
    with_bump(settings, 0, fee_max_wei=4 * GWEI)
    transfer_enqueue(chain="SUP", sender=account(), to=b"\x01" * 20, value=1, ref="t")
    Sender("SUP", lease).step()
    geth.base_fee = 100 * GWEI
    for _ in range(8):
        Sender("SUP", lease).step()
        geth.mine()
    assert max(attempt.max_fee for attempt in Attempt.objects.all()) <= 4 * GWEI
    assert selectors.item("t").state == "broadcast"


def test_an_old_attempt_may_be_the_mined_one(geth, account, lease, settings):
    with_bump(settings, 0)
    transfer_enqueue(chain="SUP", sender=account(), to=b"\x01" * 20, value=1, ref="t")
    Sender("SUP", lease).step()
    waiting = dict(geth.pool)
    Sender("SUP", lease).step()
    assert Attempt.objects.count() == 2
    geth.pool = waiting  # the replacement never reached the miner
    geth.mine()
    with_bump(settings, 3600)
    Sender("SUP", lease).step()
    row = Transaction.objects.get()
    assert row.state == "mined"
    assert row.mined_attempt == Attempt.objects.order_by("pk").first()


def test_a_pool_that_forgot_gets_the_same_bytes_again(geth, account, lease, settings):
    transfer_enqueue(chain="SUP", sender=account(), to=b"\x01" * 20, value=1, ref="t")
    Sender("SUP", lease).step()
    geth.pool.clear()
    Sender("SUP", lease).step()
    assert len(geth.sends) == 2 and len(set(geth.sends)) == 1
    geth.mine()
    for _ in range(4):
        geth.mine()
    Sender("SUP", lease).step()
    assert selectors.item("t").state == "final"


def test_a_lost_answer_does_not_make_a_second_transaction(geth, account, lease, settings):
    transfer_enqueue(chain="SUP", sender=account(), to=b"\x01" * 20, value=1, ref="t")
    geth.lose_answers = True
    with pytest.raises(RpcUnavailable):
        Sender("SUP", lease).step()
    geth.lose_answers = False
    result = Sender("SUP", lease).step()
    assert isinstance(result, Sent)
    assert len(geth.pool) == 1
    assert Transaction.objects.count() == Attempt.objects.count() == 1


def test_an_unknown_signer_is_said_and_blocks_nobody_else(account, drive, workers, chains):
    good, bad = account(), secrets.token_bytes(20)
    chains["SUP"].fund(bad)
    transfer_enqueue(chain="SUP", sender=bad, to=b"\x01" * 20, value=1, ref="bad")
    transfer_enqueue(chain="SUP", sender=good, to=b"\x01" * 20, value=1, ref="good")
    drive(projectors=False, waiting_ok=True, most=6)
    assert selectors.item("good").state == "final"
    assert selectors.item("bad").state == "queued" and "no signing key" in selectors.item("bad").error
