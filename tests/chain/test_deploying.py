"""The deployment: once, resumable at every step, and checked against the chain at every start."""

import json
import secrets

import pytest
from django.core.management import CommandError, call_command
from eth_utils import keccak, to_checksum_address

from chain import deploying, failpoints, releasing, selectors
from chain.artefacts import NAMES, deployment, deployment_path
from chain.deploying import deploy, steps
from chain.errors import DeploymentMismatch, RpcUnavailable
from chain.gateway import Gateway, address_of, gateway, gateways_close
from chain.identity import verify_deployment
from chain.leases import lease_take
from chain.sending import Sender
from chain.services import transfer_enqueue
from chain.types import hex0x
from tests.chain_fixtures import Anvil

pytestmark = [pytest.mark.django_db, pytest.mark.chain, pytest.mark.scenario("O12")]


@pytest.fixture
def fresh(settings, tmp_path):
    """An empty SUP chain and a deployer with money."""
    anvil = Anvil("SUP", 31337, tmp_path).start()
    key = secrets.token_bytes(32)
    (tmp_path / "deployer.key").write_text("0x" + key.hex() + "\n")
    settings.CHAIN = {
        **settings.CHAIN,
        "chains": {"SUP": {**settings.CHAIN["chains"]["SUP"], "rpc_url": anvil.url}},
        "deployments_dir": tmp_path / "deployments",
        "deployer_key_file": tmp_path / "deployer.key",
    }
    anvil.deployer = address_of(key)
    anvil.fund(anvil.deployer)
    yield anvil
    gateways_close()
    anvil.stop()


