"""The checker says one of six things, and never a better one than what it proved."""

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from records.verification import verify_receipt as checker
from tests.records.receipts import (
    CONTRACT,
    HOSPITAL,
    MED,
    ORGANISATION,
    STRANGER,
    SUP,
    FakeNode,
    Receipt,
    issue,
    log_export,
    path,
    sha,
    tree,
)

SCRIPT = Path(checker.__file__)


def check(receipt: Receipt | bytes, content: bytes | None = None, **options):
    data = receipt if isinstance(receipt, bytes) else receipt.data
    content = Receipt().content if content is None and isinstance(receipt, bytes) else content
    content = receipt.content if content is None else content
    return checker.check_receipt(data, io.BytesIO(content), **options)


# Verdicts


@pytest.mark.scenario("P8")
def test_a_record_and_its_receipt_are_authentic_offline():
    report = check(Receipt())
    assert report.verdict == "authentic"
    assert "SUP block 18204" in " ".join(report.sentences)
    assert "was not asked" in " ".join(report.sentences)


@pytest.mark.scenario("P8")
def test_every_single_changed_byte_of_the_file_is_altered():
    receipt = Receipt(content=b"short but real")
    for position in range(len(receipt.content)):
        changed = bytearray(receipt.content)
        changed[position] ^= 1
        assert check(receipt, bytes(changed)).verdict == "altered"
    assert check(receipt, receipt.content + b"\n").verdict == "altered"
    assert check(receipt, receipt.content[:-1]).verdict == "altered"


@pytest.mark.scenario("P8")
@pytest.mark.parametrize("state", ["queued", "broadcast", "mined"])
def test_a_receipt_from_before_finality_is_pending(state):
    assert check(Receipt(anchor_changes={"state": state})).verdict == "pending"


def test_an_anchor_without_a_block_yet_is_pending():
    assert check(Receipt(changes={"anchors": [{"chain": "SUP", "state": "queued"}]})).verdict == "pending"
    assert check(Receipt(changes={"anchors": []})).verdict == "pending"


def test_both_chains_must_be_final():
    receipt = Receipt(chains=(("SUP", SUP), ("MED", MED)))
    assert check(receipt).verdict == "authentic"
    anchors = receipt.document["anchors"]
    anchors[1]["state"] = "mined"
    assert check(Receipt(changes={"anchors": anchors})).verdict == "pending"


def test_superseded_withdrawn_and_erased_are_told_apart_from_altered():
    newer = {"status": "superseded", "superseded": {"by_version": 2, "at": "2026-11-05T00:00:00Z"}}
    assert check(Receipt(changes=newer)).verdict == "superseded"
    assert check(Receipt(changes=newer), b"something else").verdict == "altered"
    gone = {"status": "withdrawn", "withdrawn": {"at": "2026-11-05T00:00:00Z"}}
    assert check(Receipt(changes=gone)).verdict == "superseded"
    erased = {"status": "erased", "erased": {"at": "2026-11-05T00:00:00Z", "ground": "request"}}
    report = checker.check_receipt(Receipt(changes=erased | {"salt32": ..., "leaf_salt": ...}).data)
    assert report.verdict == "erased" and "not tampering" in report.sentences[1]
    assert check(Receipt(changes={"status": "wonderful"})).verdict == "altered"


def test_no_file_is_never_authentic():
    assert checker.check_receipt(Receipt().data).verdict == "cannot check now"


def test_another_version_of_the_format_is_not_called_altered():
    assert check(Receipt(changes={"v": 2})).verdict == "cannot check now"


# Two libraries


def test_a_signature_that_only_one_library_accepts_is_never_good(monkeypatch):
    for name in ("accepted_by_ecdsa", "accepted_by_cryptography"):
        with monkeypatch.context() as patch:
            patch.setattr(checker.PublicKey, name, lambda *arguments: False)
            assert check(Receipt()).verdict == "altered"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 63), st.integers(1, 255), st.integers(1, 6))
