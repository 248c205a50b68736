"""The page's check of an access log gives the answers of the reference, byte region by byte region."""

import base64
import json
import random
import subprocess
from pathlib import Path

import pytest

from records.verification import verify_receipt as checker
from tests.records.receipts import HOSPITAL, ORGANISATION, issue, log_export, sha
from tests.records.test_verify_agreement import HARNESS, NODE


def browser(cases: list[dict], tmp_path: Path) -> list[dict]:
    if not NODE:
        pytest.skip("no node in this environment")
    for case in cases:
        case["log"] = base64.b64encode(case["log"]).decode()
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run([NODE, HARNESS, tmp_path / "cases.json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cases() -> list[bytes]:
    whole = log_export(4)
    found = [
        whole,
        log_export(0),
        log_export(1),
        log_export(7, final=5),
        log_export(2, counted=0),
        log_export(3, final=0),
    ]
    found += [log_export(3, neighbours=n) for n in (0, 1, 2, 9)]
    found += [log_export(3, before=n) for n in (1, 2, 5)]
    found += [whole | {"entries": whole["entries"][:n], "count": n} for n in range(4)]
    for place in range(4):
        for name, value in {"leaf": "00" * 32, "link": "00" * 32, "salt": "00" * 32, "salt2": 1, "body": "{}"}.items():
            entries = [dict(entry) for entry in whole["entries"]]
            entries[place][name] = value
            found.append(whole | {"entries": entries})
        for anchor in (None, 1, -1, True, False, "0", 0.0):
            entries = [dict(entry) for entry in whole["entries"]]
            entries[place]["anchor"] = anchor
            found.append(whole | {"entries": entries})
        found.append(whole | {"entries": whole["entries"][:place] + whole["entries"][place + 1 :], "count": 3})
        found.append(whole | {"entries": whole["entries"][: place + 1] + whole["entries"][place:], "count": 5})
        found.append(whole | {"entries": [*whole["entries"][:place], 1, *whole["entries"][place + 1 :]]})
    found.append(whole | {"entries": whole["entries"][::-1]})
    changes = [
        {"v": 1}, {"v": 3}, {"v": True}, {"v": "2"}, {"type": "record-receipt"}, {"count": 5}, {"count": True},
        {"count": "4"}, {"map": None}, {"map": ...}, {"map": 1}, {"map": {}}, {"map": []}, {"log_key": "00" * 32},
        {"log_key": None}, {"log_key": ...}, {"log_key": "00"}, {"tenant": "a2" * 16}, {"tenant": "A1" * 16},
        {"patient": "b8" * 16}, {"patient": None}, {"anchors": []}, {"anchors": None}, {"anchors": [1]},
        {"entries": {}}, {"issued_at": 5}, {"note": "\u00e9\U0001f600"},
    ]  # fmt: skip
    found += [whole | change for change in changes]
    short = log_export(1)
    found += [short | {"count": True}, short | {"map": short["map"] | {"count": True}}]
    for name, values in {
        "number": [18, 0, -1, True, "17", 2**53 - 1, ...],
        "count": [0, 3, 5, -1, 2**53 - 1, "4", True, None, ...],
        "seq": [1, -1, ...],
        "lines": [1, -1, ...],
        "link": ["00" * 32, "00", None, ...],
        "previous": ["00" * 32, "AA" * 32, ...],
        "root": ["00" * 32, None, ...],
        "siblings": [[], ["00"], [1], None, whole["map"]["siblings"][:-1], whole["map"]["siblings"] * 200],
        "anchors": [[], [1], None, {}, whole["map"]["anchors"] * 2],
    }.items():
        for value in values:
            changed = whole["map"] | {name: value}
            found.append(whole | {"map": {key: item for key, item in changed.items() if item is not ...}})
    for change in (
        {"state": "mined"}, {"state": None}, {"root": "0x" + "00" * 32}, {"index": 1}, {"count": 2}, {"count": 0},
        {"index": -1}, {"proof": ["0x" + "00" * 32]}, {"proof": None}, {"contract": "0x12"}, {"chain_id": "1"},
        {"chain": 1}, {"block_number": None}, {"block_number": "502"}, {"index": False}, {"count": True},
    ):  # fmt: skip
        found.append(log_export(3, anchor_changes=change))
        found.append(whole | {"anchors": [whole["anchors"][0] | change]})
    data = [issue(export) for export in found]
    plain = data[0]
    pick = random.Random(11)
    for position in pick.sample(range(len(plain)), 150):
        changed = bytearray(plain)
        changed[position] ^= 1 << pick.randrange(8)
        data.append(bytes(changed))
    resigned = issue(whole | {"x": "y"})
    return [*data, plain + b"\n", plain + b"\n\n", b"", b"{}", resigned.replace(b'"x":"y"', b'"x":"z"')]


@pytest.mark.scenario("P7")
def test_browser_and_reference_agree_on_every_log(tmp_path):
    found = cases()
    answers = browser([{"log": data} for data in found], tmp_path)
    for data, answer in zip(found, answers, strict=True):
        report = checker.check_log(data)
        assert answer["verdict"] == report.verdict, (answer, report, data[-3000:])
        if answer.get("reason"):
            assert answer["reason"] == report.sentences[0]
        else:
            assert answer["complete_to"] == report.facts["complete_to"]
            assert answer["anchored"] == report.facts["anchored"]
    assert {answer["verdict"] for answer in answers} == {"authentic", "altered", "pending", "cannot check now"}


@pytest.mark.scenario("P7")
def test_the_page_is_green_only_when_the_chain_holds_no_newer_map(tmp_path):
    export = log_export(4)
    anchored = {"block_number": 502, "count": 1, "block_hash": "0x" + "bb" * 32, "organisation": ORGANISATION.lower()}
    kid = sha(HOSPITAL.spki).hex()
    good = {"is_known": True, "head": 900, "anchored": anchored, "newer": None, "hospitals": {kid: "Northwick"}}
    newer = {"block_number": 600, "block_time": "2026-11-19T00:00:00Z"}
    later = newer | {"block_time": "2026-11-21T00:00:00Z"}
    table = [
        (good, "authentic", None),
        (good | {"newer": newer}, "superseded", True),
        (good | {"newer": later}, "superseded", False),
        (None, "cannot check now", None),
        ({}, "cannot check now", None),
        (good | {"is_known": False}, "cannot check now", None),
        (good | {"hospitals": {}}, "cannot check now", None),
        (good | {"anchored": None}, "altered", None),
        (good | {"anchored": None, "head": 5}, "cannot check now", None),
        (good | {"anchored": anchored | {"count": 2}}, "altered", None),
        (good | {"anchored": anchored | {"block_number": 503}}, "altered", None),
        (good | {"anchored": anchored | {"block_hash": "0x" + "00" * 32}}, "altered", None),
        (good | {"anchored": anchored | {"organisation": "0x" + "00" * 20}}, "altered", None),
    ]
    found = browser([{"log": issue(export), "answer": answer} for answer, *_ in table], tmp_path)
    assert [(row["verdict"], row.get("is_withheld")) for row in found] == [tuple(row[1:]) for row in table]