def test_run_again_changes_nothing(fresh, capsys):
    assert deploy("SUP", wait=fresh.mine)
    path = deployment_path(31337)
    before, nonce = path.read_bytes(), fresh.nonce(fresh.deployer)
    assert nonce == len(steps())
    call_command("chain_deploy", chain="SUP")
    assert "unchanged" in capsys.readouterr().out
    assert (path.read_bytes(), fresh.nonce(fresh.deployer)) == (before, nonce)
    recorded = json.loads(before)
    assert recorded["chain_id"] == 31337 and set(recorded["contracts"]) == set(NAMES)
    for name, item in recorded["contracts"].items():
        assert item["abi"] == f"contracts/build/{name}.json"
        assert item["compiler"]["version"].startswith("0.8.37")
        assert gateway("SUP").receipt(bytes.fromhex(item["tx_hash"][2:])).block_number == item["block_number"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("where", ["before_send", "after_send"])
@pytest.mark.parametrize("step", [1, 2, 7, 8, 14, 21])
def test_killed_half_way_it_finishes(fresh, monkeypatch, step, where):
    real, count = Gateway.send_raw, 0

    def send(self, raw):
        nonlocal count
        count += 1
        if count < step:
            return real(self, raw)
        if where == "after_send":
            real(self, raw)
        raise Killed

    monkeypatch.setattr(Gateway, "send_raw", send)
    with pytest.raises(Killed):
        deploy("SUP", wait=fresh.mine)
    monkeypatch.undo()
    assert not deployment_path(31337).exists()
    gateways_close()
    assert deploy("SUP", wait=fresh.mine)
    assert fresh.nonce(fresh.deployer) == len(steps())
    verify_deployment("SUP")
    assert not deployment_path(31337).with_suffix(".journal.json").exists()


def test_a_journal_that_lost_its_chain_is_refused(fresh, monkeypatch):
    monkeypatch.setattr(Gateway, "send_raw", lambda self, raw: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        deploy("SUP", wait=fresh.mine)
    monkeypatch.undo()
    journal = deployment_path(31337).with_suffix(".journal.json")
    journal.write_text(journal.read_text().replace('"genesis_hash": "0x', '"genesis_hash": "0x00', 1))
    with pytest.raises(DeploymentMismatch, match="another chain"):
        deploy("SUP", wait=fresh.mine)


def test_a_next_version_stands_beside_the_first(fresh):
    deploy("SUP", wait=fresh.mine)
    first = deployment("SUP")["AnchorLog"].address
    assert deploy("SUP", again=True, wait=fresh.mine)
    second = deployment("SUP")["AnchorLog"]
    assert second.version == 2 and second.address != first
    assert gateway("SUP").code(first)
    assert [item.version for item in deployment("SUP").previous] == [1] * len(NAMES)
    assert deployment("SUP").names[first] == deployment("SUP").names[second.address] == "AnchorLog"
    verify_deployment("SUP")


def test_killed_between_record_and_journal_the_record_stays_as_it_is(fresh):
    def die(name):
        if name == "deploy.recorded":
            raise Killed

    failpoints.arm(die)
    try:
        with pytest.raises(Killed):
            deploy("SUP", wait=fresh.mine)
    finally:
        failpoints.arm(None)
    before = deployment_path(31337).read_bytes()
    assert deploy("SUP", wait=fresh.mine)
    assert deployment_path(31337).read_bytes() == before and deployment("SUP").previous == ()


@pytest.mark.scenario("G4")
def test_officers_by_address_keep_their_own_keys(fresh, settings, tmp_path):
    officers = [to_checksum_address(secrets.token_bytes(20)) for _ in range(5)]
    settings.CHAIN = {
        **settings.CHAIN,
        "council_officers": tuple(officers),
        "council_threshold": 3,
        "council_delay_seconds": 172_800,
    }
    deploy("SUP", wait=fresh.mine)
    node, place = gateway("SUP"), deployment("SUP")
    assert [to_checksum_address(address) for address in node.call("Council", "officers")] == officers
    assert node.call("Council", "threshold") == 3
    for role in (deploying.ADMIN_ROLE, deploying.RELEASE_ROLE):
        assert node.call("AccessManager", "hasRole", role, place["Council"].address) == (True, 172_800)
        assert node.call("AccessManager", "hasRole", role, fresh.deployer) == (False, 0)
    assert node.call("AccessManager", "hasRole", deploying.REGULATOR_ROLE, fresh.deployer) == (True, 0)
    assert node.call("Registry", "organisationStatus", fresh.deployer) == (deploying.REGULATOR_KIND, 1)
    assert list(tmp_path.glob("officer-*")) == []


@pytest.mark.scenario("G4")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"council_officers": ("0x" + "11" * 20,)}, "two or more"),
        ({"council_officers": ("0x" + "11" * 20, "0x" + "11" * 20)}, "two or more"),
        ({"council_officers": ("0x" + "11" * 20, "somebody")}, "not an address"),
        ({"council_threshold": 1}, "2 to 3 have to approve, not 1"),
        ({"council_threshold": 4}, "2 to 3 have to approve, not 4"),
        ({"council_delay_seconds": 0}, "waiting time"),
    ],
)
def test_a_council_in_which_one_key_is_enough_is_refused_before_anything_is_sent(fresh, settings, changes, message):
    settings.CHAIN = {**settings.CHAIN, **changes}
    with pytest.raises(DeploymentMismatch, match=message):
        deploy("SUP", wait=fresh.mine)
    assert fresh.nonce(fresh.deployer) == 0 and not deployment_path(31337).with_suffix(".journal.json").exists()


def test_keys_of_officers_are_made_once_and_for_their_owner_only(fresh, tmp_path):
    first = deploying.officer_keys()
    assert len(set(first)) == 3 and deploying.officer_keys() == first
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("officer-*.key")} == {0o600}