def test_both_libraries_agree_on_every_signature_also_with_the_table(position, mask, uses):
    key, message = checker.PublicKey(HOSPITAL.spki), b"medportal/sig/v1\0epoch\0" + sha(b"manifest")
    good = bytes.fromhex(HOSPITAL.sign("epoch", b"manifest"))
    bad = bytearray(good)
    bad[position] ^= mask
    for _ in range(uses):
        for signature in (good, bytes(bad)):
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            accepted = key.accepted_by_cryptography(message, r, s)
            assert key.accepted_by_ecdsa(message, signature) == accepted == (signature == good)


# Mutations


def test_no_byte_of_a_receipt_can_change_unnoticed():
    receipt = Receipt(content=b"x", count=2, index=1)
    data, verdicts = receipt.data, set()
    for position in range(0, len(data), 3):
        for bit in (0x01, 0x20):
            changed = bytearray(data)
            changed[position] ^= bit
            verdicts.add(check(bytes(changed), b"x").verdict)
    assert verdicts <= {"altered", "cannot check now"}
    assert "altered" in verdicts


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_edit_of_a_receipt_is_noticed(data):
    original = Receipt().data
    start = data.draw(st.integers(0, len(original) - 1))
    end = data.draw(st.integers(start, min(len(original), start + 40)))
    put = data.draw(st.binary(max_size=40))
    changed = original[:start] + put + original[end:]
    if changed.removesuffix(b"\n") != original:
        assert check(changed).verdict in {"altered", "cannot check now"}


@pytest.mark.parametrize("layer", ["authored", "epoch", "receipt"])
def test_the_high_s_twin_of_a_good_signature_is_refused(layer):
    assert check(Receipt(high_s=layer)).verdict == "altered"


@pytest.mark.parametrize(
    "changes",
    [
        {"root": "0x" + "00" * 32},
        {"proof": []},
        {"proof": ["0x" + "00" * 32] * 3},
        {"index": 2},
        {"index": 5},
        {"count": 9},
        {"count": 0},
        {"index": -1},
        {"contract": "0x12"},
        {"chain_id": "31337"},
    ],
)
def test_a_wrong_proof_is_altered_even_when_the_hospital_signed_it(changes):
    assert check(Receipt(anchor_changes=changes)).verdict == "altered"


@pytest.mark.parametrize(
    "changes",
    [
        {"salt32": "00" * 32},
        {"leaf_salt": "00" * 32},
        {"leaf": "00" * 32},
        {"salt32": ...},
        {"tenant": "a2" * 16},
        {"anchors": "none"},
        {"anchors": [1]},
        {"authored": []},
        {"epoch": {}},
    ],
)
def test_parts_that_do_not_belong_together_are_altered(changes):
    assert check(Receipt(changes=changes)).verdict == "altered"


def test_layers_are_bound_to_each_other_and_to_their_keys():
    assert check(Receipt(epoch_changes={"authored_digest": "00" * 32})).verdict == "altered"
    assert check(Receipt(authored_changes={"author_kid": "00" * 32})).verdict == "altered"
    assert check(Receipt(epoch_changes={"signer_kid": "00" * 32})).verdict == "altered"
    assert check(Receipt(authored_changes={"pt_commit": "00" * 32})).verdict == "altered"
    swapped = Receipt().document
    swapped["epoch"]["signature"] = STRANGER.sign("epoch", Receipt().epoch)
    assert check(issue(swapped)).verdict == "altered"
    crossed = Receipt().document
    crossed["authored"]["signature"] = Receipt().doctor.sign("epoch", Receipt().authored)
    assert check(issue(crossed)).verdict == "altered"


