"""What goes wrong between signing and finality: each wish is done once, whatever happens to chain, account and fees."""

import contextlib
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from chain import selectors
from chain.errors import ChainError, ChainMismatch
from chain.gateway import gateways_close
from chain.models import Attempt, OutboxItem, Transaction
from chain.sending import Sender
from chain.services import anchor_enqueue, call_enqueue, transfer_enqueue
from tests.campaigns.nodes import truth
from tests.campaigns.nodes.world import places_of
from tests.chain.test_sending import foreign, foreign_signed, geth, lease, with_bump
from tests.fakes.geth import GWEI
from tests.fakes.proxy import Proxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.campaign]
__all__ = ["geth", "lease"]
UNSETTLED = ["queued", "broadcast", "mined"]


class Office:
    """An organisation on SUPchain, its wishes, and what else its account did."""

    def __init__(self, sender, anvil, workers, settings):
        self.sender, self.anvil, self.workers, self.settings = sender, anvil, workers, settings
        self.places = places_of(anvil.chain_id, settings.CHAIN["deployments_dir"])
        self.count = 0

    def begin(self, rng):
        self.rng, self.nonce, self.first = rng, self.anvil.nonce(self.sender), self.anvil.head + 1
        self.leaves = {}
        self.wish()

    def wish(self):
        for _ in range(self.rng.randint(1, 3)):
            self.count += 1
            ref, leaf = f"wish:{self.count}", self.rng.randbytes(32)
            self.leaves[ref] = leaf
            anchor_enqueue(chain="SUP", sender=self.sender, leaf=leaf, ref=ref)

    def send(self, times=1):
        for _ in range(times):
            with contextlib.suppress(ChainError):
                self.workers.send("SUP")

    def turn(self):
        self.send()
        self.anvil.mine()
        self.send()
        with contextlib.suppress(ChainError):
            self.workers.index("SUP")

    def registry(self, deployer, function):
        """The regulator's step about this organisation, until it is final."""
        self.count += 1
        ref = f"registry:{self.count}"
        call_enqueue(chain="SUP", sender=deployer, contract="Registry", function=function, args=[self.sender], ref=ref)
        for _ in range(12):
            self.turn()
            if selectors.item(ref).state == "final":
                return
        raise AssertionError(f"{function} did not become final")

    def finish(self, most=60):
        for _ in range(most):
            self.turn()
            if not OutboxItem.objects.filter(state__in=UNSETTLED).exists():
                break
        left = OutboxItem.objects.exclude(state="final").values_list("ref", "state", "error")
        assert list(left) == []

    def assert_done_once(self):
        """From the chain: every leaf in one anchor; every nonce is an anchor's, a stranger's or a gap's."""
        rows = truth.chain_events(self.anvil.url, self.places, self.first, self.anvil.head).rows
        anchors = [json.loads(row)[8] for row in rows if json.loads(row)[7] == "Anchored"]
        assert sum(item["count"] for item in anchors) == len(self.leaves)
        assert truth.differences("SUP", self.anvil.url, self.places, first=self.first) == []
        ours = Transaction.objects.filter(chain="SUP", sender=self.sender, account_nonce__gte=self.nonce)
        spent = self.anvil.nonce(self.sender) - self.nonce
        strangers = spent - ours.filter(state="final").count() - ours.filter(state="failed").count()
        assert 0 <= strangers <= self.strangers
        assert ours.filter(state="final", lane="anchor").count() == len(anchors)


@pytest.fixture
def office(hospital, chains, workers, settings):
    found = Office(hospital(chains=("SUP",)), chains["SUP"], workers, settings)
    found.med, found.chains = chains["MED"], chains
    return found


# Each fault: fn(office, deployer), returns when it is over; everything must go on from there by itself.


def another_chain_id(office, deployer):
    """F13: nothing is signed, nothing indexed."""
    signed = Attempt.objects.count()
    office.anvil.rpc("anvil_setChainId", 4242)
    try:
        for worker in (office.workers.senders["SUP"], office.workers.indexers["SUP"]):
            with pytest.raises(ChainMismatch):
                worker.step()
    finally:
        office.anvil.rpc("anvil_setChainId", 31337)
    assert Attempt.objects.count() == signed


def another_chain(office, deployer):
    """F14: the chain was reset; a different one answers under the same number."""
    proxy = Proxy(office.med.url)
    proxy.twist = lambda method, params, answer: answer.update(result="0x7a69") if method == "eth_chainId" else None
    signed, before = Attempt.objects.count(), office.settings.CHAIN
    sup = {**before["chains"]["SUP"], "rpc_url": proxy.url}
    office.settings.CHAIN = {**before, "chains": {**before["chains"], "SUP": sup}}
    try:
        with pytest.raises(ChainMismatch):
            Sender("SUP", office.workers.held["sender", "SUP"]).step()
    finally:
        office.settings.CHAIN = before
        proxy.close()
    assert Attempt.objects.count() == signed


def a_gap(office, deployer):
    """F15: strangers' transactions are counted, then leave with their block."""
    width = office.rng.randint(1, 3)
    nonce = office.anvil.nonce(office.sender)
    for step in range(width):
        foreign(office.anvil, office.sender, nonce + step)
    office.anvil.mine()
    office.wish()
    office.send(office.rng.randint(1, 2))
    office.anvil.rpc("anvil_reorg", 1, [])


