"""What arrives: sealed from its first chunk, or turned away with nothing left behind."""

import errno
import os

import pytest
from django.core.files.uploadhandler import load_handler
from django.test import RequestFactory

from hospitals.actors import Actor, member_actor
from hospitals.errors import Refused
from hospitals.tenancy import all_tenants, tenant
from records import ingest, services, storage
from records.conf import conf
from records.errors import QuotaExceeded, StorageFull, UploadRefused
from records.ingest import SealedUpload, SealingUploadHandler
from records.models import StorageUsage, Upload
from tests.records.conftest import NOTE, multipart, sealed_file, sealed_files
from tests.records.files import AT_THE_DOOR, GOOD, PDF, bomb


def left_behind(blobs):
    return [path for path in blobs.rglob("*") if path.is_file()]


def receive(member, patient, file, **fields):
    values = {"chains": "SUP", "category": "laboratory", "title": "Result", **fields}
    with tenant(patient.hospital_id):
        return services.upload_receive(actor=member_actor(member), patient=patient, file=file, **values)


def test_the_sealing_handler_is_the_only_one(settings):
    request = RequestFactory().post("/")
    handlers = [load_handler(name, request) for name in settings.FILE_UPLOAD_HANDLERS]
    assert [type(handler) for handler in handlers] == [SealingUploadHandler]


def test_no_byte_of_plaintext_is_on_the_disk(blobs):
    data = b"".join(b"plain-%06d " % n for n in range(40_000))
    file = sealed_file("note.txt", data)
    stored = b"".join(path.read_bytes() for path in left_behind(blobs))
    assert file.size == len(data) and len(stored) > len(data)
    assert b"plain-" not in stored
    assert not any(data[at : at + 16] in stored for at in range(0, len(data), 997))
    file.close()
    assert left_behind(blobs) == []


def test_a_file_that_nobody_took_is_gone_with_the_request(blobs):
    files = sealed_files(("a.txt", NOTE), ("b.txt", NOTE))
    assert len(left_behind(blobs)) == 2
    for file in files:
        file.close()
    assert left_behind(blobs) == []


def test_the_web_tier_cannot_read_back_what_it_took(people, blobs):
    file = sealed_file()
    receive(people.alice, people.pat_a, file)
    assert file.staging_key == b""
    for use in (file.read, file.chunks, lambda: iter(file).__next__()):
        with pytest.raises(TypeError):
            use()


@pytest.mark.scenario("D13")
@pytest.mark.parametrize(
    ("name", "data", "code"), AT_THE_DOOR, ids=lambda v: repr(v[:20]) if isinstance(v, str) else ""
)
def test_bad_files_are_turned_away_and_leave_nothing(name, data, code, blobs):
    if "\n" in name:  # a line break cannot stand in a header
        return
    file = sealed_file(name, data)
    assert file.error is not None and file.error.code == code
    assert file.error.http_status == 422 and file.error.user_message.endswith(".")
    assert left_behind(blobs) == []


@pytest.mark.scenario("D13")
def test_bad_files_of_a_batch_do_not_stop_the_good_ones(people, blobs):
    good = [(f"note{n}.txt", NOTE) for n in range(16)]
    bad = [("../../x", PDF), ("scan.pdf", GOOD["scan.png"]), ("eicar.txt", AT_THE_DOOR[18][1]), ("empty.txt", b"")]
    files = sealed_files(*good[:8], *bad, *good[8:])
    refused, accepted = [], []
    for file in files:
        try:
            accepted.append(receive(people.cleo, people.pat_a, file))
        except UploadRefused as error:
            refused.append(error.code)
    assert len(accepted) == 16
    assert refused == ["name_path", "type_mismatch", "malware", "empty"]
    assert len(left_behind(blobs)) == 16


def test_an_empty_file_is_refused(blobs):
    file = sealed_file("note.txt", b"")
    assert file.error.code == "empty" and "0 bytes" in file.error.user_message
    assert left_behind(blobs) == []


