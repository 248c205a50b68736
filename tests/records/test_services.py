"""Versions, corrections, moves, retries; two workers on one row; and nothing readable anywhere."""

import base64
import os
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from hospitals.actors import Actor, member_actor
from hospitals.errors import Refused
from hospitals.tenancy import all_tenants, tenant
from records import epochs, gate, keys, proofs, receipts, rekey, sealing, selectors, services, sweeper
from records.errors import Conflict, NotFound
from records.models import Epoch, Record, RecordVersion, Upload, Wrap
from records.storage import blob_store
from tests.records.conftest import NOTE, sealed_file, version_of


def read(actor, version):
    return b"".join(gate.release(actor=actor, version=version).chunks)


def add(member, version, data, **options):
    with tenant(version.hospital_id):
        record = Record.objects.select_related("patient__hospital", "hospital").get(pk=version.record_id)
        return services.version_add(
            actor=member_actor(member), record=record, file=sealed_file("note.txt", data), **options
        )


@pytest.mark.scenario("D7", "P10")
def test_a_new_version_keeps_the_old_one_and_the_second_author_is_told(people, made, work):
    first = made(people.alice, people.pat_a)
    one = add(people.alice, first, b"second\n", base_version=1)
    two = add(people.adam, first, b"also second\n", base_version=1)
    work()
    second = version_of(one)
    with all_tenants("test"):
        two.refresh_from_db()
        first.refresh_from_db()
    assert second.number == 2 and first.state == "superseded"
    assert two.state == "failed" and "newer version" in two.reason_text
    pat = Actor(people.pat)
    assert (read(pat, first), read(pat, second)) == (NOTE, b"second\n")
    with pytest.raises(Conflict):
        add(people.alice, first, b"third\n", base_version=1)
    with pytest.raises(Refused):
        add(people.cleo, first, b"third\n")


@pytest.mark.scenario("D6")
def test_entered_for_the_wrong_patient(cast, made, work, settle):
    from hospitals.actors import member_actor

    wrong = made(cast.alice, cast.kim_a, title="Knee")
    alice = member_actor(cast.alice)
    with tenant(cast.a):
        record = Record.objects.select_related("patient", "hospital").get(pk=wrong.record_id)
        moved = services.record_move(actor=alice, record=record, patient=cast.pat_a, reason="wrong person")
    work()
    right = version_of(moved)
    assert read(Actor(cast.pat), right) == NOTE
    for actor in (alice, Actor(cast.pat)):
        with pytest.raises(NotFound):
            read(actor, wrong)
    settle()
    with all_tenants("test"):
        wrong.refresh_from_db()
        assert proofs.proof_state(wrong) == proofs.proof_state(right) == "authentic"
    with tenant(cast.a):
        row = selectors.timeline([cast.kim_a], actor=alice)[0]
    assert (row.state, row.title) == ("withdrawn", "")


def test_a_patient_keeps_the_proof_of_a_withdrawn_record(people, made, chains):
    version = made(people.alice, people.pat_a)
    with tenant(people.a):
        record = Record.objects.get(pk=version.record_id)
        services.record_withdraw(actor=member_actor(people.alice), record=record, reason="twice entered")
    receipt = receipts.receipt_build(actor=Actor(people.pat), version=version)
    assert receipt["status"] == "withdrawn" and "salt32" in receipt
    for actor in (member_actor(people.adam), Actor(people.quinn)):
        with pytest.raises(NotFound):
            receipts.receipt_build(actor=actor, version=version)
    with all_tenants("test"):
        Record.objects.filter(pk=version.record_id).update(status="erased", erased_at=timezone.now(), erased_ground="x")
        Epoch.objects.filter(version=version).update(leaf_salt=None, meta_sealed=None)
    receipt = receipts.receipt_build(actor=Actor(people.pat), version=version)
    assert receipt["status"] == "erased" and "salt32" not in receipt and "leaf_salt" not in receipt


