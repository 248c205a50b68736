"""Two real chains for the whole run, contracts deployed once, every test on its own snapshot."""

import secrets
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from django.conf import settings

ANVIL = next(iter(sorted(settings.BASE_DIR.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))), None)
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
    from django.test import override_settings

    from chain.deploying import deploy
    from chain.gateway import address_of

    folder = tmp_path_factory.mktemp("chains")
    started = {
        "SUP": Anvil("SUP", 31337, folder).start(),
        "MED": Anvil("MED", 31338, folder, *MED_FLAGS).start(),
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
        for name in ("SUP", "MED"):
            started[name].stop()


@pytest.fixture
def chains(anvils, settings):
    """{"SUP": Anvil, "MED": Anvil} as after deployment; what a test does to them is undone."""
    settings.CHAIN = anvils["settings"]
    pair = {name: anvils[name] for name in ("SUP", "MED")}
    before = {name: anvil.snapshot() for name, anvil in pair.items()}
    yield pair
    for name, anvil in pair.items():
        anvil.revert(before[name])


@pytest.fixture
def deployer(chains):
    """The account that may do everything the regulator may."""
    from chain.deploying import deployer_key
    from chain.gateway import address_of

    return address_of(deployer_key())
