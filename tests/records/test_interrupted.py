"""An error at the worst moment: what was committed stays usable, whatever the clean-up around it does."""

import pytest

from chain import failpoints
from hospitals.actors import member_actor
from hospitals.tenancy import all_tenants, tenant
from records import services, sweeper, tasks
from records.models import Record, RecordVersion, Upload
from records.sealing import upload_claim
from tests.records.conftest import sealed_file, version_of

pytestmark = pytest.mark.django_db(transaction=True)


class Interrupted(Exception):
    """Stands for a full disk, a lost connection, a worker that is told to go."""


@pytest.fixture
def interrupt():
    """Call it with the name of a failpoint; the next pass of it raises."""

    def at(name):
        def hook(reached):
            if reached == name:
                failpoints.arm(None)
                raise Interrupted(name)

        failpoints.arm(hook)

    yield at
    failpoints.arm(None)


def receive(people):
    """An upload as a request makes it: whatever happens, the request closes its files."""
    file = sealed_file()
    try:
        with tenant(people.a):
            return services.upload_receive(
                actor=member_actor(people.alice),
                patient=people.pat_a,
                file=file,
                chains="MED",
                category="laboratory",
                title="Result",
            )
    finally:
        file.close()


def test_error_after_the_commit_of_an_upload_does_not_take_its_bytes(people, work, interrupt, blobs):
    interrupt("ingest.committed")
    with pytest.raises(Interrupted):
        receive(people)
    with all_tenants("test"):
        upload = Upload.objects.get()
    assert (blobs / "staging" / upload.staging_blob).exists()
    work()
    assert version_of(upload).size == upload.size


def test_error_before_the_commit_of_an_upload_leaves_nothing(people, interrupt, blobs):
    interrupt("ingest.row_saved")
    with pytest.raises(Interrupted):
        receive(people)
    with all_tenants("test"):
        assert not Upload.objects.exists()
    assert not list((blobs / "staging").iterdir())


@pytest.mark.parametrize("name", ["seal.committed", "seal.staging_deleted"])
def test_error_after_the_commit_of_a_seal_leaves_the_upload_sealed(people, work, interrupt, name):
    upload = receive(people)
    interrupt(name)
    with pytest.raises(Interrupted):
        sweeper.sweep_once(tasks.run_inline, grace_seconds=-1)
    assert version_of(upload).size == upload.size
    work()
    with all_tenants("test"):
        assert RecordVersion.objects.count() == 1
    sweeper.scrub_orphans(older_than_seconds=0)
    assert version_of(upload).state == "sealed"


def test_error_after_the_commit_of_a_move_does_not_take_its_bytes(cast, made, work, settle, interrupt, blobs):
    version = made(cast.alice, cast.pat_a)
    settle()
    with tenant(cast.a), pytest.raises(Interrupted):
        interrupt("move.committed")
        services.record_move(
            actor=member_actor(cast.alice), record=version.record, patient=cast.kim_a, reason="wrong_patient"
        )
    with all_tenants("test"):
        upload = Upload.objects.get(patient=cast.kim_a)
    assert (blobs / "staging" / upload.staging_blob).exists()
    work()
    assert version_of(upload).record.patient_id == cast.kim_a.pk
    with all_tenants("test"):
        assert Record.objects.get(pk=version.record_id).status == "withdrawn"


def test_file_that_ends_every_worker_is_given_up_and_can_be_tried_again(people, work, settings):
    upload = receive(people)
    settings.RECORDS = {**settings.RECORDS, "claim_seconds": -1}  # each worker is long dead when the next one looks
    with tenant(people.a):
        assert all(upload_claim(upload.pk) for _ in range(5))
    work()
    with all_tenants("test"):
        upload.refresh_from_db()
        assert (upload.state, upload.reason_code) == ("failed", "sealing_failed")
        assert upload.staging_blob
    with tenant(people.a):
        services.upload_retry(actor=member_actor(people.alice), upload=upload)
    work()
    assert version_of(upload).size == upload.size
