"""Random changes to an export by the hospital itself, which signs it again: each is found, and its entry is named."""

import copy
import json
import re

import pytest
import rfc8785

from hospitals import audit, audit_maps, log_export
from hospitals.actors import Actor
from records.verification import verify_receipt as checker
from tests.records.logs import reissue

pytestmark = pytest.mark.django_db
COUNTED = 12
FIELDS = {"action": "records.listed", "basis": "consent", "purpose": "HRESCH", "at": "2026-01-01T00:00:00.000000Z"}


@pytest.fixture
def exports(cast, drive):
    """An older export, and the newest one: 12 entries that the chain counts, and one more."""

    def export():
        return log_export.export(actor=Actor(cast.pat), patient=cast.pat_a)

    def look(times):
        for number in range(times):
            actor = cast.actor((cast.alice, cast.adam)[number % 2])
            audit.append(hospital=cast.a, actor=actor, action="records.opened", patient=cast.pat_a)
        drive()
        assert audit_maps.map_make(cast.a)
        drive()

    look(6)
    old = export()
    look(5)
    return old, export()


def relinked(document: dict, after: int) -> None:
    """Every later body, leaf and link follows again from what stands before it."""
    link = bytes(32)
    for number, entry in enumerate(document["entries"], 1):
        if number >= after:
            body = json.loads(entry["body"]) | {"patient_seq": number, "patient_previous_link": link.hex()}
            entry["body"] = rfc8785.dumps(body).decode()
            leaf = checker.sha256(b"\0", bytes.fromhex(entry["salt"]), checker.sha256(entry["body"].encode()))
            entry["leaf"] = leaf.hex()
            entry["link"] = checker.sha256(link, leaf).hex()
        link = bytes.fromhex(entry["link"])
    document["count"] = len(document["entries"])


def edit(document, rng, seq):
    entry = document["entries"][seq - 1]
    if rng.random() < 0.3:
        entry["salt"] = rng.randbytes(32).hex()
    else:
        name = rng.choice(sorted(FIELDS))
        entry["body"] = rfc8785.dumps(json.loads(entry["body"]) | {name: FIELDS[name]}).decode()
    return seq


def delete(document, rng, seq):
    del document["entries"][seq - 1]
    return seq


def truncate(document, rng, seq):
    del document["entries"][seq - 1 :]
    return seq


def reorder(document, rng, seq):
    other = rng.randrange(1, COUNTED)
    seq, other = sorted((seq, other + (other >= seq)))
    entries = document["entries"]
    entries[seq - 1], entries[other - 1] = entries[other - 1], entries[seq - 1]
    return seq


def insert(document, rng, seq):
    new = copy.deepcopy(document["entries"][rng.randrange(COUNTED)]) | {"salt": rng.randbytes(32).hex()}
    document["entries"].insert(seq - 1, new)
    return seq


TAMPERINGS = [edit, delete, truncate, reorder, insert]


@pytest.mark.campaign
@pytest.mark.scenario("P7")
def test_a_thousand_changed_exports_are_found(campaign, cast, exports, chains):
    run = campaign("tamper-files", small=60, ci=1000, night=20_000)
    old, newest = exports
    rpc = [chains["MED"].url]
    assert checker.check_log(newest, rpc_urls=rpc, earlier=old).verdict == "authentic"
    whole = json.loads(newest)
    assert whole["map"]["count"] == COUNTED
    for _, rng in run:
        document = copy.deepcopy(whole)
        tampering, is_mended = rng.choice(TAMPERINGS), rng.random() < 0.6
        number = tampering(document, rng, rng.randrange(1, COUNTED + 1))
        if is_mended:
            relinked(document, number)
        document["count"] = len(document["entries"])
        if rng.random() < 0.3:
            document["map"]["count"] = min(COUNTED, len(document["entries"]))
        is_asked = rng.random() < 0.5
        report = checker.check_log(reissue(cast.a, document), rpc_urls=rpc if is_asked else ())
        how = f"{tampering.__name__}, {'mended' if is_mended else 'as it is'}, {'chain' if is_asked else 'offline'}"
        assert report.verdict == "altered", (how, number, report)
        said = report.sentences[0]
        if is_asked or not is_mended:
            named = [int(word) for word in re.findall(r"[Ee]ntry (\d+)", said)]
            is_cut = tampering is truncate and "not the ones in the anchored map" in said
            assert named == [number] or is_cut, (how, number, said)
        run.injected(how)


@pytest.mark.scenario("P7")
def test_what_the_hospital_gave_out_before_is_kept_against_it(cast, exports, chains):
    """Without a node an older list looks whole as of its block; with one, or with an older export, it does not."""
    old, newest = exports
    rpc = [chains["MED"].url]
    assert checker.check_log(old).verdict == "authentic"
    assert checker.check_log(old, rpc_urls=rpc).verdict == "superseded"
    report = checker.check_log(old, earlier=newest)
    assert report.verdict == "altered" and report.sentences[0] == "Entry 8 is missing: the earlier export has 13."
