"""Two nodes of one chain: what opens a record needs both, and the second reads everything again."""

import secrets

import pytest

from chain import health
from chain.errors import NodesDisagree, RpcInconsistent, RpcUnavailable
from chain.gateway import gateways_close
from chain.indexer import Indexer, events_reset
from chain.models import ChainEvent, ChainState, Finding
from chain.witness import agreed
from tests.fakes.proxy import Http, Proxy

pytestmark = pytest.mark.django_db(transaction=True)


def with_node(settings, name, **changes):
    chains = settings.CHAIN["chains"]
    settings.CHAIN = {**settings.CHAIN, "chains": {**chains, name: {**chains[name], **changes}}}


@pytest.fixture
def proxy(chains):
    found = Proxy(chains["MED"].url)
    yield found
    gateways_close()
    found.close()


@pytest.fixture
def two(hospital, chains, drive, settings, proxy, workers):
    """An organisation on MEDchain, and the proxy as the second node of it; gives the question that is asked."""
    sender = hospital(chains=("MED",))
    drive(projectors=False)
    with_node(settings, "MED", rpc_url_2=proxy.url)
    return lambda: agreed("MED", "Registry", "isActiveMember", sender)


def open_alarms():
    return [(alarm.code, alarm.subject) for alarm in health.alarms("MED") if alarm.code == "nodes_disagree"]


def flip(method, params, answer):
    if method == "eth_call":
        answer["result"] = "0x" + "00" * 31 + ("00" if answer["result"].endswith("1") else "01")


def test_two_honest_nodes_agree(two, proxy):
    assert two() is True
    assert proxy.requests == 1
    assert agreed("MED", "Registry", "isActiveMember", secrets.token_bytes(20)) is False


def test_a_different_answer_is_refused_and_alarms(two, proxy):
    proxy.twist = flip
    with pytest.raises(NodesDisagree):
        two()
    assert open_alarms() == [("nodes_disagree", "Registry.isActiveMember")]
    proxy.honest()
    assert two() is True  # one lie about one question closes only that question; the alarm stays for a day
    assert open_alarms()


def test_a_node_that_is_silent_gives_no_release(two, proxy):
    proxy.spoil = lambda raw: Http(b"no", status=503)
    with pytest.raises(RpcUnavailable):
        two()
    assert not open_alarms()


def test_a_second_node_that_lags_is_no_alarm_but_no_release(two, chains, proxy):
    old = hex(ChainState.objects.get(name="MED").finalized - 1)

    def stale(method, params, answer):
        if method == "eth_getBlockByNumber" and (params[0] == "latest" or int(params[0], 16) > int(old, 16)):
            answer["result"] = chains["MED"].rpc("eth_getBlockByNumber", old, False) if params[0] == "latest" else None

    proxy.twist = stale
    with pytest.raises(RpcInconsistent, match="is behind"):
        two()
    assert not open_alarms()


def test_answers_of_two_heights_are_asked_again_about_one(two, chains, proxy, deployer):
    """A block apart, one says yes and the other no: that is news, not a lie, and it counts as no."""
    head = chains["MED"].head

    def one_behind(method, params, answer):
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            answer["result"] = chains["MED"].rpc("eth_getBlockByNumber", hex(head - 1), False)
        if method == "eth_call" and params[1] == "latest":
            flip(method, params, answer)

    proxy.twist = one_behind
    assert two() is False
    assert not open_alarms()


def test_a_node_on_another_chain_opens_nothing_before_the_index_has_noticed(two, chains, settings, proxy):
    with_node(settings, "MED", rpc_url=proxy.url, rpc_url_2="")
    proxy.twist = lambda method, params, answer: answer.update(result="0x99") if method == "eth_chainId" else None
    with pytest.raises(RpcInconsistent):
        two()
    # Another chain with our chain id and even our addresses: the block that was final here is not there.
    with_node(settings, "MED", rpc_url=chains["SUP"].url, rpc_url_2="")
    with pytest.raises(RpcInconsistent):
        two()


def test_below_finality_nothing_is_released_from_the_first_moment(two, chains, workers, settings):
    """A reorganisation deeper than finality: refused before the index has looked, refused after it has halted."""
    with_node(settings, "MED", rpc_url_2="")
    assert two() is True
    admitted = ChainEvent.objects.filter(chain="MED", name="OrganisationAdmitted").latest("block_number").block_number
    chains["MED"].rpc("anvil_reorg", chains["MED"].head - admitted + 1, [])
    with pytest.raises(RpcInconsistent, match="not on the chain"):
        two()
    assert workers.indexers["MED"].step().kind == "halt"
    with pytest.raises(RpcInconsistent, match="was final here"):
        two()


def test_without_an_index_nothing_is_released(two):
    ChainState.objects.all().delete()
    with pytest.raises(RpcInconsistent, match="no final block"):
        two()


@pytest.mark.parametrize("lie", ["left out", "altered", "invented"])
def test_events_that_the_first_node_left_out_or_altered_are_found(two, chains, drive, settings, proxy, workers, lie):
    """Such a lie looks right by itself. The second node's version shows it, names the block, and closes the gate."""
    with_node(settings, "MED", rpc_url=proxy.url, rpc_url_2=chains["MED"].url)
    seen = []

    def twist(method, params, answer):
        if method != "eth_getLogs" or "toBlock" not in params[0] or not answer["result"]:
            return
        logs = answer["result"]
        seen.append(int(logs[0]["blockNumber"], 16))
        if lie == "left out":
            logs.pop(0)
        elif lie == "altered":
            topics = logs[0]["topics"]
            topics[-1] = topics[-1][:-1] + ("0" if topics[-1][-1] != "0" else "1")
        else:
            logs.append({**logs[0], "logIndex": hex(77)})

    proxy.twist = twist
    events_reset("MED", held=workers.held["indexer", "MED"])
    indexer = Indexer("MED", workers.held["indexer", "MED"])
    kinds = [indexer.step().kind for _ in range(12)]
    assert "range" in kinds and "witness" in kinds and seen
    finding = Finding.objects.get(code="nodes_disagree")
    assert finding.ref == "events" and f"block {seen[0]}," in finding.text
    assert open_alarms() == [("nodes_disagree", "events")]
    with pytest.raises(NodesDisagree):
        two()
    proxy.honest()
    events_reset("MED", held=workers.held["indexer", "MED"])
    indexer = Indexer("MED", workers.held["indexer", "MED"])
    while not indexer.step().is_idle:
        pass
    assert not open_alarms()
    assert two() is True


def test_a_silent_second_node_does_not_hold_up_the_index(two, chains, drive, proxy, workers, settings):
    proxy.spoil = lambda raw: Http(b"", cut_after=0)
    indexer = Indexer("MED", workers.held["indexer", "MED"])
    chains["MED"].mine(3)
    for _ in range(10):
        if indexer.step().is_idle:
            break
    assert ChainState.objects.get(name="MED").cursor_number == chains["MED"].head
    assert not open_alarms()
