"""Deploys the contracts once for each chain, from a journal that a killed run leaves behind for the next one.

Signed bytes are in the journal before they are sent, so whatever was sent can be sent again and nothing twice.
"""

import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rlp
from eth_utils import keccak, to_checksum_address

from chain import artefacts, codec
from chain.artefacts import deployment_path
from chain.conf import conf
from chain.errors import AccountNonceTooLow, AlreadyKnown, ChainError, DeploymentMismatch, Reverted
from chain.failpoints import fp
from chain.gateway import Gateway, gateway
from chain.signing import address_of, sign_transaction
from chain.types import Receipt, hex0x

ADMIN_ROLE, REGULATOR_ROLE, RELEASE_ROLE = 0, 1, 2
REGULATOR_KIND = 5  # in the order of IRegistry.Kind
OFFICERS = 3  # key files made where no officers are configured
REGULATOR_FUNCTIONS = (
    "admitOrganisation",
    "suspendOrganisation",
    "reinstateOrganisation",
    "expelOrganisation",
    "confirmRecovery",
    "rejectRecovery",
)
ANNOUNCED = ("Council", "Registry", "AnchorLog", "AccessLog", "Consents", "RecordStore")


@dataclass(frozen=True)
class Step:
    name: str
    contract: str  # the one that is created, or called
    function: str = ""  # empty: creation
    args: Callable[["Deployer"], list[Any]] = lambda run: []


def steps() -> list[Step]:
    """Contracts, their first announcement, and the hand-over: at the end the deployer alone can release nothing."""
    manager = "AccessManager"
    return [
        *(Step(f"deploy {name}", name, args=_constructed(name)) for name in artefacts.NAMES),
        *(Step(f"announce {name}", "Registry", "announceRelease", _announced(name)) for name in ANNOUNCED),
        Step(
            "regulator functions",
            manager,
            "setTargetFunctionRole",
            lambda run: [run.address_at("Registry"), _selectors("Registry", *REGULATOR_FUNCTIONS), REGULATOR_ROLE],
        ),
        Step("regulator role", manager, "grantRole", lambda run: [REGULATOR_ROLE, run.address, 0]),
        Step(
            "regulator's own entry",
            "Registry",
            "admitOrganisation",
            lambda run: [run.address, REGULATOR_KIND, run.founding()],
        ),
        Step(
            "release function",
            manager,
            "setTargetFunctionRole",
            lambda run: [run.address_at("Registry"), _selectors("Registry", "announceRelease"), RELEASE_ROLE],
        ),
        Step(
            "officers function",
            manager,
            "setTargetFunctionRole",
            lambda run: [run.address_at("Council"), _selectors("Council", "setOfficers"), RELEASE_ROLE],
        ),
        Step("release right", manager, "grantRole", _held_by_council(RELEASE_ROLE)),
        Step("admin right", manager, "grantRole", _held_by_council(ADMIN_ROLE)),
        Step("deployer's admin right given up", manager, "renounceRole", lambda run: [ADMIN_ROLE, run.address]),
    ]


def _constructed(contract: str) -> Callable[["Deployer"], list[Any]]:
    return lambda run: [run.value_of(name) for name in dict(artefacts.CONTRACTS)[contract]]


def _announced(contract: str) -> Callable[["Deployer"], list[Any]]:
    def args(run: "Deployer") -> list[Any]:
        address = run.address_at(contract)
        return [contract.encode().ljust(32, b"\0"), run.version, address, keccak(run.code(address))]

    return args


def _held_by_council(role: int) -> Callable[["Deployer"], list[Any]]:
    return lambda run: [role, run.address_at("Council"), conf().council_delay_seconds]


def _threshold() -> int:
    return conf().council_threshold


def council_checked() -> None:
    """Refuses before anything is sent what the contracts would refuse later, or what would make one key enough."""
    officers, threshold = officer_addresses(), conf().council_threshold
    if len(set(officers)) < 2 or len(set(officers)) != len(officers):
        raise DeploymentMismatch("the council needs two or more different officers (PORTAL_COUNCIL_OFFICERS)")
    if not 2 <= threshold <= len(officers):
        raise DeploymentMismatch(
            f"of {len(officers)} officers 2 to {len(officers)} have to approve, not {threshold} "
            "(PORTAL_COUNCIL_THRESHOLD)"
        )
    if conf().council_delay_seconds < 1:
        raise DeploymentMismatch("a release needs a waiting time (PORTAL_COUNCIL_DELAY_SECONDS)")


def _selectors(contract: str, *names: str) -> list[bytes]:
    return [codec.function(contract, name).selector for name in names]


def _key_in(path: Path, whose: str) -> bytes:
    try:
        return bytes.fromhex(path.read_text().strip().removeprefix("0x"))
    except ValueError:
        raise DeploymentMismatch(f"the {whose} key file {path.name} does not hold 64 hex digits") from None


