"""One anvil for a bench, and a chain on it that holds many events of ours."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench import measure


@dataclass
class Node:
    port: int
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, trust_env=False))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rpc(self, method: str, *params: object) -> object:
        answer = self.client.post(self.url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json()
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']}")
        return answer["result"]

    def mine(self) -> None:
        self.rpc("evm_mine")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def anvil(*flags: str) -> Iterator[Node]:
    binary = next(measure.REPOSITORY.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))
    node = Node(free_port())
    command = [str(binary), "--host", "127.0.0.1", "--port", str(node.port), "--chain-id", "31337"]
    command += ["--hardfork", "london", "--slots-in-an-epoch", "1", "--quiet", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _attempt in range(300):
            try:
                node.rpc("eth_chainId")
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield node
    finally:
        process.kill()
        process.wait()


@contextmanager
def state() -> Iterator[Path]:
    """A folder for keys, deployments and databases of one bench."""
    with tempfile.TemporaryDirectory(prefix="bench-chain-") as folder:
        yield Path(folder)