@pytest.mark.scenario("G4")
def test_what_was_not_announced_or_is_not_ours_is_not_adopted(fresh, capsys, monkeypatch):
    deploy("SUP", wait=fresh.mine)
    monkeypatch.setattr(releasing, "pause", fresh.mine)
    monkeypatch.setitem(releasing.candidate_deploy.__kwdefaults__, "wait", fresh.mine)
    call_command("chain_deploy", chain="SUP", candidate="AnchorLog")
    said = capsys.readouterr().out
    item = deployment("SUP").candidates[0]
    assert item.checksum in said and hex0x(item.code_hash) in said and item.version == 2
    call_command("chain_deploy", chain="SUP", adopt=True)
    assert "unchanged" in capsys.readouterr().out
    fresh.mine(4)
    node = gateway("SUP")
    real = Gateway.call

    def announcing(address, code_hash):
        def call(self, contract, function, *args, **options):
            if function == "releaseOf" and args[0].startswith(b"AnchorLog"):
                return 2, address, code_hash
            return real(self, contract, function, *args, **options)

        monkeypatch.setattr(Gateway, "call", call)

    announcing(item.address, b"x" * 32)
    with pytest.raises(CommandError, match="not what was announced"):
        call_command("chain_deploy", chain="SUP", adopt=True)
    foreign = deployment("SUP")["Consents"].address
    announcing(foreign, keccak(node.code(foreign)))
    with pytest.raises(CommandError, match="install the portal version"):
        call_command("chain_deploy", chain="SUP", adopt=True)
    record = json.loads(deployment_path(31337).read_text())
    deploying.write_durably(deployment_path(31337), {**record, "candidates": []})
    announcing(item.address, item.code_hash)
    with pytest.raises(CommandError, match="not recorded here"):
        call_command("chain_deploy", chain="SUP", adopt=True)
    deploying.write_durably(deployment_path(31337), record)
    call_command("chain_deploy", chain="SUP", adopt=True)
    assert "in use from now on" in capsys.readouterr().out
    place = deployment("SUP")
    assert place["AnchorLog"].address == item.address and place["AnchorLog"].version == 2
    assert [old.version for old in place.previous] == [1]
    # Only the answer above was made up: the registry itself never announced it, and so nothing is written.
    with pytest.raises(DeploymentMismatch, match="never announced version 2"):
        verify_deployment("SUP")


def test_a_reset_chain_is_refused_with_what_to_do(fresh):
    deploy("SUP", wait=fresh.mine)
    fresh.rpc("anvil_reset")
    with pytest.raises(DeploymentMismatch, match="(?i)bring"):
        verify_deployment("SUP")
    for command in ("chain_send", "chain_index", "chain_reindex"):
        with pytest.raises(CommandError, match="SUP"):
            call_command(command, chain="SUP", **({} if command == "chain_reindex" else {"once": True}))


@pytest.mark.scenario("G7")
def test_foreign_code_is_seen_and_stops_writing(fresh):
    deploy("SUP", wait=fresh.mine)
    assert all(item.is_matching for item in selectors.contracts("SUP"))
    place = deployment("SUP")["Consents"]
    fresh.rpc("anvil_setCode", place.checksum, "0x6001")
    with pytest.raises(DeploymentMismatch, match="foreign code"):
        verify_deployment("SUP")
    assert [item.name for item in selectors.contracts("SUP") if not item.is_matching] == ["Consents"]
    assert "foreign_code" in [alarm.code for alarm in selectors.alarms("SUP")]
    transfer_enqueue(chain="SUP", sender=fresh.deployer, to=b"\1" * 20, value=1, ref="stopped")
    with pytest.raises(DeploymentMismatch, match="foreign code"):
        Sender("SUP", lease_take(name="sender:SUP", holder="test", seconds=60)).step()
    assert selectors.item("stopped").state == "queued"
    fresh.rpc("anvil_setCode", place.checksum, "0x")
    with pytest.raises(DeploymentMismatch, match="missing"):
        verify_deployment("SUP")
    with pytest.raises(DeploymentMismatch, match="nothing answers"):
        gateway("SUP").call("Consents", "stateOf", b"\1" * 32)


def test_wrong_chain_id_missing_key_and_nothing_recorded(fresh, settings, tmp_path):
    with pytest.raises(DeploymentMismatch, match="chain_deploy"):
        verify_deployment("SUP")
    sup = {**settings.CHAIN["chains"]["SUP"], "chain_id": 5}
    settings.CHAIN = {**settings.CHAIN, "chains": {"SUP": sup}}
    with pytest.raises(CommandError, match="31337"):
        call_command("chain_deploy", chain="SUP")
    for content, message in ((None, "missing"), ("nonsense", "hex")):
        path = tmp_path / "deployer.key"
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(CommandError, match=message):
            call_command("chain_deploy", chain="SUP")


def test_an_unreachable_chain_is_one_sentence(fresh):
    fresh.stop()
    with pytest.raises(CommandError, match="SUP: ConnectError"):
        call_command("chain_deploy", chain="SUP")
    with pytest.raises(RpcUnavailable):
        gateway("SUP").head()


def test_a_half_written_record_never_shows(tmp_path, monkeypatch):
    path = tmp_path / "1.json"
    deploying.write_durably(path, {"a": 1})
    monkeypatch.setattr(deploying.json, "dumps", lambda *a, **k: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        deploying.write_durably(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