def a_stranger(office, deployer):
    """Another transaction of the same key takes the nonce of one that is stored."""
    nonce = office.anvil.nonce(office.sender)
    office.workers.senders["SUP"].outbox.prepare()
    with contextlib.suppress(RuntimeError):
        foreign(office.anvil, office.sender, nonce)
        office.anvil.mine()
        office.strangers = 1


def no_money(office, deployer):
    """F17: the backlog is kept and said."""
    office.anvil.fund(office.sender, 1)
    for _ in range(3):
        office.turn()
    kept = selectors.items(list(office.leaves)).values()
    assert any("nsufficient" in item.error for item in kept if item.state in ("queued", "broadcast"))
    office.anvil.fund(office.sender)


def a_suspension(office, deployer):
    """F17: the contract refuses; the leaves wait for better days."""
    OutboxItem.objects.filter(state="queued").update(retry_at=timezone.now() + timedelta(hours=1))
    office.registry(deployer, "suspendOrganisation")
    OutboxItem.objects.filter(state="queued").update(retry_at=None)
    for _ in range(3):
        office.turn()
    kept = selectors.items(list(office.leaves)).values()
    assert all(item.state == "queued" for item in kept)
    office.registry(deployer, "reinstateOrganisation")


def _in_blocks(office):
    """Some of the wishes get into one to three blocks, none of them final."""
    before = office.anvil.head
    for _ in range(office.rng.randint(1, 2)):
        office.turn()
        office.wish()
    return office.anvil.head - before


def dropped(office, deployer):
    """F11."""
    depth = _in_blocks(office)
    office.anvil.rpc("anvil_reorg", depth, [])


def moved(office, deployer):
    depth = _in_blocks(office)
    rows = Attempt.objects.filter(transaction__state="mined", transaction__sender=office.sender)
    raws = ["0x" + bytes(row.raw).hex() for row in rows.order_by("transaction__account_nonce")]
    places = sorted(office.rng.randrange(depth) for _ in raws)
    office.anvil.rpc("anvil_reorg", depth, [[raw, place] for raw, place in zip(raws, places, strict=True)])


def replaced(office, deployer):
    """In the new fork somebody else has used the nonce."""
    depth = _in_blocks(office)
    nonce = int(
        truth.ask(
            office.anvil.url, "eth_getTransactionCount", "0x" + office.sender.hex(), hex(office.anvil.head - depth)
        ),
        16,
    )
    raw = "0x" + foreign_signed(office.anvil, office.sender, nonce).raw.hex()
    office.anvil.rpc("anvil_reorg", depth, [[raw, 0]])
    office.strangers = 1


FAULTS = (another_chain_id, another_chain, a_gap, a_stranger, no_money, a_suspension, dropped, moved, replaced)


def test_each_wish_is_done_once_whatever_happens(campaign, office, deployer):
    run = campaign("sender-faults", small=9, ci=108, night=10_000)
    for index, rng in run:
        office.strangers = 0
        office.begin(rng)
        fault = FAULTS[index % len(FAULTS)]
        if rng.random() < 0.5 and fault not in (a_suspension, a_stranger, no_money):
            office.send()
        fault(office, deployer)
        office.finish()
        office.assert_done_once()
        run.injected(fault.__name__)


def test_fees_rise_as_pools_want_and_never_beyond_the_cap(campaign, geth, account, lease, settings):
    """F16, against a pool with geth's rules: same nonce, at least an eighth more, one of the attempts mined."""
    cap = 400 * GWEI
    with_bump(settings, 0, fee_max_wei=cap)
    sender = account()
    run = campaign("sender-fees", small=8, ci=40, night=5000)
    for index, rng in run:
        ref = f"pay:{index}"
        geth.base_fee = GWEI * rng.randint(1, 5)
        before = geth.nonce_of("0x" + sender.hex())
        transfer_enqueue(chain="SUP", sender=sender, to=b"\x01" * 20, value=1, ref=ref)
        Sender("SUP", lease).step()
        attempt = Attempt.objects.latest("pk")
        geth.base_fee = int(attempt.max_fee) * rng.randint(2, 6)
        for _ in range(30):
            geth.mine()
            with contextlib.suppress(ChainError):
                Sender("SUP", lease).step()
            if rng.random() < 0.2:
                geth.pool.clear()  # pools forget
            if selectors.item(ref).state == "final":
                break
            if geth.base_fee > cap // 2:
                geth.base_fee = GWEI
        assert selectors.item(ref).state == "final"
        row = Transaction.objects.get(items__ref=ref)
        attempts = list(row.attempts.order_by("pk"))
        for old, new in zip(attempts, attempts[1:], strict=False):
            assert new.max_fee * 8 >= old.max_fee * 9 and new.priority_fee * 8 >= old.priority_fee * 9
        assert max(item.max_fee for item in attempts) <= cap
        assert geth.nonce_of("0x" + sender.hex()) == before + 1
        run.injected("price rose above the offer")
        run.injected("fee raised", len(attempts) - 1)


@pytest.fixture(autouse=True)
def closed():
    yield
    gateways_close()
