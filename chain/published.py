"""The contracts of this portal as anybody may check them: where, which code, who approved, and does it still match."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from eth_utils import keccak

from chain import council as chain_council
from chain.artefacts import Deployed, Deployment, deployment
from chain.council import Act, Proposal
from chain.errors import DeploymentMismatch, RpcUnavailable
from chain.gateway import bytes_of, gateway
from chain.identity import announced
from chain.models import ChainEvent
from chain.rpc import Call
from chain.types import hex0x


@dataclass(frozen=True)
class Announcement:
    """The event with which the registry published a version."""

    tx_hash: str
    block_number: int
    at: datetime
    proposal: Proposal | None  # None: at the founding, before the council had the right

    @property
    def approvals(self) -> tuple[Act, ...]:
        return self.proposal.approvals if self.proposal else ()

    @property
    def waited(self) -> timedelta | None:
        return self.at - self.approvals[-1].at if self.approvals else None


@dataclass(frozen=True)
class Published:
    chain: str
    chain_id: int
    name: str
    address: str
    version: int
    code_hash: str
    source_hash: str
    compiler: str
    tx_hash: str
    block_number: int
    is_current: bool
    state: str  # match, mismatch, down (the chain cannot be asked), unannounced (it does not say the same)
    announcement: Announcement | None


def published(chain: str) -> list[Published]:
    """Versions in use first, then earlier ones, then what was announced and is not in use here."""
    try:
        place = deployment(chain)
    except DeploymentMismatch:
        return []
    announcements = _announcements(chain)
    # A whole set that was replaced had a registry of its own, and that one would have to be asked.
    since = place["Registry"].block_number
    earlier = [item for item in reversed(place.previous) if item.block_number >= since]
    rows = [(item, True) for item in place.contracts.values()] + [(item, False) for item in earlier]
    known = {item.address for item, _ in rows}
    waiting = [item for item in place.candidates if item.address not in known and _key(item) in announcements]
    rows += [(item, False) for item in waiting]
    seen = _states(chain, place, [item for item, _ in rows])
    return [
        Published(
            chain=chain,
            chain_id=place.chain_id,
            name=item.name,
            address=item.checksum,
            version=item.version,
            code_hash=hex0x(item.code_hash),
            source_hash=item.source_hash,
            compiler=item.compiler,
            tx_hash=hex0x(item.tx_hash),
            block_number=item.block_number,
            is_current=is_current,
            state=state,
            announcement=announcements.get(_key(item)),
        )
        for (item, is_current), state in zip(rows, seen, strict=True)
    ]


def _states(chain: str, place: Deployment, items: list[Deployed]) -> list[str]:
    """What the node says now. Nothing is a match that it does not say itself."""
    node = gateway(chain)
    calls = [Call("eth_getCode", (hex0x(item.address), "latest")) for item in items]
    try:
        codes = [bytes_of(code) for code in node.rpc.batch(calls)]
        is_announced = announced(node, place, items)
    except RpcUnavailable:
        return ["down"] * len(items)
    return [
        "mismatch" if keccak(code) != item.code_hash else "match" if is_said else "unannounced"
        for item, code, is_said in zip(items, codes, is_announced, strict=True)
    ]


def _key(item: Deployed) -> tuple:
    return item.name, item.version, item.address, item.code_hash


def _announcements(chain: str) -> dict[tuple, Announcement]:
    """Final announcements by what they announced, each with the proposal whose execution made it."""
    executed = {found.ended.tx_hash: found for found in chain_council.proposals(chain) if found.state == "executed"}
    found = {}
    for event in chain_council.final_events_of(chain, "Registry", ["ReleaseAnnounced"]):
        args = event.args
        name = bytes.fromhex(args["name"][2:]).rstrip(b"\0").decode("ascii", "replace")
        key = name, args["version"], bytes.fromhex(args["deployed"][2:]), bytes.fromhex(args["codeHash"][2:])
        found[key] = _announcement(event, executed)
    return found


def _announcement(event: ChainEvent, executed: Mapping[str, Proposal]) -> Announcement:
    tx_hash = hex0x(event.tx_hash)
    return Announcement(tx_hash, event.block_number, event.block_time, executed.get(tx_hash))