def test_duplicate_keys_and_other_spellings_of_the_same_json_are_refused():
    data = Receipt().data
    assert check(data.replace(b'{"anchors"', b'{"v":1,"anchors"', 1)).verdict == "altered"
    assert check(json.dumps(json.loads(data), indent=1).encode()).verdict == "altered"
    assert check(data.replace(b'"suite":1', b'"suite":1.0')).verdict == "altered"
    doubled = Receipt().document
    doubled["authored"]["manifest"] = doubled["authored"]["manifest"].replace("{", '{"size":1,', 1)
    doubled["authored"]["signature"] = Receipt().doctor.sign("authored", doubled["authored"]["manifest"].encode())
    assert check(issue(doubled)).verdict == "altered"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 5000, b'{"v":1}', b"%PDF-1.7"])
def test_things_that_are_no_receipt_never_pass_and_never_crash(data):
    assert check(data).verdict in {"altered", "cannot check now"}


def test_a_key_on_another_curve_or_off_the_curve_is_refused():
    changed = Receipt().document
    spki = bytearray(HOSPITAL.spki)
    spki[-1] ^= 1
    changed["epoch"]["public_key"] = bytes(spki).hex()
    assert check(issue(changed)).verdict == "altered"


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_small_canonicaliser_writes_what_rfc8785_writes(value):
    assert checker.canonical(value) == rfc8785.dumps(value)


@settings(deadline=None)
@given(st.integers(1, 70), st.data())
def test_proofs_of_every_shape_lead_to_the_root_and_no_other_leaf_does(count, data):
    leaves = [sha(bytes([i])) for i in range(count)]
    index = data.draw(st.integers(0, count - 1))
    proof = path(leaves, index)
    assert checker.root_from_proof(leaves[index], index, count, proof) == tree(leaves)
    other = data.draw(st.integers(0, count - 1))
    if other != index:
        assert checker.root_from_proof(leaves[other], index, count, proof) != tree(leaves)
        assert checker.root_from_proof(leaves[index], other, count, proof) != tree(leaves)
    assert checker.root_from_proof(leaves[index], index, count, [*proof, bytes(32)]) is None


# The on-chain half


def words(*values: int) -> str:
    return "0x" + "".join(f"{value:064x}" for value in values)


def node_for(receipt: Receipt, **changes) -> FakeNode:
    """A node that holds exactly what the receipt says."""

    def call(request, block):
        if request["data"].startswith("0x" + checker.CALL_ANCHOR_OF):
            return words(18204, 1_793_700_852, receipt.count, 0, 0)
        return words(1)

    log = {
        "address": CONTRACT.lower(),
        "topics": [checker.TOPIC_ANCHORED, "0x" + ORGANISATION[2:].lower().rjust(64, "0"), "0x" + receipt.root.hex()],
        "data": "0x",
    }
    return FakeNode(
        {
            "eth_chainId": hex(SUP),
            "eth_blockNumber": hex(18300),
            "eth_getBlockByNumber": {"hash": "0x" + "88" * 32},
            "eth_call": call,
            "eth_getTransactionReceipt": {"blockNumber": hex(18204), "logs": [log]},
        }
        | changes
    )


def test_a_chain_that_agrees_makes_it_authentic():
    with node_for(Receipt()) as node:
        report = check(Receipt(), rpc_urls=[node.url])
    assert report.verdict == "authentic"
    assert "Compared just now with SUP block 18204." in report.sentences


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"eth_chainId": hex(1)}, "cannot check now"),
        ({"eth_blockNumber": hex(100)}, "cannot check now"),
        ({"eth_blockNumber": "soon"}, "cannot check now"),
        ({"eth_call": "0x"}, "cannot check now"),
        ({"eth_call": b"<html>"}, "cannot check now"),
        ({"eth_getTransactionReceipt": None}, "cannot check now"),
        ({"eth_getTransactionReceipt": {"blockNumber": hex(18204), "logs": [{}]}}, "cannot check now"),
        ({"eth_getTransactionReceipt": {"blockNumber": hex(18204), "logs": []}}, "altered"),
        ({"eth_getBlockByNumber": {"hash": "0x" + "00" * 32}}, "altered"),
        ({"eth_call": words(0, 0, 0, 0, 0)}, "altered"),
        ({"eth_call": words(18204, 5, 6, 0, 0)}, "altered"),
        ({"eth_call": words(18205, 5, 5, 0, 0)}, "altered"),
    ],
)
def test_a_chain_that_disagrees_or_does_not_answer_is_never_green(changes, verdict):
    with node_for(Receipt(), **changes) as node:
        assert check(Receipt(), rpc_urls=[node.url]).verdict == verdict