def deployer_key() -> bytes:
    path = conf().deployer_key_file
    try:
        return _key_in(path, "deployer's")
    except FileNotFoundError:
        raise DeploymentMismatch(f"the deployer's key file {path.name} is missing (PORTAL_DEPLOYER_KEY_FILE)") from None


def officer_keys() -> list[bytes]:
    """The officers' keys that this machine keeps: for demos and tests. Officers by address keep their own."""
    if conf().council_officers:
        return []
    found = []
    for number in range(1, OFFICERS + 1):
        path = conf().deployer_key_file.parent / f"officer-{number}.key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32))
        found.append(_key_in(path, "officer's"))
    return found


def officer_addresses() -> list[bytes]:
    """Who decides about releases on a new deployment."""
    if named := conf().council_officers:
        try:
            return [bytes.fromhex(to_checksum_address(text.strip())[2:]) for text in named]
        except ValueError:
            raise DeploymentMismatch("PORTAL_COUNCIL_OFFICERS holds something that is not an address") from None
    return [address_of(key) for key in officer_keys()]


def write_durably(path: Path, data: dict[str, Any]) -> None:
    """The old file or the new one, never half of either, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".tmp")
    with open(draft, "w") as stream:
        stream.write(json.dumps(data, indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class PlaceTaken(DeploymentMismatch):
    """Another transaction of the account has the nonce that a step was signed with."""


class Deployer:
    """Runs steps in order, each from the journal; every run of it ends in the same deployment."""

    journal_suffix = ".journal.json"

    def __init__(self, chain: str, *, version: int, say: Callable[[str], None], wait: Callable[[], None]) -> None:
        self.chain = chain
        self.conf = conf().chain(chain)
        self.node: Gateway = gateway(chain)
        self.version = version
        self.say = say
        self.wait = wait
        self.key = deployer_key()
        self.address = address_of(self.key)
        self.path = deployment_path(self.conf.chain_id)
        self.journal_path = self.path.with_suffix(self.journal_suffix)
        self.journal = self._journal()

    def _journal(self) -> dict[str, Any]:
        look = self.node.look()
        if look.chain_id != self.conf.chain_id:
            raise DeploymentMismatch(
                f"{self.chain}: the node is on chain id {look.chain_id}, the settings say {self.conf.chain_id}"
            )
        if self.journal_path.exists():
            journal = json.loads(self.journal_path.read_text())
            if journal["genesis_hash"] != hex0x(look.genesis_hash) or journal["deployer"] != hex0x(self.address):
                raise DeploymentMismatch(
                    f"{self.chain}: {self.journal_path.name} is from another chain or deployer; move it away first"
                )
            self.version = journal["version"]
            return journal
        return {
            "chain": self.chain,
            "chain_id": look.chain_id,
            "genesis_hash": hex0x(look.genesis_hash),
            "deployer": hex0x(self.address),
            "version": self.version,
            "first_nonce": self.node.transaction_count(self.address, "pending"),
            "steps": [],
        }

    def run(self) -> None:
        wanted = self.steps()
        for number, step in enumerate(wanted, 1):
            done = len(self.journal["steps"])
            if number > done:
                self._prepare(step)
            self.say(f"  {number}/{len(wanted)} {step.name}")
            self._send(self.journal["steps"][number - 1])
            fp("deploy.sent")
        receipts = self._finish(len(wanted))
        fp("deploy.mined")
        self._record(receipts)
        fp("deploy.recorded")
        self.journal_path.unlink()

    def steps(self) -> list[Step]:
        return steps()

    def address_at(self, contract: str) -> bytes:
        nonce = self.journal["first_nonce"] + artefacts.NAMES.index(contract)
        return keccak(rlp.encode([self.address, nonce]))[12:]

    def value_of(self, name: str) -> Any:
        """A constructor's argument: an address by its contract's name, or a setting."""
        given = {"deployer": lambda: self.address, "officers": officer_addresses, "threshold": _threshold}
        return given[name]() if name in given else self.address_at(name)

    def founding(self) -> bytes:
        """What the regulator's own admission rests on: that it founded this deployment."""
        return keccak(b"founded with" + bytes.fromhex(self.journal["genesis_hash"][2:]) + self.address)

    def code(self, address: bytes) -> bytes:
        return self.node.code(address)

    def _data(self, step: Step) -> tuple[bytes | None, bytes]:
        """Where a step goes and what it carries."""
        if not step.function:
            return None, codec.constructor_data(step.contract, step.args(self))
        return self.address_at(step.contract), codec.function(step.contract, step.function).encode(step.args(self))

    def _prepare(self, step: Step) -> None:
        if step.function == "announceRelease":
            # The hash of the code can be read only once the contract is in a block.
            self._finish(len(artefacts.NAMES))
        to, data = self._data(step)
        try:
            gas = self.node.estimate(sender=self.address, to=to, data=data)
        except Reverted:
            # It may stand on steps that are sent but not in a block yet.
            self._finish(len(self.journal["steps"]))
            to, data = self._data(step)
            gas = self.node.estimate(sender=self.address, to=to, data=data)
        nonce = self.journal["first_nonce"] + len(self.journal["steps"])
        signed = sign_transaction(
            self.key,
            chain_id=self.conf.chain_id,
            account_nonce=nonce,
            to=to,
            value=0,
            data=data,
            gas_limit=gas * (100 + conf().gas_margin_percent) // 100,
            fees=self.node.fees(),
        )
        fp("deploy.signed")
        self.journal["steps"].append(
            {"name": step.name, "nonce": nonce, "tx_hash": hex0x(signed.tx_hash), "raw": hex0x(signed.raw)}
        )
        write_durably(self.journal_path, self.journal)
        fp("deploy.journalled")

    def _send(self, entry: dict[str, Any]) -> None:
        try:
            self.node.send_raw(bytes.fromhex(entry["raw"][2:]))
        except AlreadyKnown:
            return
        except AccountNonceTooLow:
            if self.node.receipt(bytes.fromhex(entry["tx_hash"][2:])) is None:
                raise PlaceTaken(
                    f"{self.chain}: another transaction of the deployer took the place of '{entry['name']}'; "
                    f"move {self.journal_path.name} away and deploy again"
                ) from None

    def _finish(self, count: int) -> list[Receipt]:
        """Waits until the first `count` steps are in blocks; sends again what the node has lost."""
        entries = self.journal["steps"][:count]
        hashes = [bytes.fromhex(entry["tx_hash"][2:]) for entry in entries]
        deadline = time.monotonic() + conf().stuck_seconds
        while True:
            receipts = self.node.receipts(hashes) if hashes else []
            for entry, receipt in zip(entries, receipts, strict=True):
                if receipt is not None and not receipt.is_success:
                    raise ChainError(f"{self.chain}: '{entry['name']}' was refused by the chain ({entry['tx_hash']})")
            missing = [entry for entry, receipt in zip(entries, receipts, strict=True) if receipt is None]
            if not missing:
                return [receipt for receipt in receipts if receipt is not None]
            if time.monotonic() > deadline:
                raise ChainError(
                    f"{self.chain}: '{missing[0]['name']}' is in no block yet; run the command again later"
                )
            self._send(missing[0])
            self.wait()

    def _record(self, receipts: list[Receipt]) -> None:
        contracts = {}
        for name, receipt in zip(artefacts.NAMES, receipts, strict=False):
            contracts[name] = self._entry(name, receipt)
        setup = [
            {"name": entry["name"], "tx_hash": entry["tx_hash"], "block_number": receipt.block_number}
            for entry, receipt in list(zip(self.journal["steps"], receipts, strict=True))[len(contracts) :]
        ]
        earlier = json.loads(self.path.read_text()) if self.path.exists() else {}
        previous = earlier.get("previous", [])
        if earlier and earlier["contracts"] != contracts:  # equal: this run wrote the record before it was killed
            previous = [*previous, earlier["contracts"]]
        write_durably(
            self.path,
            {
                **{key: self.journal[key] for key in ("chain", "chain_id", "genesis_hash", "deployer")},
                "contracts": contracts,
                "setup": setup,
                "previous": previous,
            },
        )

    def _entry(self, name: str, receipt: Receipt) -> dict[str, Any]:
        """What is recorded of one created contract."""
        address = self.address_at(name)
        code = self.node.code(address)
        if receipt.contract_address != address or not code:
            raise ChainError(f"{self.chain}: {name} is not where it was expected")
        built = artefacts.artefact(name)
        return {
            "address": to_checksum_address(address),
            "version": self.version,
            "block_number": receipt.block_number,
            "tx_hash": hex0x(receipt.tx_hash),
            "code_hash": hex0x(keccak(code)),
            "source_hash": built["sourceHash"],
            "compiler": built["compiler"],
            "abi": f"contracts/build/{name}.json",
        }


def deploy(
    chain: str,
    *,
    again: bool = False,
    say: Callable[[str], None] = lambda line: None,
    wait: Callable[[], None] = lambda: time.sleep(0.1),
) -> bool:
    """Deploys, or finishes a deployment that was cut off; False when everything stood already."""
    path = deployment_path(conf().chain(chain).chain_id)
    version = 1
    if path.exists() and not path.with_suffix(".journal.json").exists():
        if not again:
            return False
        version = 1 + max(item["version"] for item in json.loads(path.read_text())["contracts"].values())
    council_checked()
    Deployer(chain, version=version, say=say, wait=wait).run()
    return True
