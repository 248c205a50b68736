"""Two real chains for the whole run, contracts deployed once, every test on its own snapshot."""

import secrets
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from django.conf import settings

ANVIL = next(iter(sorted(settings.BASE_DIR.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))), None)
DEPTH = 3  # blocks on top that make a block final in tests
MED_FLAGS = ("--gas-price", "0", "--block-base-fee-per-gas", "0")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Anvil:
    """A chain that makes a block only when it is told to."""

    def __init__(self, name, chain_id, folder, *flags, port=None):
        self.name, self.chain_id, self.folder, self.flags = name, chain_id, Path(folder), flags
        self.port = port or free_port()
        self.process = None
        self.client = httpx.Client(timeout=10, trust_env=False)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [str(ANVIL), "--host", "127.0.0.1", "--port", str(self.port), "--chain-id", str(self.chain_id)]
        command += ["--hardfork", "london", "--no-mining", "--slots-in-an-epoch", "1", "--quiet", *self.flags]
        # Beyond 500 blocks anvil moves old states to disk, and what it reads back has lost the contracts' code.
        command += ["--prune-history", "1000"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                self.rpc("eth_chainId")
                return self
            except httpx.HTTPError:
                time.sleep(0.03)
        raise RuntimeError("anvil did not start")

    def stop(self):
        self.client.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def rpc(self, method, *params):
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self.client.post(self.url, json=body).json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def mine(self, blocks=1):
        for _ in range(blocks):
            self.rpc("evm_mine")

    def fund(self, address, wei=10**21):
        self.rpc("anvil_setBalance", "0x" + bytes(address).hex(), hex(wei))

    def snapshot(self):
        return self.rpc("evm_snapshot")

    def revert(self, snapshot):
        # The pool survives a revert, and a transaction of the last test must not land in the next one.
        self.rpc("anvil_dropAllTransactions")
        assert self.rpc("evm_revert", snapshot)
        # A revert turns the chain's clock back as well: tests would fall behind the server's by minutes.
        self.rpc("evm_setTime", int(time.time()))

    @property
    def head(self):
        return int(self.rpc("eth_blockNumber"), 16)

    def nonce(self, address):
        return int(self.rpc("eth_getTransactionCount", "0x" + bytes(address).hex(), "latest"), 16)


@pytest.fixture(scope="session")
def anvils(tmp_path_factory):
    """Both chains with the contracts on them, started when the first test asks."""
    if ANVIL is None:
        pytest.skip("anvil is not installed: run `make install`")
    with chains_running(tmp_path_factory.mktemp("chains")) as started:
        yield started


@contextmanager
def chains_running(folder, *flags):
    """Two new chains with the contracts on them, and the CHAIN setting to reach them."""
    from django.test import override_settings

    from chain.deploying import deploy
    from chain.gateway import address_of, gateways_close

    started = {
        "SUP": Anvil("SUP", 31337, folder, *flags).start(),
        "MED": Anvil("MED", 31338, folder, *MED_FLAGS, *flags).start(),
    }
    key_file = folder / "deployer.key"
    key_file.write_text(secrets.token_hex(32))
    deployer = address_of(bytes.fromhex(key_file.read_text()))
    chains = {
        name: {**settings.CHAIN["chains"][name], "rpc_url": anvil.url, "gas_price_wei": 0 if name == "MED" else None}
        for name, anvil in started.items()
    }
    values = {
        **settings.CHAIN,
        "chains": chains,
        "deployments_dir": folder / "deployments",
        "deployer_key_file": key_file,
        # Tests drive the sender by hand, so nothing waits for a clock.
        "batch_seconds": 0,
        "access_seconds": 0,
        "revert_patience_seconds": 0,
        "retry_seconds": 0,
        "resend_seconds": 0,
        "heads_seconds": 0,
    }
    try:
        with override_settings(CHAIN=values):
            for name, anvil in started.items():
                anvil.fund(deployer, 10**24)
                deploy(name, wait=anvil.mine)
                anvil.mine(8)
        started["settings"] = values
        yield started
    finally:
        gateways_close()
        for name in ("SUP", "MED"):
            started[name].stop()


@pytest.fixture
def chains(anvils, settings):
    """{"SUP": Anvil, "MED": Anvil} as after deployment; what a test does to them is undone."""
    settings.CHAIN = anvils["settings"]
    pair = {name: anvils[name] for name in ("SUP", "MED")}
    before = {name: anvil.snapshot() for name, anvil in pair.items()}
    for anvil in pair.values():
        # anvil keeps the newest states only, counted over all tests: what is final here must be young enough to ask.
        anvil.mine(DEPTH + 1)
    yield pair
    for name, anvil in pair.items():
        anvil.revert(before[name])


KEYS: dict[bytes, bytes] = {}


def signing_key(address):
    """The signer of tests that have no keyring: accounts made by the `account` fixture."""
    return KEYS[bytes(address)]


@pytest.fixture
def account(chains, settings):
    """Call it for a new funded account that the sender can sign for."""
    from chain.gateway import address_of

    settings.CHAIN = {**settings.CHAIN, "signer": "tests.chain_fixtures.signing_key"}

    def make():
        key = secrets.token_bytes(32)
        address = address_of(key)
        KEYS[address] = key
        chains["SUP"].fund(address)
        return address

    return make


@pytest.fixture
def hospital(account, deployer, drive):
    """Call it for the address of an organisation that both chains know as an active hospital."""
    from chain.services import call_enqueue

    def make(*, chains=("SUP", "MED")):
        address = account()
        for name in chains:
            call_enqueue(
                chain=name,
                sender=deployer,
                contract="Registry",
                function="admitOrganisation",
                args=[address, 1, secrets.token_bytes(32)],
                ref=f"admit:{name}:{address.hex()[:20]}",
            )
        drive(projectors=False)
        return address

    return make


@pytest.fixture
def deployer(chains):
    """The account that may do everything the regulator may."""
    from chain.deploying import deployer_key
    from chain.gateway import address_of

    return address_of(deployer_key())


class Quiet:
    """The result of `drive`: how many blocks were made and what the projectors applied."""

    def __init__(self):
        self.blocks = 0
        self.events = 0


def _projectors():
    """What the `project` command runs, for the apps that are there."""
    from importlib.util import find_spec

    found = []
    if find_spec("hospitals.projector"):
        from hospitals import projector

        found.append(projector.project)
    if find_spec("records.projector"):
        from records import projector as records_projector

        found.append(records_projector.project_all)
    return found


class Workers:
    """Sender and indexer of each chain, stepped by hand."""

    def __init__(self, names=("SUP", "MED")):
        from chain.indexer import Indexer
        from chain.leases import lease_take
        from chain.sending import Sender

        self.names = names
        self.held = {
            (job, name): lease_take(name=f"{job}:{name}", holder="test", seconds=3600)
            for job in ("sender", "indexer")
            for name in names
        }
        self.senders = {name: Sender(name, self.held["sender", name]) for name in names}
        self.indexers = {name: Indexer(name, self.held["indexer", name]) for name in names}

    def send(self, name):
        return self.senders[name].step()

    def index(self, name):
        while not self.indexers[name].step().is_idle:
            pass


@pytest.fixture
def workers(chains, db):
    return Workers()


@pytest.fixture
def drive(chains, workers):
    """Call it to let both chains work until every wish is final or refused and every projector has caught up.

    `drive(waiting_ok=True)` accepts wishes that must go on waiting (a suspended hospital's anchors).
    """
    from chain.models import ItemState, OutboxItem

    unsettled = [ItemState.QUEUED, ItemState.BROADCAST, ItemState.MINED]

    def run(*, most=60, waiting_ok=False, projectors=True):
        done = Quiet()
        for _ in range(most):
            for name, anvil in chains.items():
                workers.send(name)
                anvil.mine()
                done.blocks += 1
            for name in chains:
                workers.send(name)
                workers.index(name)
            events = sum(project() for project in _projectors()) if projectors else 0
            done.events += events
            # Projectors may wish for more, so quiet is a round in which nothing was left and nothing was applied.
            if not events and not OutboxItem.objects.filter(state__in=unsettled).exists() and done.blocks > 2 * DEPTH:
                return done
        left = OutboxItem.objects.filter(state__in=unsettled).values_list("chain", "lane", "state", "error")
        if left and not waiting_ok:
            raise AssertionError(f"not quiet after {most} rounds: {list(left[:5])}")
        return done

    return run
