"""The deployment is killed at each of its places, again and again, and ends as exactly one deployment."""

import json
import os
import secrets
import signal

import httpx
import pytest
from django.db import connections
from eth_utils import keccak

from chain import deploying, failpoints, releasing
from chain.artefacts import NAMES, deployment_path
from chain.deploying import deploy, steps
from chain.gateway import address_of, gateway, gateways_close
from chain.models import Account
from chain.signing import sign_transaction
from tests.chain_fixtures import Anvil

pytestmark = [pytest.mark.chain, pytest.mark.campaign, pytest.mark.scenario("O12")]
DELAY = 60
KILLED = -signal.SIGKILL


class Node:
    """One empty chain; every round starts on it anew."""

    def __init__(self, folder):
        self.anvil = Anvil("SUP", 31337, folder).start()
        self.folder = folder
        self.key = secrets.token_bytes(32)
        self.address = address_of(self.key)
        self.anvil.fund(self.address)
        self.clean = self.anvil.snapshot()

    def begin(self, settings, index):
        self.anvil.revert(self.clean)
        self.clean = self.anvil.snapshot()
        state = self.folder / str(index)
        state.mkdir()
        (state / "deployer.key").write_text(self.key.hex())
        settings.CHAIN = {
            **settings.CHAIN,
            "chains": {"SUP": {**settings.CHAIN["chains"]["SUP"], "rpc_url": self.anvil.url}},
            "deployments_dir": state / "deployments",
            "deployer_key_file": state / "deployer.key",
        }
        gateways_close()

    def mine(self):
        # A connection of its own: the parent's must not be shared by a forked child.
        httpx.post(
            self.anvil.url, json={"jsonrpc": "2.0", "id": 1, "method": "evm_mine", "params": []}, trust_env=False
        )

    def sent(self):
        """Every transaction of the deployer in any block."""
        found = []
        for number in range(self.anvil.head + 1):
            block = self.anvil.rpc("eth_getBlockByNumber", hex(number), True)
            found += [tx for tx in block["transactions"] if bytes.fromhex(tx["from"][2:]) == self.address]
        return found

    def code(self, address):
        return bytes.fromhex(self.anvil.rpc("eth_getCode", address, "latest")[2:])

    def has_role(self, manager, role, account):
        data = keccak(text="hasRole(uint64,address)")[:4].hex() + f"{role:064x}" + account[2:].lower().rjust(64, "0")
        answer = self.anvil.rpc("eth_call", {"to": manager, "data": "0x" + data}, "latest")
        return bool(int(answer[2:66], 16)), int(answer[66:], 16)


@pytest.fixture
def node(tmp_path):
    opened = Node(tmp_path)
    yield opened
    gateways_close()
    opened.anvil.stop()


def killed_at(hit, work):
    """Runs `work` in a child that kills itself at its `hit`-th failpoint; the place's name, or None if it finished."""
    gateways_close()
    connections.close_all()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        count = 0

        def hook(name):
            nonlocal count
            count += 1
            if count == hit:
                os.write(writer, name.encode())
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            failpoints.arm(hook)
            work()
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reader) as stream:
        name = stream.read()
    code = os.waitstatus_to_exitcode(status)
    if name:
        assert code == KILLED
        return name
    assert code == 0, "the run ended with an error of its own"
    return None


def places_of(work):
    """The names of the failpoints of an undisturbed run, in the order in which it passes them."""
    hits = []
    failpoints.arm(hits.append)
    try:
        work()
    finally:
        failpoints.arm(None)
    return hits


