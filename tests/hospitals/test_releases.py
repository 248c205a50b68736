"""G4: a new contract version takes several officers and time; nobody can do it alone, anybody of them can stop it."""

from datetime import timedelta

import pytest

from chain import codec, council, deploying, releasing
from chain import selectors as chain_selectors
from chain.artefacts import deployment
from chain.gateway import gateway
from chain.models import OutboxItem
from chain.published import published
from chain.services import call_enqueue
from hospitals import services
from hospitals.actors import member_actor
from hospitals.errors import HospitalsError, Invalid, NotFound, Refused
from hospitals.models import AuditEntry, KeyRecord
from hospitals.tenancy import tenant
from tests.council import CHAIN, REASON, newest

pytestmark = [pytest.mark.django_db, pytest.mark.chain, pytest.mark.scenario("G4", "G8")]


@pytest.fixture
def table(people, officers):
    return [member_actor(member) for member in officers(people.authority)]


def propose(actor, item, reason=REASON):
    return services.release_propose(actor=actor, chain=CHAIN, contract=item.name, address=item.checksum, reason=reason)


def announced(name="AnchorLog"):
    return gateway(CHAIN).call("Registry", "releaseOf", name.encode().ljust(32, b"\0"))


def test_two_officers_and_a_waiting_time_make_a_release(people, table, candidate, drive, waited):
    item = candidate()
    first, second, third = table
    propose(first, item)
    drive()
    row = newest()
    assert (row.state, row.reason, row.release_name, row.args["version"]) == ("proposed", REASON, "AnchorLog", 2)
    assert row.proposed.officer == 1 and [act.officer for act in row.approvals] == [1]
    with pytest.raises(HospitalsError, match="Another officer"):
        services.release_approve(actor=first, chain=CHAIN, proposal_id=row.id)
    with pytest.raises(HospitalsError, match="cannot be put into effect"):
        services.release_execute(actor=first, chain=CHAIN, proposal_id=row.id)
    services.release_approve(actor=second, chain=CHAIN, proposal_id=row.id)
    with pytest.raises(HospitalsError, match="on its way"):
        services.release_approve(actor=second, chain=CHAIN, proposal_id=row.id)
    with pytest.raises(HospitalsError, match="Enough approvals"):
        services.release_approve(actor=third, chain=CHAIN, proposal_id=row.id)
    drive()
    row = newest()
    assert row.state == "scheduled" and row.executable_at - row.approvals[-1].at == timedelta(seconds=60)
    with pytest.raises(HospitalsError, match="waiting time is not over"):
        services.release_execute(actor=second, chain=CHAIN, proposal_id=row.id)
    assert announced()[0] == 1
    waited()
    assert newest().state == "ready" and announced()[0] == 1
    services.release_execute(actor=third, chain=CHAIN, proposal_id=row.id)
    drive()
    row = newest()
    assert row.state == "executed" and announced() == (2, item.address, item.code_hash)
    shown = [entry for entry in published(CHAIN) if entry.name == "AnchorLog"]
    assert [(entry.version, entry.is_current, entry.state) for entry in shown] == [
        (1, True, "match"),
        (2, False, "match"),
    ]
    assert [act.officer for act in shown[1].announcement.approvals] == [1, 2]
    assert shown[0].announcement.proposal is None and shown[0].announcement.approvals == ()
    with tenant(people.authority):
        acts = list(AuditEntry.objects.filter(action__startswith="releases.").order_by("seq"))
    assert [entry.action for entry in acts] == ["releases.proposed", "releases.approved", "releases.executed"]
    assert REASON not in str([entry.detail for entry in acts])
    assert not OutboxItem.objects.filter(state="failed").exists()


def test_any_single_officer_stops_it_with_a_reason(table, candidate, drive, waited):
    propose(table[0], candidate())
    drive()
    services.release_approve(actor=table[1], chain=CHAIN, proposal_id=newest().id)
    drive()
    waited()
    row = newest()
    assert row.state == "ready"
    with pytest.raises(Invalid, match="at least 10"):
        services.release_cancel(actor=table[2], chain=CHAIN, proposal_id=row.id, reason="no")
    services.release_cancel(actor=table[2], chain=CHAIN, proposal_id=row.id, reason="The audit found a mistake.")
    drive()
    row = newest()
    assert (row.state, row.ended.officer, row.ended_reason) == ("cancelled", 3, "The audit found a mistake.")
    for act in (services.release_execute, services.release_approve):
        with pytest.raises(HospitalsError):
            act(actor=table[0], chain=CHAIN, proposal_id=row.id)
    assert announced()[0] == 1


def test_nobody_else_decides(people, table, candidate, drive):
    item = candidate()
    for person in (people.alice, people.hana, people.boris):
        with pytest.raises(Refused):
            propose(people.actor(person), item)
    with pytest.raises(Refused, match="not one of the officers"):
        propose(people.actor(people.reg), item)
    propose(table[0], item)
    drive()
    row = newest()
    for act in (services.release_approve, services.release_execute):
        with pytest.raises(Refused):
            act(actor=people.actor(people.reg), chain=CHAIN, proposal_id=row.id)
    with pytest.raises(NotFound):
        services.release_approve(actor=table[1], chain=CHAIN, proposal_id="0x" + "00" * 32)


