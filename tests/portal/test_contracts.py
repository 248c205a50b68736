"""G7: the published contracts, for anybody, always compared with the chains."""

import json

import pytest
from django.urls import reverse
from eth_utils import keccak

from chain import codec, council
from chain import selectors as chain_selectors
from chain.artefacts import NAMES, deployment, deployment_path
from chain.deploying import write_durably
from chain.errors import DeploymentMismatch
from chain.gateway import checksum, gateway
from chain.identity import verify_deployment
from chain.services import call_enqueue
from chain.types import hex0x
from hospitals import services
from hospitals.actors import member_actor
from tests.council import CHAIN

pytestmark = [pytest.mark.django_db, pytest.mark.chain, pytest.mark.scenario("G7")]
API = "/api/v1/contracts/"


def rows(client, **wanted):
    found = client.get(API).json()
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


@pytest.fixture
def kept_record(chains):
    """What a test writes into the deployments files is taken back."""
    paths = [deployment_path(anvil.chain_id) for anvil in chains.values()]
    before = {path: path.read_text() for path in paths}
    yield
    for path, text in before.items():
        path.write_text(text)


def test_a_stranger_gets_everything_to_check_it_alone(client, drive, chains):
    drive()
    found = rows(client)
    assert [row["name"] for row in found] == [*NAMES, *NAMES]
    for row in found:
        anvil = chains[row["chain"]]
        code = bytes.fromhex(anvil.rpc("eth_getCode", row["address"], "latest")[2:])
        assert hex0x(keccak(code)) == row["code_hash"] and row["chain_id"] == anvil.chain_id
        receipt = anvil.rpc("eth_getTransactionReceipt", row["deploy_tx_hash"])
        assert int(receipt["blockNumber"], 16) == row["block_number"]
        assert receipt["contractAddress"].lower() == row["address"].lower()
        assert (row["state"], row["version"], row["is_current"], row["approvals"]) == ("match", 1, True, [])
        announced = row["announcement"]
        assert (announced is None) == (row["name"] == "AccessManager")
        if announced:
            assert announced["is_founding"]
            said = gateway(row["chain"]).call("Registry", "releaseOf", row["name"].encode().ljust(32, b"\0"))
            assert (said[0], checksum(said[1]), hex0x(said[2])) == (1, row["address"], row["code_hash"])
    page = client.get(reverse("public:contracts")).content.decode()
    for row in found:
        assert row["address"] in page and row["code_hash"] in page
    assert "2 of 3 officers" in page and "Does not match" not in page


def test_foreign_code_is_shown_raises_the_alarm_and_stops_writing(client, drive, chains, people, workers, deployer):
    drive()
    place = deployment(CHAIN)["Consents"]
    chains[CHAIN].rpc("anvil_setCode", place.checksum, "0x6001")
    assert [row["name"] for row in rows(client, state="mismatch")] == ["Consents"]
    for url, browser in (
        (reverse("public:contracts"), client),
        (reverse("regulator:contracts"), people.client(people.reg)),
    ):
        assert browser.get(url).content.decode().count("Does not match") == 1
    alarm = next(alarm for alarm in chain_selectors.alarms(CHAIN) if alarm.code == "foreign_code")
    assert place.checksum in alarm.message
    args = [b"\1" * 20, 1, b"\1" * 32]
    call_enqueue(
        chain=CHAIN, sender=deployer, contract="Registry", function="admitOrganisation", args=args, ref="stopped"
    )
    workers.senders[CHAIN]._verified_at = None  # a minute later
    with pytest.raises(DeploymentMismatch, match="foreign code"):
        workers.send(CHAIN)
    assert chain_selectors.item("stopped").state == "queued"


@pytest.mark.parametrize("name", ["AccessManager", "Council", "Registry", "AnchorLog", "AccessLog", "RecordStore"])
def test_foreign_code_at_any_contract_is_seen(client, drive, chains, name):
    drive()
    chains["SUP"].rpc("anvil_setCode", deployment("SUP")[name].checksum, "0x6001")
    assert [(row["chain"], row["name"]) for row in rows(client, state="mismatch")] == [("SUP", name)]