@pytest.mark.scenario("D13")
def test_a_failed_upload_is_tried_again_without_sending_it_again(people, send, work, monkeypatch):
    upload = send(people.alice, people.pat_a)
    with monkeypatch.context() as broken, tenant(people.a):
        broken.setattr(sealing, "payload_seal", lambda *_: 1 / 0)
        for _ in range(5):
            try:
                sealing.upload_seal(upload_id=upload.pk)
            except ZeroDivisionError:
                Upload.objects.filter(pk=upload.pk).update(claimed_until=None)
    with all_tenants("test"):
        upload.refresh_from_db()
    assert (upload.state, upload.attempts) == ("failed", 5)
    with tenant(people.a):
        services.upload_retry(actor=member_actor(people.alice), upload=upload)
        with pytest.raises(Conflict):
            services.upload_retry(actor=member_actor(people.alice), upload=upload)
    work()
    assert read(Actor(people.pat), version_of(upload)) == NOTE


def test_a_crash_at_any_step_is_finished_by_the_next_worker(people, send, work, monkeypatch, blobs):
    """Whatever was written when a worker died, one record comes out and no file is left over."""
    for module, name in [
        (sealing, "inspect"),
        (sealing, "payload_seal"),
        (sealing, "epoch_save"),
        (epochs.keys, "wraps_save"),
        (epochs.chain_services, "anchor_enqueue"),
    ]:
        upload = send(people.alice, people.pat_a)
        with monkeypatch.context() as broken, tenant(people.a):
            broken.setattr(module, name, lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                sealing.upload_seal(upload_id=upload.pk)
        with all_tenants("test"):
            Upload.objects.filter(pk=upload.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
        work()
        assert read(Actor(people.pat), version_of(upload)) == NOTE, name
    with all_tenants("test"):
        assert Record.objects.count() == RecordVersion.objects.count() == Epoch.objects.count() == 5
    assert sweeper.scrub_orphans(older_than_seconds=-1) == []


@pytest.mark.django_db(transaction=True)
def test_two_workers_on_one_row_make_one_record(transactional_db, settings, monkeypatch, send):
    from tests.people import make_people

    people = make_people()
    upload = send(people.alice, people.pat_a)
    start, results = threading.Barrier(3), []

    def run():
        start.wait()
        try:
            with tenant(people.a):
                results.append(sealing.upload_seal(upload_id=upload.pk))
        finally:
            connections.close_all()

    workers = [threading.Thread(target=run) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 3
    with all_tenants("test"):
        assert Record.objects.count() == RecordVersion.objects.count() == 1
    assert len(list(blob_store().addresses())) == 1 and not list(blob_store().staged())


def test_a_late_worker_that_lost_its_claim_leaves_no_trace(people, send, work, monkeypatch):
    upload = send(people.alice, people.pat_a)
    real = sealing.payload_seal

    def slow(*args):
        payload = real(*args)
        with monkeypatch.context() as again:
            again.setattr(sealing, "payload_seal", real)
            Upload.objects.filter(pk=upload.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
            assert sealing.upload_seal(upload_id=upload.pk) == "sealed"
        return payload

    with monkeypatch.context() as patch, tenant(people.a):
        patch.setattr(sealing, "payload_seal", slow)
        assert sealing.upload_seal(upload_id=upload.pk) == "sealed"
    assert len(list(blob_store().addresses())) == 1
    assert read(Actor(people.pat), version_of(upload)) == NOTE


def test_a_rekey_that_dies_leaves_a_readable_epoch(people, made, monkeypatch):
    version = made(people.alice, people.pat_a)
    with tenant(people.a):
        RecordVersion.objects.filter(pk=version.pk).update(rekey_requested_at=timezone.now())
        with monkeypatch.context() as broken:
            broken.setattr(rekey, "epoch_save", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                rekey.version_rekey(version_id=version.pk)
    assert read(Actor(people.pat), version) == NOTE
    assert len(list(blob_store().addresses())) == 1
    with tenant(people.a):
        RecordVersion.objects.filter(pk=version.pk).update(rekey_claimed_until=None)
        assert rekey.version_rekey(version_id=version.pk)
        assert not rekey.version_rekey(version_id=version.pk)
    assert read(Actor(people.pat), version) == NOTE


def test_a_wrap_of_an_ended_grant_does_not_outlive_it(people, made):
    version = made(people.alice, people.pat_a)
    with tenant(people.a):
        epoch = Epoch.objects.get(version=version)
        assert {bytes(wrap.recipient_kid) for wrap in epoch.wraps.all()} == {
            keys.keyring.wrap_kid(people.a),
            keys.keyring.wrap_kid(people.pat_a),
        }
    assert sweeper.stray_wraps_remove() == 0
    assert Wrap._meta.get_field("blob").max_length is None


@pytest.mark.scenario("O9", "O14")
def test_the_canary_is_nowhere(people, made, blobs, settings, tmp_path):
    """Marker, file name and title in no file and no table, in any usual spelling."""
    marker = b"CANARY-7f3a9c51"
    made(people.alice, people.pat_a, name="canary-7f3a9c51-name.txt", title="Canary-7f3a9c51-title")
    spellings = {marker, marker.lower(), marker.hex().encode(), base64.b64encode(marker)[:18], b"Canary-7f3a9c51"}
    stored = b"".join(path.read_bytes() for path in blobs.rglob("*") if path.is_file())
    dump = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            for row in cursor.fetchall():
                dump += [bytes(v) if isinstance(v, (bytes, memoryview)) else str(v).encode() for v in row]
    everything = stored + b"\n".join(dump)
    assert len(dump) > 100
    for spelling in spellings:
        assert spelling not in everything


@pytest.mark.scenario("O13")
def test_a_small_record_leaves_its_envelope_on_medchain(cast, made, settle, settings):
    from chain.gateway import gateway
    from records import crypto

    settings.RECORDS = {**settings.RECORDS, "is_record_store_enabled": True}
    version = made(cast.alice, cast.pat_a, chains="BOTH")
    settle()
    with all_tenants("test"):
        epoch = Epoch.objects.get(version=version)
    found = gateway("MED").call("RecordStore", "getData", crypto.store_identifier(bytes(epoch.leaf_salt)))
    # Nothing beside the salted leaf: a plain hash of the manifest stood here once.
    assert crypto.manifest_load(found.encode()) == {"v": 1, "suite": 1, "leaf": bytes(epoch.leaf).hex()}
    assert gateway("MED").call("RecordStore", "getData", uuid.uuid4().hex) == ""


def test_files_are_on_the_disk_before_anything_names_them(people, made, monkeypatch):
    """fsync of the file, rename, fsync of the folder: in that order, for staging and for the store."""
    calls = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, real=real, name=name, **kwargs: (calls.append(name), real(*args, **kwargs))[1]
        )
    made(people.alice, people.pat_a)
    assert calls[:2] == ["fsync", "fsync"] and "rename" in calls
    at = calls.index("rename")
    assert calls[at - 1] == "fsync" and calls[at + 1] == "fsync"


def test_held_back_bytes_go_after_their_time_and_give_room_back(people, send, work, blobs):
    from records.models import StorageUsage

    upload = send(people.alice, people.pat_a, name="scan.pdf", data=b"%PDF-1.4\n" + b"x" * 9_000)
    work()
    with all_tenants("test"):
        assert Upload.objects.get(pk=upload.pk).state == "quarantined"
        assert sweeper.quarantine_expire() == 0
        Upload.objects.filter(pk=upload.pk).update(finished_at=timezone.now() - timedelta(days=31))
        assert sweeper.quarantine_expire() == 1
        assert Upload.objects.get(pk=upload.pk).state == "discarded"
        assert StorageUsage.objects.get(hospital=people.a).used_bytes == 0
    assert not list(blob_store().staged())


@pytest.mark.scenario("P2")
def test_a_consent_that_the_chain_refuses_is_shown_as_failed(people, chains):
    from chain.models import OutboxItem

    with tenant(people.a):
        grant = services.grant_create(
            actor=Actor(people.pat),
            patient=people.pat_a,
            grantee=people.dora,
            scope_type="all",
            expires_at=timezone.now() + timedelta(days=1),
        )
        OutboxItem.objects.filter(ref=grant.record_ref).update(state="failed")
        type(grant).objects.filter(pk=grant.pk).update(created_at=timezone.now() - timedelta(minutes=1))
    assert sweeper.grants_refused() == 1
    with tenant(people.a):
        grant.refresh_from_db()
    assert grant.state == "failed"
