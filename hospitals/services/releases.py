"""New contract versions: proposed by one officer of the regulator, approved by others, waiting before they count.

The contract is what holds the rule; here a refusal is said in words before a transaction is spent on it.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from chain import codec, releasing
from chain import council as chain_council
from chain import services as chain_services
from chain.artefacts import deployment
from chain.council import Proposal
from chain.gateway import checksum
from chain.models import CouncilReason, ItemState, OutboxItem
from chain.types import hex0x
from hospitals import audit, keyring, roles
from hospitals.actors import Actor
from hospitals.errors import HospitalsError, Invalid, NotFound, Refused
from hospitals.models import KeyRecord, Membership, Organisation, random32
from hospitals.roles import Permission
from hospitals.services.accounts import activation_create, user_create
from hospitals.types import KeyPurpose, MembershipStatus, OrganisationKind, Role

REASON_LETTERS = 10
REASON_LETTERS_MAX = 1000


@dataclass(frozen=True)
class Standing:
    """What a person is in the council of one chain."""

    address: bytes | None
    is_officer: bool
    is_hosted: bool  # the portal keeps the key; otherwise the officer's own wallet sends

    @property
    def checksum(self) -> str:
        return checksum(self.address) if self.address else ""


@dataclass(frozen=True)
class Step:
    """A call of the council: under way, or to be sent from the officer's own wallet."""

    to: str
    data: str
    ref: str = ""


def officer_standing(*, actor: Actor, chain: str) -> Standing:
    address = actor.membership.chain_address if actor.membership else None
    decided = chain_council.council(chain)
    if address is None or decided is None:
        return Standing(None, False, False)
    address = bytes(address)
    return Standing(
        address,
        checksum(address) in decided.officers,
        KeyRecord.objects.filter(address=address, purpose=KeyPurpose.CHAIN, retired_at=None).exists(),
    )


def release_propose(*, actor: Actor, chain: str, contract: str, address: str, reason: str) -> Step:
    """Proposes to announce the code at an address as the next version of a contract."""
    standing = _officer(actor, chain)
    words = _reason(reason)
    found = releasing.candidate_at(chain, contract, address)
    if found.problem:
        raise Invalid({"address": found.problem})
    salt = random32()
    digest = chain_council.reason_digest(salt, words)
    name = contract.encode().ljust(32, b"\0")
    data = codec.function("Registry", "announceRelease").encode([name, found.version, found.address, found.code_hash])
    args = [deployment(chain)["Registry"].address, data, digest]
    with transaction.atomic():
        CouncilReason.objects.create(digest=digest, salt=salt, text=words, chain=chain)
        return _send(
            actor,
            chain,
            standing,
            "propose",
            args,
            ref=f"council:propose:{chain}:{digest.hex()[:24]}",
            detail={
                "contract": contract,
                "version": found.version,
                "address": found.checksum,
                "code_hash": hex0x(found.code_hash),
                "reason": hex0x(digest),
            },
        )


def release_approve(*, actor: Actor, chain: str, proposal_id: str) -> Step:
    standing = _officer(actor, chain)
    proposal = _proposal(chain, proposal_id)
    if proposal.has_approved(standing.checksum):
        raise HospitalsError("You approved this before. Another officer has to approve it.")
    if proposal.state != "proposed":
        raise HospitalsError("This does not wait for an approval any more. Reload the page to see its state.")
    under_way = {row.address for row in proposal.pending if row.act == "approve" and row.state != ItemState.FAILED}
    if len(under_way - {standing.checksum}) + proposal.approval_count >= proposal.threshold:
        raise HospitalsError("Enough approvals are on their way already. Reload the page in a moment.")
    return _act(actor, chain, standing, "approve", proposal)


def release_execute(*, actor: Actor, chain: str, proposal_id: str) -> Step:
    """Puts an approved change into effect after its waiting time."""
    standing = _officer(actor, chain)
    proposal = _proposal(chain, proposal_id)
    if proposal.state == "scheduled":
        raise HospitalsError("The waiting time is not over. Until then every officer can still stop this.")
    if proposal.state == "lapsed":
        raise HospitalsError("This waited for more than a week after its time and has run out. Propose it again.")
    if proposal.state != "ready":
        raise HospitalsError("This cannot be put into effect now. Reload the page to see its state.")
    return _act(actor, chain, standing, "execute", proposal)