def turn(places, index):
    """Each name as often as any other, and of one name each of its places in turn."""
    names = sorted(set(places))
    here = [hit for hit, name in enumerate(places, 1) if name == names[index % len(names)]]
    return here[index // len(names) * 7 % len(here)]


def check_one_deployment(node):
    """From the chain and the files alone: each contract once, each step once, and no right left with the deployer."""
    path = deployment_path(31337)
    record = json.loads(path.read_text())
    assert sorted(item.name for item in path.parent.iterdir()) == ["31337.json"]
    assert record["previous"] == [] and list(record["contracts"]) == list(NAMES)
    sent = node.sent()
    assert [int(tx["nonce"], 16) for tx in sent] == list(range(len(steps())))
    created = [tx["hash"] for tx in sent if tx["to"] is None]
    assert created == [item["tx_hash"] for item in record["contracts"].values()]
    assert [tx["hash"] for tx in sent[len(NAMES) :]] == [item["tx_hash"] for item in record["setup"]]
    for item in record["contracts"].values():
        assert "0x" + keccak(node.code(item["address"])).hex() == item["code_hash"]
    manager, council = (record["contracts"][name]["address"] for name in ("AccessManager", "Council"))
    deployer = "0x" + node.address.hex()
    assert node.has_role(manager, 0, deployer) == (False, 0)
    assert node.has_role(manager, 2, deployer) == (False, 0)
    assert node.has_role(manager, 1, deployer) == (True, 0)
    assert node.has_role(manager, 0, council) == node.has_role(manager, 2, council) == (True, DELAY)


def test_killed_anywhere_it_is_one_deployment(campaign, node, settings):
    def work():
        deploy("SUP", wait=node.mine)

    node.begin(settings, "count")
    places = places_of(work)
    run = campaign("deploy", small=5, ci=60, night=2_000)
    for index, rng in run:
        node.begin(settings, index)
        # Every place in turn for the first kill, then anywhere in what is left.
        others = [rng.randint(1, len(places)) for _ in range(rng.randint(0, 2))]
        for hit in (turn(places, index), *others):
            place = killed_at(hit, work)
            if place is None:
                break
            run.injected(place)
            if rng.random() < 0.3:
                node.anvil.rpc("anvil_dropAllTransactions")
                run.injected("the node lost its pool")
            elif rng.random() < 0.5:
                node.mine()
        work()
        check_one_deployment(node)
        before = deployment_path(31337).read_bytes()
        assert not deploy("SUP", wait=node.mine)
        assert deployment_path(31337).read_bytes() == before and len(node.sent()) == len(steps())


@pytest.mark.django_db(transaction=True)
def test_a_killed_candidate_is_one_contract_and_leaves_no_nonce_unsent(campaign, node, settings):
    """The account is the regulator's own, which the portal's sender uses at the same time."""

    def work():
        releasing.candidate_deploy("SUP", "AnchorLog", wait=node.mine)

    node.begin(settings, "deployed")
    deploy("SUP", wait=node.mine)
    place = settings.CHAIN
    path = deployment_path(31337)
    record, base = path.read_text(), len(steps())
    snapshot = node.anvil.snapshot()
    places = places_of(work)
    run = campaign("candidate", small=6, ci=60, night=1_000)
    for index, rng in run:
        node.anvil.revert(snapshot)
        snapshot = node.anvil.snapshot()
        settings.CHAIN = place
        Account.objects.all().delete()
        for left in path.parent.iterdir():
            left.unlink()
        path.write_text(record)
        gateways_close()
        fault = killed_at(turn(places, index), work)
        if fault is not None:
            run.injected(fault)
        is_overtaken = rng.random() < 0.4
        if is_overtaken:
            # The sender goes on meanwhile, as if it had taken the next nonce itself.
            taken = Account.objects.filter(address=node.address).first()
            latest = node.anvil.nonce(node.address)
            nonce = max(taken.next_account_nonce if taken else 0, latest)
            node.anvil.rpc("anvil_dropAllTransactions")
            if nonce == latest:
                send_elsewhere(node, nonce)
                Account.objects.update_or_create(
                    chain="SUP", address=node.address, defaults={"next_account_nonce": nonce + 1}
                )
                run.injected("the sender took the nonce")
        work()
        item = json.loads(path.read_text())["candidates"][0]
        created = [tx for tx in node.sent() if tx["to"] is None][len(NAMES) :]
        assert [tx["hash"] for tx in created] == [item["tx_hash"]]
        assert item["version"] == 2 and node.code(item["address"])
        assert [int(tx["nonce"], 16) for tx in node.sent()] == list(range(len(node.sent())))
        assert len(node.sent()) - base in (1, 2)
        assert Account.objects.get(address=node.address).next_account_nonce == node.anvil.nonce(node.address)
        assert sorted(row.name for row in path.parent.iterdir()) == ["31337.json"]


def send_elsewhere(node, nonce):
    signed = sign_transaction(
        node.key,
        chain_id=31337,
        account_nonce=nonce,
        to=b"\1" * 20,
        value=1,
        data=b"",
        gas_limit=21_000,
        fees=gateway("SUP").fees(),
    )
    gateway("SUP").send_raw(signed.raw)
    node.mine()


# --- planted defects: the campaign above must notice them


def unjournalled(monkeypatch):
    """Signed bytes are sent before they are kept."""
    real = deploying.Deployer._prepare

    def prepare(self, step):
        kept, deploying.write_durably = deploying.write_durably, lambda path, data: None
        try:
            real(self, step)
        finally:
            deploying.write_durably = kept
        self._send(self.journal["steps"][-1])
        failpoints.fp("deploy.journalled")
        kept(self.journal_path, self.journal)

    monkeypatch.setattr(deploying.Deployer, "_prepare", prepare)


def record_grows(monkeypatch):
    """A record that was written before the kill is taken for an earlier version."""
    real = deploying.Deployer._record

    def record(self, receipts):
        earlier = json.loads(self.path.read_text()) if self.path.exists() else {}
        real(self, receipts)
        if earlier:
            written = json.loads(self.path.read_text())
            written["previous"] = [*earlier.get("previous", []), earlier["contracts"]]
            deploying.write_durably(self.path, written)

    monkeypatch.setattr(deploying.Deployer, "_record", record)


def nothing_given_up(monkeypatch):
    """The deployer stays an admin."""
    real = deploying.steps
    monkeypatch.setattr(deploying, "steps", lambda: real()[:-1])


@pytest.mark.parametrize("defect", [unjournalled, record_grows, nothing_given_up])
def test_a_planted_defect_is_found(defect, node, settings, monkeypatch):
    def work():
        deploy("SUP", wait=node.mine)

    node.begin(settings, "count")
    hits = len(places_of(work))
    defect(monkeypatch)
    found = []
    for hit in (3, hits - 1, hits):
        node.begin(settings, f"planted-{hit}")
        killed_at(hit, work)
        try:
            work()
            check_one_deployment(node)
        except Exception as fault:
            found.append(fault)
        if found:
            break
    assert found