def test_a_file_over_the_limit_is_refused_while_it_arrives(settings, blobs):
    settings.RECORDS = {**settings.RECORDS, "upload_max_bytes": 100_000}
    file = sealed_file("note.txt", b"x" * 300_000)
    assert (file.error.code, file.error.http_status) == ("too_large", 413)
    assert left_behind(blobs) == []


def test_a_full_quota_refuses_and_keeps_nothing(people, settings, blobs):
    settings.RECORDS = {**settings.RECORDS, "hospital_quota_bytes": 2 * len(NOTE)}
    for _ in range(2):
        receive(people.alice, people.pat_a, sealed_file())
    file = sealed_file()
    with pytest.raises(QuotaExceeded):
        receive(people.alice, people.pat_a, file)
    file.close()
    assert len(left_behind(blobs)) == 2
    with all_tenants("test"):
        assert StorageUsage.objects.get(hospital=people.a).used_bytes == 2 * len(NOTE)
        assert Upload.objects.count() == 2


class Cut:
    """A connection that breaks after some bytes."""

    def __init__(self, data, after):
        self.data, self.after, self.at = data, after, 0

    def read(self, size=-1):
        if self.at >= self.after:
            raise OSError("connection reset by peer")
        piece = self.data[self.at : min(self.at + size, self.after)]
        self.at += len(piece)
        return piece


@pytest.mark.parametrize("after", [10, 300, 70_000, 250_000])
def test_a_cut_connection_leaves_nothing(after, blobs):
    body, content_type = multipart([("a.txt", b"x" * 100_000), ("b.txt", b"y" * 200_000)])
    request = RequestFactory().generic("POST", "/", b"x", content_type=content_type)
    request.META["CONTENT_LENGTH"] = str(len(body))
    request._stream = Cut(body, after)
    with pytest.raises(OSError):
        request.FILES  # noqa: B018
    assert left_behind(blobs) == []


def test_a_body_that_ends_early_gives_no_file(blobs):
    body, content_type = multipart([("a.txt", b"x" * 100_000)])
    request = RequestFactory().generic("POST", "/", body[:60_000], content_type=content_type)
    request.META["CONTENT_LENGTH"] = str(len(body))
    assert request.FILES.getlist("file") == []
    assert left_behind(blobs) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_says_so_and_leaves_nothing(monkeypatch, blobs, code, call):
    real = getattr(os, call)

    def full(fd, *args):
        if call == "write" and len(args[0]) < 1_000:
            return real(fd, *args)
        raise OSError(code, "no space")

    monkeypatch.setattr(storage.os, call, full)
    file = sealed_file("note.txt", b"x" * 500_000)
    monkeypatch.undo()
    assert isinstance(file.error, StorageFull) and file.error.http_status == 507
    assert "Keep your copy" in file.error.user_message
    assert left_behind(blobs) == []


def test_only_staff_who_may_upload_can(people, blobs):
    for person in (people.hana, people.dora, people.reg):
        with pytest.raises(Refused), tenant(people.a):
            services.upload_receive(
                actor=member_actor(person),
                patient=people.pat_a,
                file=sealed_file(),
                chains="SUP",
                category="laboratory",
                title="x",
            )
    with pytest.raises(Refused), tenant(people.a):
        services.upload_receive(
            actor=Actor(people.pat), patient=people.pat_a, file=sealed_file(), chains="SUP", category="other", title="x"
        )


@pytest.mark.parametrize(
    ("field", "value"), [("chains", "ETH"), ("category", "gossip"), ("title", " "), ("title", "x" * 121)]
)
def test_bad_details_are_named(people, field, value):
    with pytest.raises(UploadRefused) as refused:
        receive(people.alice, people.pat_a, sealed_file(), **{field: value})
    assert refused.value.code == field


def test_one_file_makes_one_upload(people):
    file = sealed_file()
    receive(people.alice, people.pat_a, file)
    with pytest.raises(UploadRefused):
        receive(people.alice, people.pat_a, file)


