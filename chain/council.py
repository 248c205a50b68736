"""What the council of each chain decided and is deciding, from the index: proposals, approvals, waiting times."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from eth_utils import to_checksum_address

from chain import codec, deploying
from chain.artefacts import deployment
from chain.errors import DeploymentMismatch
from chain.models import Block, ChainEvent, ChainState, CouncilReason, ItemState, OutboxItem
from chain.types import Alarm, hex0x

LAPSES_AFTER = timedelta(weeks=1)  # AccessManager.expiration
WAITING = ("proposed", "scheduled", "ready")
ACTS = ("approve", "cancel", "execute")


@dataclass(frozen=True)
class Act:
    """One transaction of one officer, in a final block."""

    address: str
    officer: int | None  # the place among the officers of today, from 1; None: no longer one of them
    at: datetime
    tx_hash: str
    block_number: int


@dataclass(frozen=True)
class Council:
    """Who decides about releases on one chain."""

    chain: str
    address: str
    officers: tuple[str, ...]
    threshold: int
    delay: timedelta

    def place_of(self, address: str) -> int | None:
        return self.officers.index(address) + 1 if address in self.officers else None


@dataclass(frozen=True)
class Pending:
    """A step that was taken here and is not final yet, or was refused."""

    act: str
    address: str
    state: str
    error: str


@dataclass(frozen=True)
class Proposal:
    chain: str
    id: str
    state: str  # proposed, scheduled, ready, lapsed, executed, cancelled
    target: str
    contract: str  # empty: an address that is none of ours
    function: str
    args: dict[str, Any]
    data: str
    reason: str  # empty: it was written elsewhere
    reason_digest: str
    proposed: Act
    approvals: tuple[Act, ...]
    threshold: int
    executable_at: datetime | None = None
    ended: Act | None = None
    ended_reason: str = ""
    pending: tuple[Pending, ...] = field(default=())

    @property
    def is_open(self) -> bool:
        return self.state in WAITING

    @property
    def is_release(self) -> bool:
        return (self.contract, self.function) == ("Registry", "announceRelease")

    @property
    def release_name(self) -> str:
        return bytes.fromhex(self.args["name"][2:]).rstrip(b"\0").decode("ascii", "replace") if self.is_release else ""

    @property
    def approval_count(self) -> int:
        """Of officers of today: an approval by somebody who left no longer counts."""
        return sum(act.officer is not None for act in self.approvals)

    def has_approved(self, address: str) -> bool:
        return any(act.address == address for act in self.approvals)


def reason_digest(salt: bytes, text: str) -> bytes:
    """What stands on the chain for a written reason: nobody can guess the words from it."""
    return hashlib.sha256(b"\0" + salt + text.encode()).digest()


def chain_time(chain: str) -> datetime:
    """The clock that waiting times follow: the newest block's."""
    newest = Block.objects.filter(chain=chain, is_canonical=True).order_by("-number").first()
    return newest.timestamp if newest else datetime.fromtimestamp(0, UTC)


def final_events_of(chain: str, contract: str, names: Sequence[str]) -> list[ChainEvent]:
    state = ChainState.objects.filter(name=chain).first()
    found = ChainEvent.objects.filter(
        chain=chain,
        is_canonical=True,
        contract=contract,
        name__in=names,
        block_number__lte=state.finalized if state else -1,
    )
    return list(found.order_by("block_number", "log_index"))


def council(chain: str) -> Council | None:
    """None before its events are final, and on a deployment that is older than the council."""
    try:
        place = deployment(chain).contracts.get("Council")
    except DeploymentMismatch:
        return None
    changes = final_events_of(chain, "Council", ["OfficersChanged"]) if place else []
    if not changes:
        return None
    granted = [
        event.args
        for event in final_events_of(chain, "AccessManager", ["RoleGranted"])
        if int(event.args["roleId"]) == deploying.RELEASE_ROLE and event.args["account"] == hex0x(place.address)
    ]
    last = changes[-1].args
    return Council(
        chain=chain,
        address=place.checksum,
        officers=tuple(to_checksum_address(text) for text in last["officers"]),
        threshold=last["threshold"],
        delay=timedelta(seconds=int(granted[-1]["delay"]) if granted else 0),
    )