@pytest.mark.parametrize(
    ("who", "contract", "function", "refusal"),
    [
        ("deployer", "Registry", "announceRelease", "AccessManagedUnauthorized"),
        ("deployer", "AccessManager", "grantRole", "AccessManagerUnauthorizedAccount"),
        ("deployer", "AccessManager", "schedule", "AccessManagerUnauthorizedCall"),
        ("officer", "Registry", "announceRelease", "AccessManagedUnauthorized"),
        ("officer", "AccessManager", "grantRole", "AccessManagerUnauthorizedAccount"),
        ("officer", "Council", "setOfficers", "CouncilNotItself"),
        ("deployer", "Council", "propose", "CouncilNotOfficer"),
        ("officer", "Registry", "suspendOrganisation", "AccessManagedUnauthorized"),
    ],
)
def test_no_single_key_can_do_it_alone(table, candidate, deployer, drive, who, contract, function, refusal):
    """Straight at the contracts, past every page."""
    item = candidate()
    officer = bytes(table[0].membership.chain_address)
    name = b"AnchorLog".ljust(32, b"\0")
    release = [name, 2, item.address, item.code_hash]
    data = codec.function("Registry", "announceRelease").encode(release)
    registry = deployment(CHAIN)["Registry"].address
    args = {
        "announceRelease": release,
        "grantRole": [deploying.RELEASE_ROLE, officer, 0],
        "schedule": [registry, data, 0],
        "setOfficers": [[officer], 1],
        "propose": [registry, data, b"r" * 32],
        "suspendOrganisation": [deployer],
    }[function]
    sender = deployer if who == "deployer" else officer
    call_enqueue(chain=CHAIN, sender=sender, contract=contract, function=function, args=args, ref="alone")
    drive()
    found = chain_selectors.item("alone")
    assert found.state == "failed" and refusal in found.error
    assert announced()[0] == 1 and council.proposals(CHAIN) == []


def test_what_cannot_be_announced_is_said_before_a_transaction_is_spent(table, candidate, chains, people):
    actor = table[0]
    current = deployment(CHAIN)["AnchorLog"].checksum
    for address, words in (
        ("nonsense", "Enter an address"),
        ("0x" + "12" * 20, "no contract at this address"),
        (current, "announced before"),
    ):
        with pytest.raises(Invalid, match=words):
            services.release_propose(actor=actor, chain=CHAIN, contract="AnchorLog", address=address, reason=REASON)
    with pytest.raises(Invalid, match="at least 10"):
        propose(actor, candidate(), reason="because")
    assert OutboxItem.objects.filter(ref__startswith="council:").count() == 0
    assert releasing.candidate_at(CHAIN, "AnchorLog", deployment(CHAIN)["Consents"].checksum).is_built_here is False
    assert releasing.candidate_at(CHAIN, "AnchorLog", candidate().checksum).is_built_here is True


def test_a_proposal_that_nobody_carries_out_runs_out(table, candidate, drive, waited, chains):
    item = candidate()
    propose(table[0], item)
    drive()
    services.release_approve(actor=table[1], chain=CHAIN, proposal_id=newest().id)
    drive()
    waited()
    waited(seconds=8 * 86400)
    row = newest()
    assert row.state == "lapsed"
    with pytest.raises(HospitalsError, match="run out"):
        services.release_execute(actor=table[0], chain=CHAIN, proposal_id=row.id)
    propose(table[0], item, reason="The same once more.")
    drive()
    services.release_approve(actor=table[2], chain=CHAIN, proposal_id=newest().id)
    drive()
    waited()
    services.release_execute(actor=table[0], chain=CHAIN, proposal_id=newest().id)
    drive()
    assert announced()[0] == 2 and [row.state for row in council.proposals(CHAIN)] == ["executed", "lapsed"]


def test_an_officer_with_an_own_wallet_gets_the_call_to_send(people, table, candidate, drive, chains):
    """Production: the portal knows the address and never the key."""
    member = table[1].membership
    propose(table[0], candidate())
    drive()
    KeyRecord.objects.filter(address=bytes(member.chain_address)).delete()
    step = services.release_approve(actor=table[1], chain=CHAIN, proposal_id=newest().id)
    assert step.ref == "" and step.to == deployment(CHAIN)["Council"].checksum
    sender = "0x" + bytes(member.chain_address).hex()
    chains[CHAIN].rpc("anvil_impersonateAccount", sender)
    chains[CHAIN].rpc("eth_sendTransaction", {"from": sender, "to": step.to, "data": step.data, "gasPrice": "0x0"})
    drive()
    assert newest().state == "scheduled" and [act.officer for act in newest().approvals] == [1, 2]
