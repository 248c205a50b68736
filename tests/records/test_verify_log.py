"""The offline check of an access log: every edit is named, and a list that stops early does not look whole."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hospitals import audit_map
from records.verification import verify_receipt as checker
from tests.records.receipts import (
    CONTRACT,
    HOSPITAL,
    LOG_KEY,
    MED,
    ORGANISATION,
    SUP,
    TENANT,
    FakeNode,
    issue,
    log_export,
    sha,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "log_map.json").read_text())
LATER = 600


def check(export: dict, **options):
    return checker.check_log(issue(export), **options)


def first(export: dict, **options) -> str:
    report = check(export, **options)
    assert report.verdict == "altered", report
    return report.sentences[0]


@pytest.mark.scenario("P7")
def test_a_whole_log_is_complete_and_anchored():
    report = check(log_export(7))
    assert report.verdict == "authentic"
    assert report.sentences[0] == "Entries 1 to 7 are complete and unchanged, anchored at MED block 502."
    assert "was not asked" in report.sentences[1]
    assert (report.facts["complete_to"], report.facts["map"], report.facts["block_number"]) == (7, 17, 502)


@pytest.mark.scenario("P7")
def test_an_edited_entry_is_named():
    export = log_export(7)
    export["entries"][3]["body"] = export["entries"][3]["body"].replace("version.read", "version.seen")
    assert first(export) == "Entry 4 was changed."


@pytest.mark.scenario("P7")
@pytest.mark.parametrize("gone", range(7))
def test_a_deleted_entry_is_named(gone):
    export = log_export(7)
    del export["entries"][gone]
    assert first(export).startswith(f"Entry {gone + 1} is missing")


@pytest.mark.scenario("P7")
@pytest.mark.parametrize("left", range(7))
def test_a_list_that_stops_early_is_not_whole_though_the_hospital_signed_it(left):
    """The hole there was: everything that is left follows from each other."""
    export = log_export(7)
    cut = export | {"entries": export["entries"][:left], "count": left}
    assert first(cut) == f"Entry {left + 1} is missing: the anchored map counts 7."
    assert check(cut | {"map": None}).verdict == "pending"
    old_form = {name: value for name, value in cut.items() if name not in ("map", "log_key")} | {"v": 1}
    assert check(old_form).verdict == "pending"


def test_a_map_that_counts_otherwise_does_not_fit_the_anchored_root():
    export = log_export(7)
    for count in range(7):
        changed = export | {"map": export["map"] | {"count": count}}
        assert first(changed) == f"Entries 1 to {count} are not the ones in the anchored map."
    assert "anchored map" in first(log_export(7, map_changes={"root": "00" * 32}))
    assert "anchored map" in first(export | {"log_key": "00" * 32})
    for name in ("number", "seq", "lines"):
        assert check(export | {"map": export["map"] | {name: 5}}).verdict == "altered"
    for name in ("link", "previous"):
        assert check(export | {"map": export["map"] | {name: "11" * 32}}).verdict == "altered"
    for siblings in ([], export["map"]["siblings"][1:], export["map"]["siblings"] * 64, ["00"]):
        assert check(export | {"map": export["map"] | {"siblings": siblings}}).verdict == "altered"


def test_two_maps_under_one_root_are_not_two_answers():
    assert check(log_export(7, before=2)).verdict == "authentic"
    export = log_export(7)
    (anchor,) = export["map"]["anchors"]
    head, other = bytes.fromhex(anchor["root"][2:]), sha(b"another map")
    pair = anchor | {"root": "0x" + sha(b"\1", head, other).hex(), "count": 2, "proof": ["0x" + other.hex()]}
    assert first(export | {"map": export["map"] | {"anchors": [pair]}}) == (
        "Another map follows this one in the same batch."
    )


def test_swapped_entries_and_a_rewritten_tail_are_noticed():
    export = log_export(7)
    export["entries"][2], export["entries"][3] = export["entries"][3], export["entries"][2]
    assert check(export).verdict == "altered"
    export = log_export(7)
    export["entries"][6]["link"] = "00" * 32
    assert first(export) == "Entry 7 was changed."


def test_entries_of_another_patient_or_hospital_do_not_pass():
    assert first(log_export(3) | {"patient": "b8" * 16}) == "Entry 1 belongs to another log."
    assert check(log_export(3) | {"tenant": "a2" * 16}).verdict == "altered"


def test_what_came_after_the_map_is_said_and_what_no_map_counts_is_pending():
    report = check(log_export(7, final=5))
    assert report.verdict == "authentic"
    assert report.sentences[:2] == [
        "Entries 1 to 5 are complete and unchanged, anchored at MED block 502.",
        "Entries 6 to 7 were written after that block.",
    ]
    assert check(log_export(2, final=1)).sentences[1] == "Entry 2 was written after that block."
    assert check(log_export(2, final=2, counted=0)).verdict == "pending"
    assert check(log_export(2, anchor_changes={"state": "mined"})).verdict == "pending"
    assert check(log_export(0)).verdict == "pending"


def test_true_is_not_one():
    """Python takes `true` for 1 and other languages do not; both checkers must refuse it."""
    export = log_export(1)
    assert check(export | {"count": True}).verdict == "altered"
    assert check(export | {"v": True}).verdict == "cannot check now"
    assert check(export | {"map": export["map"] | {"count": True}}).verdict == "altered"
    assert check(export | {"entries": [export["entries"][0] | {"anchor": False}]}).verdict == "altered"


def test_an_earlier_export_cannot_be_taken_back():
    new, old = log_export(7), issue(log_export(5))
    assert check(new, earlier=old).verdict == "authentic"
    assert first(log_export(4), earlier=old) == "Entry 5 is missing: the earlier export has 5."
    assert "another key" in first(new | {"log_key": "00" * 32}, earlier=old)
    other = log_export(5)
    other["entries"][2]["salt"] = "00" * 32
    assert check(new, earlier=issue(other)).verdict == "altered"
    assert check(new, earlier=issue(log_export(5) | {"patient": "b8" * 16})).verdict == "altered"


# With a node


def event(number: int, position: int, root: str, kind: int = checker.KIND_AUDIT_HEADS, count: int = 1) -> dict:
    return {
        "address": CONTRACT.lower(),
        "topics": [checker.TOPIC_ANCHORED, "0x" + ORGANISATION[2:].lower().rjust(64, "0"), root],
        "data": "0x" + "".join(f"{word:064x}" for word in (5, count, kind)),
        "blockNumber": hex(number),
        "logIndex": hex(position),
    }


class Chain:
    """A node that holds what an export says; change a part before asking it."""

    def __init__(self, export: dict, chain_id: int = MED):
        (self.anchor,) = export["map"]["anchors"]
        self.events = [event(502, 3, self.anchor["root"])]
        leaves = "".join(entry["leaf"] for entry in export["entries"] if entry["anchor"] == 0)
        self.leaf_log = event(501, 0, "") | {"data": "0x" + f"{0:064x}{64:064x}{len(leaves) // 64:064x}" + leaves}
        self.leaf_log["topics"] = [checker.TOPIC_ACCESS_LOGGED, self.leaf_log["topics"][1]]
        self.kind, self.range_max = checker.KIND_AUDIT_HEADS, 10**9
        self.answers = {
            "eth_chainId": hex(chain_id),
            "eth_blockNumber": hex(900),
            "eth_getBlockByNumber": self.block,
            "eth_getTransactionReceipt": self.receipt,
            "eth_call": self.call,
            "eth_getLogs": self.logs,
        }

    def block(self, number, _):
        names = {501: "aa", 502: "bb"}
        return {"hash": "0x" + names.get(int(number, 16), "cc") * 32, "timestamp": hex(1_793_700_860)}

    def receipt(self, tx_hash):
        if tx_hash == "0x" + "99" * 32:
            return {"blockNumber": hex(501), "logs": [self.leaf_log]}
        return {"blockNumber": hex(502), "logs": self.events[:1]}

    def call(self, request, _):
        if request["data"].startswith("0x" + checker.CALL_ANCHOR_OF):
            return "0x" + "".join(f"{w:064x}" for w in (502, 1_793_700_860, self.anchor["count"], 0, self.kind))
        return f"0x{1:064x}"

    def logs(self, question):
        start, end = int(question["fromBlock"], 16), int(question["toBlock"], 16)
        if end - start >= self.range_max:
            return {"code": -32005, "message": "too many blocks"}
        return [log for log in self.events if start <= int(log["blockNumber"], 16) <= end]


def ask(export: dict, change=lambda chain: None, **options):
    chain = Chain(export)
    change(chain)
    with FakeNode(chain.answers) as node:
        return check(export, rpc_urls=[node.url], **options), node


@pytest.mark.scenario("P7")
def test_the_chain_says_that_no_longer_list_exists():
    report, _ = ask(log_export(7))
    assert report.verdict == "authentic"
    assert report.sentences[1] == "Compared just now with the chain, which holds no newer count."


@pytest.mark.scenario("P7")
def test_a_list_that_was_whole_once_is_not_the_newest():
    """The hospital cannot show an older map to one person once a newer one is anchored."""
    old = log_export(7)
    report, _ = ask(old, lambda chain: chain.events.append(event(LATER, 0, "0x" + "12" * 32)))
    assert report.verdict == "superseded"
    assert "Block 600 says anew" in report.sentences[1] and "Do not accept it" in report.sentences[2]
    honest = old | {"issued_at": "2026-11-03T10:00:00Z"}
    report, _ = ask(honest, lambda chain: chain.events.append(event(LATER, 0, "0x" + "12" * 32)))
    assert report.verdict == "superseded" and "Do not accept" not in " ".join(report.sentences)
    report, _ = ask(old, lambda chain: chain.events.append(event(502, 4, "0x" + "12" * 32)))
    assert report.verdict == "superseded"
    others = [event(502, 2, "0x" + "12" * 32), event(LATER, 0, "0x" + "13" * 32, kind=0)]
    report, _ = ask(old, lambda chain: chain.events.extend(others))
    assert report.verdict == "authentic"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda chain: setattr(chain, "kind", 0), "altered"),
        (lambda chain: chain.events[0].update(topics=["0x", "0x", "0x"]), "altered"),
        (lambda chain: chain.answers.update(eth_getLogs=[]), "cannot check now"),
        (lambda chain: chain.answers.update(eth_getLogs=[{}]), "cannot check now"),
        (lambda chain: chain.answers.update(eth_getLogs=7), "cannot check now"),
        (lambda chain: chain.answers.update(eth_blockNumber=hex(501)), "cannot check now"),
        (lambda chain: chain.answers.update(eth_call="0x"), "cannot check now"),
        (lambda chain: chain.answers.update(eth_chainId=hex(SUP)), "cannot check now"),
        (lambda chain: chain.answers.update(eth_getTransactionReceipt=None), "cannot check now"),
        (lambda chain: chain.leaf_log.update(data="0x"), "altered"),
        (lambda chain: chain.leaf_log.update(data=7), "altered"),
    ],
)
def test_a_chain_that_disagrees_or_does_not_answer_is_never_green(change, verdict):
    assert ask(log_export(7), change)[0].verdict == verdict


def test_an_entry_that_the_chain_holds_otherwise_is_named():
    export = log_export(3)
    leaf = export["entries"][1]["leaf"]
    report, _ = ask(export, lambda chain: chain.leaf_log.update(data=chain.leaf_log["data"].replace(leaf, "00" * 32)))
    assert report.sentences[0] == "The chain does not hold entry 2 as written."


def test_one_receipt_is_fetched_for_all_entries_of_a_transaction():
    _, node = ask(log_export(7))
    assert node.asked.count("eth_getTransactionReceipt") == 2


@pytest.mark.parametrize("most", [1, 7, 100])
def test_a_node_that_allows_few_blocks_a_question_is_asked_for_pieces(most):
    def limited(chain):
        chain.range_max = most
        chain.answers["eth_getLogs"] = lambda question: refusing(chain, question)

    def refusing(chain, question):
        found = chain.logs(question)
        return json.dumps({"id": 1, "error": found}).encode() if isinstance(found, dict) else found

    report, node = ask(log_export(7), limited)
    assert report.verdict == "authentic"
    assert node.asked.count("eth_getLogs") >= (900 - 502) // most

    def never(chain):
        chain.answers["eth_getLogs"] = json.dumps({"id": 1, "error": {"code": -1}}).encode()

    assert ask(log_export(7), never)[0].verdict == "cannot check now"


def test_a_published_list_binds_the_maps_contract_as_well():
    trust = {"contracts": [{"chain_id": MED, "contract": CONTRACT}], "keys": {sha(HOSPITAL.spki).hex(): "Northwick"}}
    assert check(log_export(3), trust=trust).verdict == "authentic"
    foreign = log_export(3, anchor_changes={"contract": "0x" + "11" * 20})
    assert check(foreign, trust=trust).verdict == "cannot check now"
    assert check(log_export(3), trust=trust | {"keys": {}}).verdict == "cannot check now"


# The bytes, frozen


def test_the_golden_vectors_hold():
    log_key = bytes.fromhex(VECTORS["log_key"])
    assert audit_map.index_of(log_key).hex() == VECTORS["index"]
    line = VECTORS["line"]
    leaf = audit_map.leaf_of_line(
        log_key=log_key, number=line["number"], count=line["count"], link=bytes.fromhex(line["link"])
    )
    assert leaf.hex() == line["leaf"]
    tree = VECTORS["tree"]
    leaves = [(bytes.fromhex(index), bytes.fromhex(value)) for index, value in tree["leaves"]]
    assert audit_map.root_of(leaves).hex() == tree["root"]
    for (index, value), siblings in zip(leaves, tree["siblings"], strict=True):
        assert [item.hex() for item in audit_map.proof_of(leaves, index)] == siblings
        found = audit_map.root_from_proof(index=index, leaf=value, siblings=list(map(bytes.fromhex, siblings)))
        assert found.hex() == tree["root"]
    head = dict(VECTORS["head"])
    expected = head.pop("head")
    assert head_of(head).hex() == expected


def head_of(fields: dict) -> bytes:
    from uuid import UUID

    kinds = {"tenant": UUID, "link": bytes.fromhex, "root": bytes.fromhex, "previous": bytes.fromhex}
    return audit_map.head_of(**{name: kinds.get(name, int)(value) for name, value in fields.items()})


def test_the_frozen_export_is_still_accepted():
    report = checker.check_log(VECTORS["export"].encode())
    assert (report.verdict, report.facts["complete_to"]) == ("authentic", 3)
    assert json.loads(VECTORS["export"])["tenant"] == TENANT
    assert json.loads(VECTORS["export"])["log_key"] == LOG_KEY.hex()


@settings(max_examples=60, deadline=None)
@given(keys=st.sets(st.binary(min_size=32, max_size=32), min_size=1, max_size=40), seed=st.integers())
def test_every_line_of_any_map_is_proven_and_no_other_value_is(keys, seed):
    leaves = sorted((audit_map.index_of(key), sha(key)) for key in keys)
    root, pick = audit_map.root_of(leaves), random.Random(seed)
    index, leaf = pick.choice(leaves)
    siblings = audit_map.proof_of(leaves, index)
    assert audit_map.root_from_proof(index=index, leaf=leaf, siblings=siblings) == root
    assert audit_map.root_from_proof(index=index, leaf=sha(leaf), siblings=siblings) != root
    assert audit_map.root_from_proof(index=sha(index), leaf=leaf, siblings=[*siblings, bytes(32)]) != root
    assert audit_map.root_from_proof(index=index, leaf=leaf, siblings=[bytes(32)] * 257) is None
    with pytest.raises(KeyError):
        audit_map.proof_of(leaves, sha(b"absent", index))


def test_indexes_that_share_their_first_bits_are_told_apart():
    near = [bytes(31) + bytes([n]) for n in (0, 1, 128)] + [bytes([255]) * 32]
    leaves = [(index, sha(index)) for index in near]
    root = audit_map.root_of(leaves)
    for index, leaf in leaves:
        siblings = audit_map.proof_of(leaves, index)
        assert audit_map.root_from_proof(index=index, leaf=leaf, siblings=siblings) == root
    assert len(audit_map.proof_of(leaves, near[0])) == 256
    assert audit_map.root_of([]) == bytes(32) and audit_map.root_of(leaves[:1]) == leaves[0][1]