def test_a_refused_upload_in_the_database_leaves_no_file(people, blobs, monkeypatch):
    file = sealed_file()
    monkeypatch.setattr(ingest.audit, "append", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        receive(people.alice, people.pat_a, file)
    file.close()
    assert left_behind(blobs) == []
    with all_tenants("test"):
        assert not Upload.objects.exists()


def test_what_is_not_a_sealed_file_is_refused(people):
    from django.core.files.uploadedfile import SimpleUploadedFile

    with pytest.raises(UploadRefused):
        receive(people.alice, people.pat_a, SimpleUploadedFile("a.txt", b"x"))
    assert isinstance(sealed_file(), SealedUpload)


def test_an_upload_survives_a_dead_queue(people, monkeypatch, django_capture_on_commit_callbacks, work):
    """The message is lost; the row is there, and the sweeper finishes it."""
    from kombu.exceptions import OperationalError

    from records import wakeups

    def down(*args, **kwargs):
        raise OperationalError("no broker")

    monkeypatch.setattr(wakeups.current_app, "send_task", down)
    with django_capture_on_commit_callbacks(execute=True):
        upload = receive(people.alice, people.pat_a, sealed_file())
    work()
    with all_tenants("test"):
        upload.refresh_from_db()
    assert upload.state == "sealed"


def test_messages_hold_ids_only(people, monkeypatch, django_capture_on_commit_callbacks):
    import json

    from records import wakeups

    sent = []
    monkeypatch.setattr(wakeups.current_app, "send_task", lambda name, kwargs, **rest: sent.append(kwargs))
    with django_capture_on_commit_callbacks(execute=True):
        receive(people.alice, people.pat_a, sealed_file())
    assert set(sent[0]) == {"hospital_id", "upload_id"} and len(json.dumps(sent[0])) < 512


def test_orphans_are_removed_and_nothing_else(people, blobs, work):
    from records.sweeper import scrub_orphans

    receive(people.alice, people.pat_a, sealed_file())
    work()
    kept = left_behind(blobs)
    sealed_file("lost.txt", NOTE)  # a process died here
    assert len(left_behind(blobs)) == len(kept) + 1
    assert scrub_orphans(older_than_seconds=3600) == []
    assert len(scrub_orphans(older_than_seconds=-1)) == 1
    assert left_behind(blobs) == kept


def test_memory_stays_small_at_any_size(settings, blobs):
    """A hundred megabytes go through in pieces; what grows is the file only."""
    import tracemalloc

    class Endless:
        def __init__(self, head, size, tail):
            self.parts, self.left, self.tail = head, size, tail

        def read(self, size=-1):
            if self.parts:
                piece, self.parts = self.parts[:size], self.parts[size:]
                return piece
            if self.left:
                piece = b"x" * min(size, self.left)
                self.left -= len(piece)
                return piece
            piece, self.tail = self.tail[:size], self.tail[size:]
            return piece

        readline = read

    size = 120 << 20
    body, content_type = multipart([("big.txt", b"@")])
    head, tail = body.split(b"@")
    request = RequestFactory().generic("POST", "/", b"x", content_type=content_type)
    request.META["CONTENT_LENGTH"] = str(len(head) + size + len(tail))
    request._stream = Endless(head, size, tail)
    tracemalloc.start()
    file = request.FILES["file"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.size == size and file.error is None
    assert peak < 8 << 20
    assert conf().upload_max_bytes > size
    file.close()


def test_a_bomb_is_held_back_with_its_bytes_sealed(people, send, work, blobs):
    upload = send(people.alice, people.pat_a, name="bomb.zip", data=bomb())
    work()
    with all_tenants("test"):
        upload.refresh_from_db()
        assert (upload.state, upload.reason_code) == ("quarantined", "zip_bomb")
        assert upload.reason_text.endswith(".")
    assert len(left_behind(blobs)) == 1
    with tenant(people.a):
        services.upload_discard(actor=member_actor(people.alice), upload=upload)
    assert left_behind(blobs) == []