def test_a_record_that_names_another_address_is_not_announced(client, drive, chains, kept_record):
    """Somebody swaps address and code hash in the file: the code fits the file, the chain never announced it."""
    drive()
    path = deployment_path(31338)
    record = json.loads(path.read_text())
    other = record["contracts"]["AnchorLog"]
    record["contracts"]["AccessLog"] = {**record["contracts"]["AccessLog"]} | {
        name: other[name] for name in ("address", "code_hash")
    }
    write_durably(path, record)
    assert [row["name"] for row in rows(client, state="unannounced")] == ["AccessLog"]
    assert "Not announced on the chain" in client.get(reverse("public:contracts")).content.decode()
    (alarm,) = [alarm for alarm in chain_selectors.alarms(CHAIN) if alarm.code == "foreign_code"]
    assert "AccessLog" in alarm.message and "never announced" in alarm.message
    with pytest.raises(DeploymentMismatch, match="never announced version 1 of AccessLog"):
        verify_deployment(CHAIN)
    assert verify_deployment("SUP")


def test_a_silent_node_never_gives_a_match(client, drive, settings):
    drive()
    settings.CHAIN = {
        **settings.CHAIN,
        "chains": {
            **settings.CHAIN["chains"],
            "MED": {**settings.CHAIN["chains"]["MED"], "rpc_url": "http://127.0.0.1:9"},
        },
    }
    assert {row["state"] for row in rows(client, chain="MED")} == {"down"}
    assert {row["state"] for row in rows(client, chain="SUP")} == {"match"}
    assert "Not answering" in client.get(reverse("public:contracts")).content.decode()


@pytest.mark.scenario("G4")
def test_officers_change_by_the_council_alone_and_old_approvals_stop_counting(people, officers, drive, waited, client):
    table = [member_actor(member) for member in officers(people.authority)]
    addresses = [bytes(actor.membership.chain_address) for actor in table]
    place = deployment(CHAIN)
    # One proposal still has only the approval of the officer who will leave.
    closing = codec.function("AccessManager", "setTargetClosed").encode([place["Consents"].address, True])
    change = codec.function("Council", "setOfficers").encode([addresses[1:], 2])
    for ref, sender, target, data in (
        ("left", addresses[0], place["AccessManager"].address, closing),
        ("change", addresses[1], place["Council"].address, change),
    ):
        args = [target, data, b"r" * 32]
        call_enqueue(chain=CHAIN, sender=sender, contract="Council", function="propose", args=args, ref=ref)
        drive()
    changing, left = council.proposals(CHAIN)
    assert (changing.function, left.function) == ("setOfficers", "setTargetClosed")
    page = people.client(table[0].user)
    assert "Change the officers" in page.get(reverse("regulator:releases")).content.decode()
    services.release_approve(actor=table[2], chain=CHAIN, proposal_id=changing.id)
    drive()
    waited()
    services.release_execute(actor=table[2], chain=CHAIN, proposal_id=changing.id)
    drive()
    decided = council.council(CHAIN)
    assert decided.officers == tuple(checksum(address) for address in addresses[1:]) and decided.threshold == 2
    left = council.proposal(CHAIN, left.id)
    assert (left.approval_count, [act.officer for act in left.approvals]) == (0, [None])
    text = page.get(reverse("regulator:release", args=[CHAIN, left.id])).content.decode()
    assert "You are not one of the officers" in text and "no officer any more" in text
    services.release_approve(actor=table[1], chain=CHAIN, proposal_id=left.id)
    drive()
    assert council.proposal(CHAIN, left.id).state == "proposed"
    services.release_approve(actor=table[2], chain=CHAIN, proposal_id=left.id)
    drive()
    assert council.proposal(CHAIN, left.id).state == "scheduled"
    (alarm,) = [alarm for alarm in chain_selectors.alarms(CHAIN) if alarm.code == "release_waiting"]
    assert "setTargetClosed" in alarm.message and alarm.subject == left.id


@pytest.mark.scenario("G4")
def test_a_deployment_from_before_the_council_says_so(people, drive, kept_record, chains):
    drive()
    for anvil in chains.values():
        path = deployment_path(anvil.chain_id)
        record = json.loads(path.read_text())
        del record["contracts"]["Council"]
        write_durably(path, record)
    assert council.council(CHAIN) is None and council.proposals(CHAIN) == []
    text = people.client(people.reg).get(reverse("regulator:releases")).content.decode()
    assert "No council is final on this chain yet" in text
    assert people.client(people.reg).get(reverse("regulator:contracts")).status_code == 200
