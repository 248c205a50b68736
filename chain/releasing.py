"""From a deployed candidate to the version in use: what stands at an address, and taking over what was announced."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rlp
from django.db import transaction
from eth_utils import is_hex_address, keccak, to_checksum_address

from chain import artefacts, deploying
from chain.artefacts import Deployed, deployment, deployment_path
from chain.conf import conf
from chain.deploying import Deployer, PlaceTaken, Step, write_durably
from chain.errors import DeploymentMismatch, UnknownContract
from chain.failpoints import fp
from chain.gateway import Gateway, gateway
from chain.models import Account
from chain.types import Receipt, hex0x

Say = Callable[[str], None]
Wait = Callable[[], None]

# What can be moved to a new address while the portal runs: nothing reads an older state of these back. A new
# Registry, Consents or AccessLog begins empty, and moving to one takes a portal that asks the old one too.
ADOPTABLE = ("AnchorLog", "RecordStore")


def pause() -> None:
    time.sleep(0.1)


@dataclass(frozen=True)
class Candidate:
    """What stands at an address, and as which version it could be announced."""

    chain: str
    contract: str
    address: bytes
    version: int
    code_hash: bytes
    is_built_here: bool
    problem: str = ""  # why it cannot be announced

    @property
    def checksum(self) -> str:
        return to_checksum_address(self.address)

    @property
    def code_hash_hex(self) -> str:
        return hex0x(self.code_hash)


def candidate_at(chain: str, contract: str, address: str) -> Candidate:
    """Reads the code at an address and what the registry would say to it."""
    if contract not in deploying.ANNOUNCED:
        raise UnknownContract(f"{contract} is not a contract of this portal")
    text = address.strip()
    if not is_hex_address(text):
        return Candidate(chain, contract, bytes(20), 0, b"", False, "Enter an address: 0x and 40 hex digits.")
    place, node = deployment(chain), gateway(chain)
    found = bytes.fromhex(text.removeprefix("0x"))
    code = node.code(found)
    version = 1 + _announced(node, contract)[0]
    problem = ""
    if not code:
        problem = "There is no contract at this address on this chain."
    elif found == place[contract].address or found in place.names:
        problem = "This is the address of a version that was announced before."
    return Candidate(chain, contract, found, version, keccak(code), artefacts.is_built_here(contract, code), problem)


def _announced(node: Gateway, contract: str, block: str | int = "latest") -> tuple[int, bytes, bytes]:
    """Version, address and code hash that the registry announced last; version 0 when none was."""
    name = contract.encode().ljust(32, b"\0")
    return node.call("Registry", "releaseOf", name, block=block)


class CandidateDeployer(Deployer):
    """Puts one contract beside those in use. It counts for nothing before the council has announced it."""

    journal_suffix = ".candidate.json"

    def __init__(self, chain: str, contract: str, *, say: Say, wait: Wait) -> None:
        if contract not in deploying.ANNOUNCED:
            raise UnknownContract(f"{contract} is not a contract of this portal")
        self.place = deployment(chain)
        self.contract = contract
        version = 1 + _announced(gateway(chain), contract)[0]
        super().__init__(chain, version=version, say=say, wait=wait)
        self.contract = self.journal.setdefault("contract", contract)

    def steps(self) -> list[Step]:
        named = dict(artefacts.CONTRACTS)[self.contract]
        return [Step(f"deploy {self.contract}", self.contract, args=lambda run: [run.value_of(name) for name in named])]

    def address_at(self, contract: str) -> bytes:
        if contract != self.contract or "first_nonce" not in self.journal:
            return self.place[contract].address
        return keccak(rlp.encode([self.address, self.journal["first_nonce"]]))[12:]

    def _prepare(self, step: Step) -> None:
        """The portal's sender uses the same account, so the nonce is taken as the sender takes one. Sent inside the
        transaction: whoever dies here leaves no nonce behind that was counted and never sent."""
        Account.objects.bulk_create([Account(chain=self.chain, address=self.address)], ignore_conflicts=True)
        with transaction.atomic(durable=True):
            account = Account.objects.select_for_update().get(chain=self.chain, address=self.address)
            nonce = max(account.next_account_nonce, self.node.transaction_count(self.address, "pending"))
            self.journal["first_nonce"] = nonce
            super()._prepare(step)
            self._send(self.journal["steps"][-1])

    def _send(self, entry: dict[str, Any]) -> None:
        super()._send(entry)
        fp("deploy.candidate_sent")
        behind = Account.objects.filter(chain=self.chain, address=self.address, next_account_nonce__lte=entry["nonce"])
        behind.update(next_account_nonce=entry["nonce"] + 1)

    def _record(self, receipts: list[Receipt]) -> None:
        record = json.loads(self.path.read_text())
        entry = {"name": self.contract, **self._entry(self.contract, receipts[0])}
        others = [item for item in record.get("candidates", []) if item["address"] != entry["address"]]
        write_durably(self.path, {**record, "candidates": [*others, entry]})


def candidate_deploy(chain: str, contract: str, *, say: Say = lambda line: None, wait: Wait = pause) -> Deployed:
    """Deploys what contracts/build holds now, or finishes a run that was cut off; for the officers to propose."""
    while True:
        run = CandidateDeployer(chain, contract, say=say, wait=wait)
        try:
            run.run()
        except PlaceTaken:
            # The sender was faster with this nonce: the contract depends on no other step, so it takes the next one.
            run.journal_path.unlink()
            continue
        if run.contract != contract:  # what a killed run had begun is finished first
            continue
        address = run.address_at(run.contract)
        return next(item for item in deployment(chain).candidates if item.address == address)


@dataclass(frozen=True)
class Adopted:
    contract: str
    version: int
    address: str


def adopt(chain: str) -> list[Adopted]:
    """Takes announced versions into use. From then on the portal writes there; earlier ones stay readable for ever."""
    place, node = deployment(chain), gateway(chain)
    final = node.finalized()
    if final < place["Registry"].block_number:  # deployed a moment ago
        return []
    path = deployment_path(conf().chain(chain).chain_id)
    record = json.loads(path.read_text())
    done = []
    for contract in ADOPTABLE:
        version, address, code_hash = _announced(node, contract, final)
        if version <= place[contract].version:
            continue
        code = node.code(address)
        if keccak(code) != code_hash:
            raise DeploymentMismatch(f"{chain}: the code at {to_checksum_address(address)} is not what was announced")
        if not artefacts.is_built_here(contract, code):
            raise DeploymentMismatch(
                f"{chain}: version {version} of {contract} is not what contracts/build of this portal holds; "
                "install the portal version that brings it"
            )
        entry = _entry(record, contract, address)
        record["previous"] = [*record.get("previous", []), {contract: record["contracts"][contract]}]
        record["contracts"][contract] = {**entry, "version": version}
        done.append(Adopted(contract, version, to_checksum_address(address)))
    if done:
        write_durably(path, record)
    return done


def _entry(record: dict[str, Any], contract: str, address: bytes) -> dict[str, Any]:
    """The deployment of an announced version, as `chain_deploy --candidate` recorded it."""
    checksum = to_checksum_address(address)
    for item in record.get("candidates", []):
        if item["address"] == checksum and item["name"] == contract:
            return {key: value for key, value in item.items() if key != "name"}
    raise DeploymentMismatch(
        f"the deployment of {contract} at {checksum} is not recorded here; copy its entry under 'candidates' from the "
        "deployments file of whoever deployed it"
    )