def test_the_contract_must_accept_the_proof():
    def call(request, block):
        return words(18204, 5, 5, 0, 0) if checker.CALL_ANCHOR_OF in request["data"] else words(0)

    with node_for(Receipt(), eth_call=call) as node:
        assert check(Receipt(), rpc_urls=[node.url]).verdict == "altered"


def test_a_dead_node_and_a_strange_address_say_cannot_check_now():
    with node_for(Receipt()) as node:
        url = node.url
    assert check(Receipt(), rpc_urls=[url]).verdict == "cannot check now"
    assert check(Receipt(), rpc_urls=["file:///etc/hostname"]).verdict == "cannot check now"
    assert check(Receipt(), b"changed", rpc_urls=[url]).verdict == "altered"


def test_a_published_list_binds_key_and_contract():
    kid = sha(HOSPITAL.spki).hex()
    trust = {"contracts": [{"chain_id": SUP, "contract": CONTRACT}], "keys": {kid: "Northwick Hospital"}}
    report = check(Receipt(), trust=trust)
    assert report.verdict == "authentic" and "Northwick Hospital" in " ".join(report.sentences)
    assert check(Receipt(hospital=STRANGER), trust=trust).verdict == "cannot check now"
    assert check(Receipt(), trust=trust | {"contracts": []}).verdict == "cannot check now"


# As a program


@pytest.mark.scenario("P8")
def test_the_file_runs_alone_and_answers_by_exit_code(tmp_path):
    script = tmp_path / "verify_receipt.py"
    script.write_bytes(SCRIPT.read_bytes())
    receipt = Receipt()
    (tmp_path / "receipt.json").write_bytes(receipt.data)
    (tmp_path / "letter.pdf").write_bytes(receipt.content)
    (tmp_path / "changed.pdf").write_bytes(receipt.content + b" ")
    (tmp_path / "log.json").write_bytes(issue(log_export()))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-I", script, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    good = run("receipt.json", "letter.pdf")
    assert (good.returncode, good.stdout.splitlines()[0]) == (0, "authentic")
    bad = run("receipt.json", "changed.pdf", "--json")
    assert bad.returncode == 10 and json.loads(bad.stdout)["verdict"] == "altered"
    assert run("--log", "log.json").returncode == 0
    assert run("receipt.json", "absent.pdf").returncode == 14
    assert run().returncode == 2


def test_exit_codes_are_distinct_and_nothing_but_two_packages_is_imported():
    assert len(set(checker.EXIT_CODES.values())) == 6
    tree_ = ast.parse(SCRIPT.read_text())
    names = {
        alias.name.split(".")[0] for node in ast.walk(tree_) if isinstance(node, ast.Import) for alias in node.names
    }
    names |= {node.module.split(".")[0] for node in ast.walk(tree_) if isinstance(node, ast.ImportFrom)}
    assert names - sys.stdlib_module_names == {"cryptography", "ecdsa"}


def test_selectors_and_topics_are_those_of_the_published_interface():
    from eth_utils import keccak

    assert keccak(text="verify(bytes32,bytes32,uint256,bytes32[])")[:4].hex() == checker.CALL_VERIFY
    assert keccak(text="anchorOf(bytes32)")[:4].hex() == checker.CALL_ANCHOR_OF
    anchored = "Anchored(address,bytes32,uint64,uint32,uint8)"
    assert "0x" + keccak(text=anchored).hex() == checker.TOPIC_ANCHORED
    assert "0x" + keccak(text="AccessLogged(address,uint64,bytes32[])").hex() == checker.TOPIC_ACCESS_LOGGED