def proposals(chain: str) -> list[Proposal]:
    """All of them, newest first."""
    decided = council(chain)
    if decided is None:
        return []
    names = ["Proposed", "Approved", "Scheduled", "Executed", "Cancelled"]
    by_id: dict[str, list[ChainEvent]] = {}
    for event in final_events_of(chain, "Council", names):
        by_id.setdefault(event.args["id"], []).append(event)
    digests = [bytes.fromhex(events[0].args["reason"][2:]) for events in by_id.values()]
    written = {hex0x(row.digest): row.text for row in CouncilReason.objects.filter(digest__in=digests)}
    cancelled = {
        hex0x(row.proposal): row.text for row in CouncilReason.objects.filter(chain=chain, proposal__isnull=False)
    }
    pending = _pending(chain)
    now = chain_time(chain)
    places = deployment(chain).names
    return [_proposal(decided, events, places, written, cancelled, pending, now) for events in reversed(by_id.values())]


def proposal(chain: str, proposal_id: str) -> Proposal | None:
    return next((found for found in proposals(chain) if found.id == proposal_id), None)


def _proposal(
    decided: Council,
    events: list[ChainEvent],
    places: dict[bytes, str],
    written: dict[str, str],
    cancelled: dict[str, str],
    pending: dict[str, list[Pending]],
    now: datetime,
) -> Proposal:
    first, last = events[0], events[-1]
    target, data = bytes.fromhex(first.args["target"][2:]), bytes.fromhex(first.args["data"][2:])
    contract = places.get(target, "")
    call = codec.function_of(contract, data) if contract else None
    scheduled = next((event for event in events if event.name == "Scheduled"), None)
    executable_at = datetime.fromtimestamp(int(scheduled.args["executableAt"]), UTC) if scheduled else None
    state = {"Executed": "executed", "Cancelled": "cancelled"}.get(last.name, "proposed")
    if state == "proposed" and executable_at is not None:
        state = "scheduled" if now < executable_at else "ready" if now < executable_at + LAPSES_AFTER else "lapsed"
    is_over = state in ("executed", "cancelled")
    return Proposal(
        chain=decided.chain,
        id=first.args["id"],
        state=state,
        target=to_checksum_address(target),
        contract=contract,
        function=call.name if call else "",
        args=call.decode_args(data) if call else {},
        data=first.args["data"],
        reason=written.get(first.args["reason"], ""),
        reason_digest=first.args["reason"],
        proposed=_act(decided, first),
        approvals=tuple(_act(decided, event) for event in events if event.name == "Approved"),
        threshold=decided.threshold,
        executable_at=executable_at,
        ended=_act(decided, last) if is_over else None,
        ended_reason=cancelled.get(first.args["id"], "") if state == "cancelled" else "",
        pending=tuple(pending.get(first.args["id"], ())),
    )


def _act(decided: Council, event: ChainEvent) -> Act:
    # Anybody may put an approved proposal into effect: that event names nobody.
    address = to_checksum_address(event.args["by"]) if "by" in event.args else ""
    return Act(
        address=address,
        officer=decided.place_of(address),
        at=event.block_time,
        tx_hash=hex0x(event.tx_hash),
        block_number=event.block_number,
    )


def ref_of(act: str, chain: str, proposal_id: str, sender: bytes = b"") -> str:
    """One wish for each officer's approval, and one for the end of a proposal, whoever asks for it."""
    who = f":{sender.hex()[:16]}" if act == "approve" else ""
    return f"council:{act}:{chain}:{proposal_id[2:26]}{who}"


def _pending(chain: str) -> dict[str, list[Pending]]:
    """By proposal: what the sender is still busy with, and what a contract refused."""
    rows = OutboxItem.objects.filter(chain=chain, ref__startswith="council:").exclude(state=ItemState.FINAL)
    found: dict[str, list[Pending]] = {}
    for row in rows.order_by("created_at"):
        act = row.payload["function"]
        key = row.payload["args"][0] if act in ACTS else ""
        found.setdefault(key, []).append(Pending(act, to_checksum_address(row.sender), row.state, row.error))
    return found


def proposals_pending(chain: str) -> list[Pending]:
    """Proposals that were sent from here and are in no final block yet, or were refused."""
    return _pending(chain).get("", [])


def alarms(chain: str) -> list[Alarm]:
    """Everybody who looks at the health of a chain sees that a change of its rules is on its way."""
    found = []
    for row in proposals(chain):
        if row.state not in ("scheduled", "ready"):
            continue
        what = f"version {row.args['version']} of {row.release_name}" if row.is_release else f"{row.function}"
        since = f"from {row.executable_at:%Y-%m-%d %H:%M} UTC on" if row.state == "scheduled" else "now"
        found.append(
            Alarm("release_waiting", chain, f"The council approved {what}; it can take effect {since}.", row.id)
        )
    return found
