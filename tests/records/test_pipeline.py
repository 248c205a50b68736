"""From a file to a final anchor and back, on real chains."""

import hashlib

import pytest

from hospitals.actors import Actor, member_actor
from hospitals.tenancy import all_tenants
from records import gate, proofs, receipts
from records.errors import NotFound
from records.models import Epoch, RecordVersion, Upload
from tests.records.conftest import NOTE
from tests.records.files import GOOD


def body(release):
    return b"".join(release.chunks)


@pytest.mark.scenario("D1", "D2")
@pytest.mark.parametrize("where", ["SUP", "MED", "BOTH"])
def test_a_record_goes_from_file_to_final_and_back(cast, send, work, settle, where):
    upload = send(cast.alice, cast.pat_a, chains=where)
    assert upload.state == "received"
    work()
    with all_tenants("test"):
        upload = Upload.objects.get(pk=upload.pk)
        assert upload.state == "sealed"
        version = RecordVersion.objects.get(record_id=upload.record_id)
        assert version.state == "sealed"
    settle()
    with all_tenants("test"):
        version.refresh_from_db()
        assert version.state == "final" and version.final_at is not None
        epoch = Epoch.objects.get(version=version)
        assert {anchor.chain for anchor in epoch.anchors.all()} == set({"BOTH": ["SUP", "MED"]}.get(where, [where]))
        assert proofs.proof_state(version) == "authentic"
    for actor in (member_actor(cast.alice), member_actor(cast.adam), Actor(cast.pat)):
        release = gate.release(actor=actor, version=version)
        assert body(release) == NOTE
        assert (release.filename, release.media_type, release.size) == ("note.txt", "text/plain", len(NOTE))
    with pytest.raises(NotFound):
        gate.release(actor=member_actor(cast.dora), version=version)


@pytest.mark.scenario("D12")
def test_every_kind_of_file_comes_back_byte_for_byte(cast, send, work):
    uploads = {name: send(cast.alice, cast.pat_a, name=name, data=data) for name, data in GOOD.items()}
    work()
    for name, upload in uploads.items():
        with all_tenants("test"):
            upload.refresh_from_db()
            assert upload.state == "sealed", (name, upload.reason_code)
            version = RecordVersion.objects.get(record_id=upload.record_id)
        found = body(gate.release(actor=member_actor(cast.alice), version=version))
        assert hashlib.sha256(found).digest() == hashlib.sha256(GOOD[name]).digest(), name


@pytest.mark.scenario("P8")
def test_a_receipt_holds_what_the_offline_checker_needs(cast, made, settle):
    version = made(cast.alice, cast.pat_a, chains="BOTH")
    actor = Actor(cast.pat)
    assert receipts.receipt_build(actor=actor, version=version)["anchors"][0]["state"] == "queued"
    settle()
    receipt = receipts.receipt_build(actor=actor, version=version)
    assert receipt["status"] == "current"
    assert [anchor["state"] for anchor in receipt["anchors"]] == ["final", "final"]
    assert all(anchor["proof"] is not None and anchor["block_number"] for anchor in receipt["anchors"])
