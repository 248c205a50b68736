"""The committed compiler output (contracts/build) and what was deployed where (deployments/<chain_id>.json)."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from eth_utils import to_checksum_address

from chain.conf import conf
from chain.errors import DeploymentMismatch, UnknownContract

BUILD = Path(__file__).resolve().parent.parent / "contracts" / "build"

# Deployed in this order; a contract's name among the arguments stands for its address.
CONTRACTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AccessManager", ("deployer",)),
    ("Council", ("AccessManager", "officers", "threshold")),
    ("Registry", ("AccessManager",)),
    ("AnchorLog", ("Registry",)),
    ("AccessLog", ("Registry",)),
    ("Consents", ("Registry",)),
    ("RecordStore", ("Registry",)),
)
NAMES = tuple(name for name, _ in CONTRACTS)
# Its address stands in every contract that asks it, so no announcement would add anything.
UNANNOUNCED = ("AccessManager",)


@cache
def _artefact(name: str, build: Path) -> dict[str, Any]:
    path = build / f"{name}.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UnknownContract(f"contracts/build/{name}.json is missing: run `make contracts`") from None


def artefact(name: str) -> dict[str, Any]:
    return _artefact(name, conf().artefacts_dir or BUILD)


def abi(name: str) -> list[dict[str, Any]]:
    return artefact(name)["abi"]


def bytecode(name: str) -> bytes:
    return bytes.fromhex(artefact(name)["bytecode"].removeprefix("0x"))


def is_built_here(name: str, code: bytes) -> bool:
    """Whether code on a chain is what these sources compile to; what a constructor fills in is left out."""
    built = artefact(name)
    wanted = bytearray.fromhex(built["deployedBytecode"].removeprefix("0x"))
    found = bytearray(code)
    if len(found) != len(wanted):
        return False
    for places in built["immutableReferences"].values():
        for place in places:
            end = place["start"] + place["length"]
            wanted[place["start"] : end] = found[place["start"] : end] = bytes(place["length"])
    return found == wanted


@dataclass(frozen=True)
class Deployed:
    name: str
    address: bytes
    block_number: int
    tx_hash: bytes
    code_hash: bytes
    source_hash: str
    version: int
    compiler: str

    @property
    def checksum(self) -> str:
        return to_checksum_address(self.address)


@dataclass(frozen=True)
class Deployment:
    chain: str
    chain_id: int
    genesis_hash: bytes
    deployer: bytes
    start_block: int
    contracts: dict[str, Deployed] = field(default_factory=dict)
    previous: tuple[Deployed, ...] = ()  # earlier versions: their receipts stay verifiable
    candidates: tuple[Deployed, ...] = ()  # deployed, and nothing more until the council has announced them

    def __getitem__(self, name: str) -> Deployed:
        try:
            return self.contracts[name]
        except KeyError:
            raise UnknownContract(f"{name} is not deployed on {self.chain}") from None

    @property
    def names(self) -> dict[bytes, str]:
        """Every address of ours, earlier versions included."""
        return {item.address: item.name for item in (*self.previous, *self.contracts.values())}


def deployment_path(chain_id: int) -> Path:
    return conf().deployments_dir / f"{chain_id}.json"


def _deployed(name: str, item: dict[str, Any]) -> Deployed:
    return Deployed(
        name=name,
        address=bytes.fromhex(item["address"][2:]),
        block_number=item["block_number"],
        tx_hash=bytes.fromhex(item["tx_hash"][2:]),
        code_hash=bytes.fromhex(item["code_hash"][2:]),
        source_hash=item["source_hash"],
        version=item["version"],
        compiler=item["compiler"].get("version", ""),
    )


@cache
def _parsed(path: Path, changed_ns: int) -> Deployment:
    data = json.loads(path.read_text())
    contracts = {name: _deployed(name, item) for name, item in data["contracts"].items()}
    previous = tuple(_deployed(name, item) for earlier in data.get("previous", ()) for name, item in earlier.items())
    candidates = tuple(_deployed(item["name"], item) for item in data.get("candidates", ()))
    return Deployment(
        chain=data["chain"],
        chain_id=data["chain_id"],
        genesis_hash=bytes.fromhex(data["genesis_hash"][2:]),
        deployer=bytes.fromhex(data["deployer"][2:]),
        start_block=min(item.block_number for item in (*previous, *contracts.values())),
        contracts=contracts,
        previous=previous,
        candidates=candidates,
    )


def deployment(chain: str) -> Deployment:
    """What is recorded for a chain; raises when nothing is."""
    path = deployment_path(conf().chain(chain).chain_id)
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise DeploymentMismatch(
            f"{chain}: no contracts are recorded for chain id {conf().chain(chain).chain_id}; "
            f"run `manage.py chain_deploy --chain {chain}`"
        ) from None
