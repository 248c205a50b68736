"""Our own receipts against the checker, the published list, the public page's questions and the nightly look."""

import io
import json
from pathlib import Path

import pytest
from django.db import connection

from hospitals.actors import Actor
from hospitals.models import KeyRecord
from hospitals.tenancy import all_tenants, tenant
from records import receipts, services
from records.models import Epoch, RecordVersion
from records.verification import verify_receipt as checker
from records.verification.nightly import hospital_verify, verify_all
from records.verification.status import status_of_leaf
from tests.records.conftest import NOTE


def receipt_of(cast, version):
    return receipts.receipt_bytes(receipts.receipt_build(actor=Actor(cast.pat), version=version))


@pytest.mark.scenario("P8", "G7")
def test_a_receipt_holds_against_both_chains_and_the_published_list(cast, made, settle, chains, client):
    version = made(cast.alice, cast.pat_a, chains="BOTH")
    settle()
    data = receipt_of(cast, version)
    trust = client.get("/verify/trust.json").json()
    assert {item["name"] for item in trust["contracts"]} >= {"AnchorLog", "AccessLog"}
    nodes = [chains["SUP"].url, chains["MED"].url]
    report = checker.check_receipt(data, io.BytesIO(NOTE), rpc_urls=nodes, trust=trust)
    assert report.verdict == "authentic"
    assert cast.a.name in " ".join(report.sentences)
    assert "SUP block" in report.sentences[1] and "MED block" in report.sentences[1]
    assert checker.check_receipt(data, io.BytesIO(NOTE), trust=trust | {"keys": {}}).verdict == "cannot check now"
    silent = [chains["SUP"].url, "http://127.0.0.1:9"]
    assert checker.check_receipt(data, io.BytesIO(NOTE), rpc_urls=silent).verdict == "cannot check now"


@pytest.mark.scenario("P8")
def test_the_page_asks_for_a_root_and_learns_only_that(cast, made, settle, client):
    version = made(cast.alice, cast.pat_a, chains="SUP")
    settle()
    receipt = json.loads(receipt_of(cast, version))
    (anchor,) = receipt["anchors"]
    kid = checker.sha256(bytes.fromhex(receipt["signature"]["public_key"])).hex()
    query = {
        "chain": "SUP",
        "root": anchor["root"],
        "contract": anchor["contract"],
        "leaf": receipt["leaf"],
        "kid": kid,
    }
    answer = client.get("/verify/chain", query).json()
    assert answer["is_known"] and answer["hospitals"] == {kid: cast.a.name} and answer["status"] == "current"
    assert answer["anchored"] == {name: anchor[name] for name in ("block_number", "count", "block_hash")}
    assert set(answer) == {"is_known", "head", "anchored", "hospitals", "status"}
    unknown = client.get("/verify/chain", query | {"root": "0x" + "00" * 32, "leaf": "00" * 32}).json()
    assert unknown["anchored"] is None and unknown["status"] == "unknown"
    assert not client.get("/verify/chain", query | {"contract": "0x" + "11" * 20}).json()["is_known"]
    for name, value in {"chain": "ETH", "root": "00", "leaf": "x", "kid": "y"}.items():
        assert client.get("/verify/chain", query | {name: value}).status_code == 400
    assert client.post("/verify/chain", query).status_code == 405
    with tenant(cast.a):
        services.record_withdraw(actor=cast.actor(cast.alice), record=version.record, reason="wrong patient")
    assert status_of_leaf(bytes.fromhex(receipt["leaf"])) == "withdrawn"
    report = checker.check_receipt(receipt_of(cast, version), io.BytesIO(NOTE))
    assert report.verdict == "superseded" and "withdrew" in report.sentences[0]


def test_the_program_on_the_page_is_the_one_that_is_tested(client, db):
    answer = client.get("/verify/verify_receipt.py")
    assert b"".join(answer.streaming_content) == Path(checker.__file__).read_bytes()
    assert answer["Content-Disposition"].startswith("attachment")


def test_the_nightly_look_finds_every_kind_of_change(people, made):
    version = made(people.alice, people.pat_a)
    assert verify_all().is_good
    found = hospital_verify(people.a)
    assert (found.checked, found.faults) == (1, [])
    with all_tenants("tamper"):
        epoch = Epoch.objects.get(version=version)
        good = {name: getattr(epoch, name) for name in ("manifest", "signature", "leaf_salt")}
        flipped = bytes([bytes(epoch.signature)[0] ^ 1]) + bytes(epoch.signature)[1:]
        changes = [
            ({"signature": flipped}, {"signature"}),
            ({"manifest": epoch.manifest.replace('"epoch":1', '"epoch":2')}, {"signature", "leaf"}),
            ({"leaf_salt": bytes(32)}, {"leaf"}),
        ]
        for change, kinds in changes:
            Epoch.objects.filter(pk=epoch.pk).update(**change)
            assert {fault.kind for fault in hospital_verify(people.a).faults} == kinds, change
            Epoch.objects.filter(pk=epoch.pk).update(**good)
        text = version.authored_manifest
        RecordVersion.objects.filter(pk=version.pk).update(authored_manifest=text.replace('"size"', '"sise"'))
        assert {fault.kind for fault in hospital_verify(people.a).faults} == {"signature", "link"}
        RecordVersion.objects.filter(pk=version.pk).update(authored_manifest=text)
    assert hospital_verify(people.b).checked == 0
    key = KeyRecord.objects.get(pk=bytes(epoch.signer_kid))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE hospitals_keyrecord SET public_key = %s WHERE kid = %s", [b"gone", bytes(key.pk)])
    assert {fault.kind for fault in hospital_verify(people.a).faults} == {"unverifiable"}
