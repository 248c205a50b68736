"""A node that lies, drips, floods or is gone; every answer becomes one typed error."""

import gzip
import json
import time

import pytest

from chain.conf import ChainConf, Finality
from chain.errors import (
    AccountNonceTooLow,
    AlreadyKnown,
    InsufficientFunds,
    Reverted,
    RpcInconsistent,
    RpcLimited,
    RpcRefused,
    RpcUnavailable,
    TxUnderpriced,
    rpc_error,
)
from chain.gateway import Gateway, int_of, number_of, time_of
from chain.rpc import Call, Rpc
from tests.fakes.geth import FakeGeth


@pytest.fixture
def fake():
    node = FakeGeth(chain_id=7)
    yield node
    node.close()


@pytest.fixture
def rpc(fake):
    client = Rpc(ChainConf("SUP", fake.url, 7, Finality("instant"), read_seconds=0.5, body_bytes_max=10_000))
    yield client
    client.close()


def test_a_plain_answer_and_a_batch(rpc):
    assert rpc.call("eth_chainId") == "0x7"
    assert rpc.batch([Call("eth_chainId", ())] * 45) == ["0x7"] * 45


@pytest.mark.parametrize(
    ("mangle", "error"),
    [
        (lambda raw: b"<html>down</html>", RpcInconsistent),
        (lambda raw: raw[:-3], RpcInconsistent),
        (lambda raw: raw.replace(b'"id": ', b'"id": 9'), RpcInconsistent),
        (lambda raw: raw.replace(b'"0x7"', b"7"), RpcInconsistent),
        (lambda raw: raw.replace(b'"result"', b'"other"'), RpcInconsistent),
        (lambda raw: b" " * 20_000, RpcLimited),
    ],
)
def test_garbage_is_not_an_answer(rpc, fake, mangle, error):
    fake.mangle = mangle
    for ask in (lambda: rpc.call("eth_chainId"), lambda: rpc.batch([Call("eth_chainId", ())] * 2)):
        with pytest.raises(error):
            ask()


def test_an_answer_given_twice_is_not_an_answer(rpc, fake):
    """Two answers with one id: taking either would be a guess."""

    def twice(raw):
        answers = json.loads(raw)
        return json.dumps([*answers, {**answers[0], "result": "0x8"}]).encode()

    fake.mangle = twice
    with pytest.raises(RpcInconsistent):
        rpc.batch([Call("eth_chainId", ())] * 2)


def test_a_packed_answer_is_never_unpacked(rpc, fake):
    """A few kilobytes of gzip can be gigabytes; nothing was asked to be packed."""
    fake.headers = {"content-encoding": "gzip"}
    fake.mangle = lambda raw: gzip.compress(b" " * 5_000_000 + raw)
    with pytest.raises(RpcInconsistent):
        rpc.call("eth_chainId")


@pytest.mark.parametrize("text", ["-0x1", "0x-1", "0x_1", "0x 1", " 0x1", "12", "0x", "0x" + "f" * 65, "0xzz", None, 5])
def test_a_number_that_python_would_take_and_a_chain_never_gives(text):
    with pytest.raises(RpcInconsistent):
        int_of(text)


def test_numbers_and_times_beyond_all_columns():
    assert number_of("0x7fffffffffffffff") == 2**63 - 1
    for ask in (lambda: number_of("0x8000000000000000"), lambda: time_of(2**60), lambda: time_of(-(2**60))):
        with pytest.raises(RpcInconsistent):
            ask()


@pytest.mark.parametrize(
    "change",
    [
        {"number": "0x2"},
        {"number": "0x" + "f" * 64},
        {"hash": "0x12"},
        {"timestamp": "0x" + "f" * 40},
        {"transactions": [{"nothing": 1}]},
        {"transactions": [7]},
        {"logsBloom": "0x00"},
    ],
)
def test_a_block_that_was_not_asked_for_or_is_none(fake, change):
    node = Gateway(ChainConf("SUP", fake.url, 7, Finality("instant")))
    fake.mine()
    assert node.block_by_number(1).number == 1
    fake.blocks[1] = {**fake.blocks[1], **change}
    with pytest.raises(RpcInconsistent):
        node.block_by_number(1)
    with pytest.raises(RpcInconsistent):
        node.look()
    node.rpc.close()


@pytest.mark.parametrize(("status", "error"), [(429, RpcLimited), (413, RpcLimited), (503, RpcUnavailable)])
def test_statuses(rpc, fake, status, error):
    fake.status, fake.mangle = status, lambda raw: b"no"
    with pytest.raises(error):
        rpc.call("eth_chainId")


def test_a_slow_node_is_given_up(rpc, fake):
    fake.mangle = lambda raw: (time.sleep(1), raw)[1]
    started = time.monotonic()
    with pytest.raises(RpcUnavailable):
        rpc.call("eth_chainId")
    assert time.monotonic() - started < 3


def test_a_node_that_is_down_is_asked_about_once_a_second(rpc, fake):
    fake.status, fake.mangle = 503, lambda raw: b"no"
    started, before = time.monotonic(), fake.requests
    while time.monotonic() - started < 2.0:
        with pytest.raises(RpcUnavailable):
            rpc.call("eth_chainId")
        time.sleep(0.01)
    assert fake.requests - before <= 3 + 2
    fake.status, fake.mangle = 200, None
    time.sleep(1.5)
    assert rpc.call("eth_chainId") == "0x7"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("already known", AlreadyKnown),
        ("transaction already imported", AlreadyKnown),
        ("Known transaction", AlreadyKnown),
        ("nonce too low: next nonce 5, tx nonce 4", AccountNonceTooLow),
        ("Nonce too low", AccountNonceTooLow),
        ("replacement transaction underpriced", TxUnderpriced),
        ("max fee per gas less than block base fee: address 0x, maxFeePerGas: 1", TxUnderpriced),
        ("Gas price below configured minimum gas price", TxUnderpriced),
        ("insufficient funds for gas * price + value", InsufficientFunds),
        ("Upfront cost exceeds account balance", InsufficientFunds),
        ("query returned more than 10000 results", RpcLimited),
        ("block range too large", RpcLimited),
        ("execution reverted: x", Reverted),
        ("exceeds block gas limit", RpcRefused),
        ("intrinsic gas too high -- tx.gas_limit > env.block.gas_limit", RpcRefused),
        ("unknown block", RpcInconsistent),
        ("Method not found", RpcRefused),
    ],
)
def test_messages_of_nodes(message, kind):
    assert type(rpc_error(-32000, message)) is kind
