"""G4: grants, anchors and receipts before, during and after a release; and a closed authority stops nobody's rights."""

import io
import json

import pytest

from chain import codec, council, releasing
from chain import selectors as chain_selectors
from chain.artefacts import deployment
from chain.gateway import gateway
from chain.identity import verify_deployment
from chain.indexer import Indexer, events_reset
from chain.models import ChainEvent
from chain.services import call_enqueue
from hospitals import services as hospital_services
from hospitals.actors import Actor, member_actor
from hospitals.tenancy import all_tenants, tenant
from records import receipts, services
from records.errors import NotFound
from records.models import RecordVersion
from records.verification import verify_receipt as checker
from tests.council import CHAIN, REASON, newest
from tests.records.conftest import NOTE
from tests.records.test_gate import day, read, share

pytestmark = [pytest.mark.django_db, pytest.mark.chain, pytest.mark.scenario("G4")]


def receipt_of(cast, version):
    with all_tenants("test"):
        version = RecordVersion.objects.select_related("record__patient", "record__hospital").get(pk=version.pk)
    return receipts.receipt_bytes(receipts.receipt_build(actor=Actor(cast.pat), version=version))


@pytest.fixture
def is_authentic(chains, client):
    """Call it to check a receipt as a stranger does: the offline program, both nodes, the published list; and the
    page's question for each anchor."""

    def check(data):
        trust = client.get("/verify/trust.json").json()
        nodes = [chain.url for chain in chains.values()]
        report = checker.check_receipt(data, io.BytesIO(NOTE), rpc_urls=nodes, trust=trust)
        receipt = json.loads(data)
        for anchor in receipt["anchors"]:
            query = {name: anchor[name] for name in ("chain", "root", "contract")} | {"leaf": receipt["leaf"]}
            answer = client.get("/verify/chain", query).json()
            if not answer["is_known"] or answer["anchored"]["block_number"] != anchor["block_number"]:
                return f"the page does not know the anchor on {anchor['chain']}"
        return report.verdict

    return check


class Portal:
    """Everything a patient relies on, tried once."""

    def __init__(self, cast, made, settle, is_authentic):
        self.cast, self.made, self.settle, self.is_authentic = cast, made, settle, is_authentic
        self.dora = member_actor(cast.dora)
        self.kept = []

    def lives(self):
        version = self.made(self.cast.alice, self.cast.pat_a, chains="BOTH")
        self.settle()
        self.kept.append(receipt_of(self.cast, version))
        grant = share(self.cast, self.cast.dora, scope_type="record", scope_value=str(version.record_id))
        with pytest.raises(NotFound):
            read(self.dora, version)
        self.settle()
        assert read(self.dora, version) == NOTE
        with tenant(self.cast.a):
            services.grant_revoke(actor=Actor(self.cast.pat), grant=grant)
        with pytest.raises(NotFound):
            read(self.dora, version)
        self.settle()
        with all_tenants("test"):
            grant.refresh_from_db()
        assert grant.state == "revoked"
        assert [self.is_authentic(data) for data in self.kept] == ["authentic"] * len(self.kept)

    def anchored_on(self, chain):
        (anchor,) = (item for item in json.loads(self.kept[-1])["anchors"] if item["chain"] == chain)
        return anchor["contract"]


def test_before_during_and_after_a_release_everything_works(
    cast, made, settle, chains, officers, candidate, drive, waited, workers, is_authentic
):
    table = [member_actor(member) for member in officers(cast.authority)]
    portal = Portal(cast, made, settle, is_authentic)
    standing = share(cast, cast.dora, scope_value="imaging", expires_at=day(30))
    portal.lives()
    shared = made(cast.alice, cast.pat_a, category="imaging")
    settle()
    first = deployment(CHAIN)["AnchorLog"]

    item = candidate()
    hospital_services.release_propose(
        actor=table[0], chain=CHAIN, contract="AnchorLog", address=item.checksum, reason=REASON
    )
    portal.lives()
    hospital_services.release_approve(actor=table[1], chain=CHAIN, proposal_id=newest().id)
    portal.lives()
    waited()
    portal.lives()
    hospital_services.release_execute(actor=table[2], chain=CHAIN, proposal_id=newest().id)
    drive()
    assert newest().state == "executed"
    portal.lives()
    assert bytes.fromhex(portal.anchored_on(CHAIN)[2:]) == first.address

    # The operator moves the portal to it: the record is changed, the parts start again, the index is read anew.
    assert [row.contract for row in releasing.adopt(CHAIN)] == ["AnchorLog"]
    assert releasing.adopt(CHAIN) == []
    assert verify_deployment(CHAIN)["AnchorLog"].version == 2
    events_reset(CHAIN, held=workers.held["indexer", CHAIN])
    workers.indexers[CHAIN] = Indexer(CHAIN, workers.held["indexer", CHAIN])
    drive()
    portal.lives()
    assert bytes.fromhex(portal.anchored_on(CHAIN)[2:]) == item.address
    assert read(portal.dora, shared) == NOTE
    with all_tenants("test"):
        standing.refresh_from_db()
    assert standing.state == "active"
    anchored = ChainEvent.objects.filter(chain=CHAIN, contract="AnchorLog", name="Anchored", is_canonical=True)
    assert {bytes(address) for address in anchored.values_list("address", flat=True)} == {first.address, item.address}
    assert [alarm.code for alarm in chain_selectors.alarms(CHAIN)] == []


def test_with_the_authority_closed_everything_that_protects_a_patient_goes_on(
    cast, made, settle, officers, drive, waited, deployer, is_authentic
):
    """The council closes every contract in the AccessManager, and the regulator can do nothing any more."""
    first, second, _ = officers(cast.authority)
    portal = Portal(cast, made, settle, is_authentic)
    open_grant = share(cast, cast.dora)
    lab = made(cast.alice, cast.pat_a)
    settle()
    assert read(portal.dora, lab) == NOTE
    place = deployment(CHAIN)
    names = ("Registry", "Consents", "AnchorLog", "AccessLog", "RecordStore")
    for name in names:
        data = codec.function("AccessManager", "setTargetClosed").encode([place[name].address, True])
        args = [place["AccessManager"].address, data, b"r" * 32]
        call_enqueue(
            chain=CHAIN,
            sender=bytes(first.chain_address),
            contract="Council",
            function="propose",
            args=args,
            ref=f"close:{name}",
        )
    drive()
    for row in council.proposals(CHAIN):
        hospital_services.release_approve(actor=member_actor(second), chain=CHAIN, proposal_id=row.id)
    drive()
    waited()
    for row in council.proposals(CHAIN):
        hospital_services.release_execute(actor=member_actor(second), chain=CHAIN, proposal_id=row.id)
    drive()
    assert {row.state for row in council.proposals(CHAIN)} == {"executed"}
    closed = [gateway(CHAIN).call("AccessManager", "isTargetClosed", place[name].address) for name in names]
    assert closed == [True] * len(names)
    call_enqueue(
        chain=CHAIN,
        sender=deployer,
        contract="Registry",
        function="suspendOrganisation",
        args=[bytes(cast.b.account_address)],
        ref="regulator",
    )
    drive()
    assert "AccessManagedUnauthorized" in chain_selectors.item("regulator").error
    with tenant(cast.a):
        services.grant_revoke(actor=Actor(cast.pat), grant=open_grant)
    settle()
    with all_tenants("test"):
        open_grant.refresh_from_db()
    assert open_grant.state == "revoked"
    portal.lives()
