"""The page's checker in the browser gives the answers of the reference, byte region by byte region."""

import base64
import io
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from records.verification import verify_receipt as checker
from tests.records.receipts import HOSPITAL, ORGANISATION, Receipt, sha

HARNESS = Path(__file__).with_name("verify_agreement.mjs")
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")


def browser(cases: list[dict], tmp_path: Path) -> list[dict]:
    if not NODE:
        pytest.skip("no node in this environment")
    for case in cases:
        case["receipt"] = base64.b64encode(case["receipt"]).decode()
        case["file"] = None if case["file"] is None else base64.b64encode(case["file"]).decode()
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run([NODE, HARNESS, tmp_path / "cases.json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def python(data: bytes, content: bytes | None) -> str:
    return checker.check_receipt(data, None if content is None else io.BytesIO(content)).verdict


def cases() -> list[tuple[bytes, bytes | None]]:
    plain = Receipt(content=b"one page")
    found = [(plain.data, plain.content), (plain.data + b"\n", plain.content), (plain.data, None)]
    found += [(Receipt(content=bytes(n)).data, bytes(n)) for n in (0, 1, 55, 56, 63, 64, 65, 119, 120, 4096)]
    found += [(plain.data, b"one pagE"), (plain.data, b"one page "), (plain.data, b"")]
    found += [
        (Receipt(content=b"one page", high_s=layer).data, b"one page") for layer in ("authored", "epoch", "receipt")
    ]
    anchors = [
        {"state": "mined"}, {"root": "0x" + "00" * 32}, {"proof": []}, {"index": 2}, {"count": 9}, {"count": 0},
        {"index": -1}, {"contract": "0x12"}, {"chain_id": "1"}, {"proof": ["0x" + "00" * 32] * 9},
    ]  # fmt: skip
    found += [(Receipt(content=b"one page", anchor_changes=change).data, b"one page") for change in anchors]
    at = "2026-11-05T00:00:00Z"
    changes = [
        {"v": 2}, {"status": "wonderful"}, {"status": "superseded", "superseded": {"by_version": 2, "at": at}},
        {"status": "superseded"}, {"status": "withdrawn", "withdrawn": {"at": at}}, {"status": "erased"},
        {"status": "erased", "erased": {"at": at, "ground": "request"}, "salt32": ..., "leaf_salt": ...},
        {"salt32": "00" * 32}, {"leaf_salt": "00" * 32}, {"leaf": "00" * 32}, {"tenant": "a2" * 16}, {"anchors": []},
        {"anchors": [1]}, {"anchors": None}, {"epoch": {}}, {"authored": []}, {"anchors": [{"chain": "SUP"}]},
        {"note": "\u00e9\U0001f600\u2028\x7f\x01"}, {"\U0001f600": 1, "\uffee": 2}, {"deep": [[[{}]], True, None, -5]},
    ]  # fmt: skip
    found += [(Receipt(content=b"one page", changes=change).data, b"one page") for change in changes]
    for count in (1, 2, 3, 7, 8, 33):
        for index in {0, count // 2, count - 1}:
            found.append((Receipt(content=b"one page", count=count, index=index).data, b"one page"))
    data = plain.data
    found += [
        (text, b"one page")
        for text in (
            b"", b"{}", b"null", b"[]", b"\xff", b"\xef\xbb\xbf" + data, data + b"\n\n", b" " + data,
            data.replace(b'"v":1', b'"v":1.0'), data.replace(b'"v":1', b'"v":1e0'), data.replace(b'"v":1', b'"v":-0'),
            data.replace(b'"v":1', b'"v":9007199254740993'), data.replace(b'"suite":1', b'"suite":1,"suite":1'),
            data.replace(b'"suite":1', b'"suite":1,"sx":"\\ud800"'),
            data.replace(b"record-receipt", b"record\\u002dreceipt"),
        )
    ]  # fmt: skip
    pick = random.Random(7)
    for position in pick.sample(range(len(data)), 250):
        changed = bytearray(data)
        changed[position] ^= 1 << pick.randrange(8)
        found.append((bytes(changed), b"one page"))
    return found


@pytest.mark.scenario("P8")
def test_browser_and_reference_agree_on_every_case(tmp_path):
    found = cases()
    answers = browser([{"receipt": data, "file": content} for data, content in found], tmp_path)
    for (data, content), answer in zip(found, answers, strict=True):
        assert answer["verdict"] == python(data, content), (data[:2000], content)
        if content is not None:
            assert answer["digest"] == sha(content).hex()
    assert {answer["verdict"] for answer in answers} == set(checker.EXIT_CODES)


@pytest.mark.scenario("P8")
def test_the_page_is_green_only_when_the_chain_agreed(tmp_path):
    receipt = Receipt()
    anchored = {"block_number": 18204, "count": 5, "block_hash": "0x" + "88" * 32}
    good = {
        "is_known": True, "anchored": anchored, "head": 18300, "status": "current",
        "organisation": ORGANISATION.lower(), "hospitals": {sha(HOSPITAL.spki).hex(): "Northwick"},
    }  # fmt: skip
    table = [
        (good, "authentic"),
        (None, "cannot check now"),
        ({}, "cannot check now"),
        (good | {"is_known": False}, "cannot check now"),
        (good | {"anchored": None}, "altered"),
        (good | {"anchored": None, "head": 5}, "cannot check now"),
        (good | {"anchored": anchored | {"count": 6}}, "altered"),
        (good | {"anchored": anchored | {"block_hash": "0x" + "00" * 32}}, "altered"),
        (good | {"hospitals": {}}, "cannot check now"),
        (good | {"organisation": "0x" + "00" * 20}, "altered"),
        (good | {"status": "superseded"}, "superseded"),
        (good | {"status": "erased"}, "erased"),
    ]
    found = browser(
        [{"receipt": receipt.data, "file": receipt.content, "answer": answer} for answer, _ in table], tmp_path
    )
    assert [answer["verdict"] for answer in found] == [verdict for _, verdict in table]
