"""The contracts of this portal as anybody may check them: where, which code, who approved, and does it still match."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from eth_utils import keccak, to_checksum_address

from chain import council as chain_council
from chain.artefacts import Deployed, Deployment, deployment
from chain.council import Act, Proposal
from chain.errors import DeploymentMismatch, RpcUnavailable
from chain.gateway import bytes_of, gateway
from chain.models import ChainEvent
from chain.rpc import Call
from chain.types import hex0x

# The AccessManager's own address stands in every contract that asks it, so no announcement would add anything.
UNANNOUNCED = ("AccessManager",)


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
    announced = _announcements(chain)
    rows = [(item, True) for item in place.contracts.values()] + [(item, False) for item in reversed(place.previous)]
    known = {item.address for item, _ in rows}
    waiting = [item for item in place.candidates if item.address not in known and _key(item) in announced]
    rows += [(item, False) for item in waiting]
    codes = _codes(chain, [item for item, _ in rows])
    return [_published(place, item, is_current, codes[item.address], announced) for item, is_current in rows]


def _published(
    place: Deployment,
    item: Deployed,
    is_current: bool,
    code: bytes | None,
    announced: Mapping[tuple, Announcement],
) -> Published:
    announcement = announced.get(_key(item))
    if code is None:
        state = "down"
    elif keccak(code) != item.code_hash:
        state = "mismatch"
    elif announcement is None and item.name not in UNANNOUNCED:
        state = "unannounced"
    else:
        state = "match"
    return Published(
        chain=place.chain,
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
        announcement=announcement,
    )


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


def _codes(chain: str, items: list[Deployed]) -> dict[bytes, bytes | None]:
    calls = [Call("eth_getCode", (hex0x(item.address), "latest")) for item in items]
    try:
        codes = [bytes_of(code) for code in gateway(chain).rpc.batch(calls)]
    except RpcUnavailable:
        codes = [None] * len(items)
    return {item.address: code for item, code in zip(items, codes, strict=True)}


def officer_words(chain: str, act: Act) -> str:
    """Who approved, by role: names of officers are the regulator's business."""
    decided = chain_council.council(chain)
    of = f" of {len(decided.officers)}" if decided else ""
    return f"Officer {act.officer}{of}" if act.officer else f"Former officer {to_checksum_address(act.address)[:8]}…"