def release_cancel(*, actor: Actor, chain: str, proposal_id: str, reason: str) -> Step:
    """Any single officer can stop a change that has not taken effect."""
    standing = _officer(actor, chain)
    proposal = _proposal(chain, proposal_id)
    if proposal.state in ("executed", "cancelled"):
        raise HospitalsError("This has ended already. Reload the page to see its state.")
    words = _reason(reason)
    salt = random32()
    digest = chain_council.reason_digest(salt, words)
    with transaction.atomic():
        step = _act(actor, chain, standing, "cancel", proposal, detail={"reason": hex0x(digest)})
        CouncilReason.objects.update_or_create(
            chain=chain,
            proposal=bytes.fromhex(proposal.id[2:]),
            defaults={"digest": digest, "salt": salt, "text": words},
        )
    return step


def officer_add(
    *, email: str, name: str, key: bytes | None = None, address: bytes | None = None
) -> tuple[Membership, bool]:
    """A person of the regulator, with the account that is theirs in the council; False when it was there already.

    With a key the portal signs for the person; with an address alone their own wallet does.
    """
    regulator = Organisation.objects.filter(kind=OrganisationKind.REGULATOR).first()
    if regulator is None:
        raise NotFound("The regulator's organisation does not exist yet.")
    with transaction.atomic():
        user, is_new = user_create(email=email, name=name)
        live = Membership.objects.filter(user=user, hospital=regulator).exclude(status=MembershipStatus.ENDED)
        membership = live.first()
        is_added = membership is None
        if membership is None:
            membership = Membership.objects.create(
                user=user, hospital=regulator, role=Role.REGULATOR, status=MembershipStatus.ACTIVE
            )
        if membership.chain_address is None:
            membership.chain_address = keyring.membership_chain_key_import(membership, key) if key else address
            membership.save(update_fields=["chain_address"])
        if is_new:
            activation_create(user=user)
    return membership, is_added


# --- steps


def _officer(actor: Actor, chain: str) -> Standing:
    roles.require(actor, Permission.RELEASE_GOVERN)
    standing = officer_standing(actor=actor, chain=chain)
    if not standing.is_officer:
        raise Refused("You are not one of the officers who decide about releases on this chain.")
    return standing


def _proposal(chain: str, proposal_id: str) -> Proposal:
    found = chain_council.proposal(chain, proposal_id)
    if found is None:
        raise NotFound()
    return found


def _act(
    actor: Actor,
    chain: str,
    standing: Standing,
    act: str,
    proposal: Proposal,
    detail: dict[str, Any] | None = None,
) -> Step:
    ref = chain_council.ref_of(act, chain, proposal.id, standing.address)
    earlier = OutboxItem.objects.filter(ref=ref).first()
    if earlier is not None and earlier.state != ItemState.FAILED:
        raise HospitalsError("This is on its way already. It counts once the chain has confirmed it.")
    detail = {"proposal": proposal.id, **(detail or {})}
    with transaction.atomic():
        if earlier is not None and bytes(earlier.sender) == standing.address:
            chain_services.failed_retry(ref=ref)
            _log(actor, act, chain, [ref], detail)
            return Step(deployment(chain)["Council"].checksum, "", ref)
        if earlier is not None:
            ref = f"{ref}:{standing.address.hex()[:8]}"
        return _send(actor, chain, standing, act, [bytes.fromhex(proposal.id[2:])], ref=ref, detail=detail)


def _send(
    actor: Actor, chain: str, standing: Standing, act: str, args: list[Any], *, ref: str, detail: dict[str, Any]
) -> Step:
    place = deployment(chain)["Council"]
    data = codec.function("Council", act).encode(args)
    if not standing.is_hosted:
        _log(actor, f"{act}-prepared", chain, [], detail)
        return Step(place.checksum, hex0x(data))
    chain_services.call_enqueue(
        chain=chain, sender=standing.address, contract="Council", function=act, args=args, ref=ref
    )
    _log(actor, act, chain, [ref], detail)
    return Step(place.checksum, hex0x(data), ref)


def _log(actor: Actor, act: str, chain: str, refs: list[str], detail: dict[str, Any]) -> None:
    words = {
        "propose": "proposed",
        "approve": "approved",
        "execute": "executed",
        "cancel": "cancelled",
    }
    name, _, suffix = act.partition("-")
    action = f"releases.{words[name]}" + (f"_{suffix}" if suffix else "")
    audit.append(
        hospital=actor.membership.hospital, actor=actor, action=action, detail={"chain": chain, "refs": refs, **detail}
    )


def _reason(text: str) -> str:
    words = text.strip()
    if len(words) < REASON_LETTERS:
        raise Invalid({"reason": f"Give the reason in at least {REASON_LETTERS} characters."})
    if len(words) > REASON_LETTERS_MAX:
        raise Invalid({"reason": f"Give the reason in at most {REASON_LETTERS_MAX} characters."})
    return words
