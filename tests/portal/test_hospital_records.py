"""Upload, record, proof and log as staff see them in pages, on both chains."""
# ruff: noqa: F811 (fixtures of another part of the tree)

import json
import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from hospitals.models import AuditEntry
from hospitals.tenancy import all_tenants, tenant
from records import grants
from records.models import Record, RecordVersion, Restriction, Upload
from tests.records.conftest import (  # noqa: F401
    NOTE,
    blobs,
    cast,
    made,
    multipart,
    send,
    settle,
    version_of,
    work,
)
from tests.records.files import EICAR, GOOD, PDF, bomb

pytestmark = pytest.mark.django_db


def url(name, *args, slug="northwick"):
    return reverse(f"hospital:{name}", args=[slug, *args])


def text_of(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def post_files(client, path, files, **fields):
    body, content_type = multipart(files, list(fields.items()))
    headers = fields.pop("headers", {})
    return client.post(path, body, content_type=content_type, headers=headers)


@pytest.fixture
def alice(cast):
    return cast.client(cast.alice)


@pytest.mark.scenario("D1")
def test_a_file_goes_from_the_form_to_confirmed(cast, alice, work, settle):
    answer = post_files(
        alice,
        url("upload_for", cast.pat_a.pk),
        [("blood-panel.txt", NOTE)],
        category="laboratory",
        care_on="2026-11-09",
        title="Blood panel",
        chains="",
    )
    assert (answer.status_code, answer.url) == (302, url("jobs"))
    jobs = alice.get(url("jobs"))
    assert "Blood panel" in text_of(jobs) and "Received" in text_of(jobs)
    assert 'hx-trigger="every 2s"' in jobs.content.decode()
    work()
    fragment = alice.get(url("jobs"), headers={"HX-Request": "true", "X-Polling": "1"})
    assert "Anchoring" in text_of(fragment) and "<html" not in fragment.content.decode()
    settle()
    jobs = alice.get(url("jobs"))
    assert "Confirmed" in text_of(jobs)
    # What is finished is not asked for again.
    assert 'hx-trigger="every 2s"' not in jobs.content.decode()
    steps = text_of(alice.get(url("upload_states")))
    assert steps.count("Done") == 4

    patient = alice.get(url("patient", cast.pat_a.pk))
    assert "Blood panel" in text_of(patient) and "9 Nov" in text_of(patient)
    with tenant(cast.a):
        record = Record.objects.get()
    page = text_of(alice.get(url("record", record.pk)))
    assert NOTE.decode().split()[1] in page
    assert "Unchanged since" in page and "SUPchain" in page
    download = alice.get(url("record_file", record.pk, 1))
    assert b"".join(download.streaming_content) == NOTE
    assert "attachment" in download.headers["Content-Disposition"]
    receipt = alice.get(url("record_receipt", record.pk, 1))
    assert receipt.headers["Content-Type"] == "application/json"
    assert json.loads(receipt.content)["status"] == "current"


@pytest.mark.scenario("D2")
def test_the_hospital_decides_where_a_seal_goes_unless_the_person_does(cast, alice, settle, work):
    cases = [
        ("laboratory", "", "SUP"),
        ("psychiatry", "", "MED"),
        ("laboratory", "BOTH", "BOTH"),
        ("letters", "MED", "MED"),
    ]
    for number, (category, chosen, _) in enumerate(cases):
        answer = post_files(
            alice,
            url("upload_for", cast.pat_a.pk),
            [(f"n{number}.txt", NOTE)],
            category=category,
            care_on="2026-11-09",
            title=f"Case {number}",
            chains=chosen,
        )
        assert answer.status_code == 302
    with tenant(cast.a):
        chains = list(Upload.objects.order_by("created_at").values_list("chains", flat=True))
    assert chains == [expected for _, _, expected in cases]
    settle()
    with tenant(cast.a):
        both = RecordVersion.objects.get(chains="BOTH")
    page = alice.get(url("record", both.record_id)).content.decode()
    assert page.count("<h3>SUPchain</h3>") == 1 and page.count("<h3>MEDchain</h3>") == 1


@pytest.mark.scenario("D13")
def test_one_bad_file_does_not_stop_the_others(cast, settle, work):
    cleo = cast.client(cast.cleo)
    good = [(f"letter-{number}.pdf", PDF) for number in range(16)]
    bad = [("virus.txt", EICAR), ("photo.png", PDF), ("empty.pdf", b""), ("../../x.pdf", PDF)]
    answer = post_files(
        cleo,
        url("upload_for", cast.pat_a.pk),
        good[:8] + bad + good[8:],
        category="letters",
        care_on="2026-11-09",
        title="",
        chains="",
    )
    words = text_of(answer)
    assert answer.status_code == 422
    assert "4 files were not accepted" in words and "The other 16 files were received" in words
    for name in ("virus.txt", "photo.png", "empty.pdf"):
        assert name in words
    with tenant(cast.a):
        assert Upload.objects.count() == 16
    work()
    jobs = text_of(cleo.get(url("jobs")))
    assert "16 of 16" in jobs and "Anchoring" in jobs
    with tenant(cast.a):
        record = Record.objects.first()
    # She sees states and titles of what she sent, and opens nothing.
    assert cleo.get(url("record", record.pk)).status_code == 403
    assert str(record.pk) not in cleo.get(url("jobs")).content.decode()
    assert "Contents are for the treating staff" in text_of(cleo.get(url("patient", cast.pat_a.pk)))


@pytest.mark.scenario("D13")
def test_a_file_held_back_by_the_worker_says_why_and_can_be_discarded(cast, alice, work):
    answer = post_files(
        alice,
        url("upload_for", cast.pat_a.pk),
        [("bundle.zip", bomb(120))],
        category="other",
        care_on="2026-11-09",
        title="Bundle",
        chains="",
    )
    assert answer.status_code == 302
    work()
    words = text_of(alice.get(url("jobs") + "?show=attention"))
    assert "Held for checking" in words and "Discard the file" in words
    assert "Bundle is held for checking" in text_of(alice.get(url("home")))
    with tenant(cast.a):
        upload = Upload.objects.get()
    # Not hers to handle: another doctor of the same hospital, and one of another hospital.
    assert cast.client(cast.adam).post(url("upload_discard", upload.pk)).status_code == 404
    assert cast.client(cast.dora).post(url("upload_discard", upload.pk)).status_code == 404
    assert cast.client(cast.dora).post(url("upload_discard", upload.pk, slug="birch")).status_code == 404
    assert alice.post(url("upload_discard", upload.pk)).status_code == 302
    with tenant(cast.a):
        upload.refresh_from_db()
    assert upload.state == "discarded" and upload.staging_blob == ""


def test_retry_keeps_the_file(cast, alice, send, work):
    upload = send(cast.alice, cast.pat_a, title="X-ray")
    with tenant(cast.a):
        Upload.objects.filter(pk=upload.pk).update(state="failed", reason_text="The store did not answer. Try again.")
    words = text_of(alice.get(url("jobs")))
    assert "Needs attention" in words and "Try again" in words and "The store did not answer" in words
    assert alice.post(url("upload_retry", upload.pk)).status_code == 302
    work()
    assert version_of(upload).size == len(NOTE)


def test_the_script_gets_one_answer_for_each_file(cast, alice):
    fields = {"category": "letters", "care_on": "2026-11-09", "title": "", "chains": ""}
    path = url("upload_for", cast.pat_a.pk)
    body, content_type = multipart([("a.pdf", PDF)], list(fields.items()))
    answer = alice.post(path, body, content_type=content_type, headers={"Accept": "application/json"})
    assert answer.status_code == 201 and answer.json()["state"] == "received"
    body, content_type = multipart([("a.exe", b"MZ" + PDF)], list(fields.items()))
    answer = alice.post(path, body, content_type=content_type, headers={"Accept": "application/json"})
    assert answer.status_code == 422 and answer.json()["error"]
    body, content_type = multipart([("a.pdf", PDF)], [("care_on", "2026-11-09")])
    answer = alice.post(path, body, content_type=content_type, headers={"Accept": "application/json"})
    assert answer.status_code == 422 and answer.json()["error"]


@pytest.mark.scenario("P6")
def test_every_look_is_one_entry(cast, alice, made, settle):
    version = made(cast.alice, cast.pat_a, title="Result")
    settle()

    def count():
        with tenant(cast.a):
            return AuditEntry.objects.filter(patient=cast.pat_a).count()

    before = count()
    assert "Pat Moreno" in text_of(alice.get(url("patients") + "?q=moreno"))
    assert count() == before + 1  # Kim is listed too, with an entry of her own
    for step, path in enumerate(
        [
            url("record", version.record_id),
            url("record", version.record_id),
            url("record_file", version.record_id, 1),
            url("record_print", version.record_id, 1),
        ],
        start=2,
    ):
        answer = alice.get(path)
        assert answer.status_code == 200
        assert count() == before + step, path
    with tenant(cast.a):
        Restriction.objects.create(
            hospital=cast.a, patient=cast.pat_a, scope_type="all", scope_value="", created_by=cast.pat
        )
    assert alice.get(url("record", version.record_id)).status_code == 404
    assert count() == before + 6
    with tenant(cast.a):
        newest = AuditEntry.objects.filter(patient=cast.pat_a).order_by("-seq")[:6]
        actions = [(entry.action, entry.is_refused) for entry in reversed(newest)]
        assert all(entry.actor_membership_id == cast.alice.pk for entry in newest)
    assert actions == [
        ("patients.listed", False),
        ("records.version.read", False),
        ("records.version.read", False),
        ("records.version.downloaded", False),
        ("records.version.printed", False),
        ("records.version.read", True),
    ]


@pytest.mark.scenario("H2")
def test_another_hospital_finds_nothing_by_any_address(cast, made, send):
    version = made(cast.dora, cast.quinn_b, title="Secret of B")
    upload = send(cast.dora, cast.quinn_b)
    random = "7b0f2f60-0000-4000-8000-000000000000"
    routes = [
        ("patient", cast.quinn_b.pk, []),
        ("patient_log", cast.quinn_b.pk, []),
        ("upload_for", cast.quinn_b.pk, []),
        ("record", version.record_id, []),
        ("record_version", version.record_id, [1]),
        ("record_file", version.record_id, [1]),
        ("record_print", version.record_id, [1]),
        ("record_receipt", version.record_id, [1]),
        ("record_proof", version.record_id, [1]),
        ("record_withdraw", version.record_id, []),
        ("version_new", version.record_id, []),
    ]
    alice = cast.client(cast.alice)
    for route, key, more in routes:
        foreign = alice.get(url(route, key, *more))
        absent = alice.get(url(route, random, *more))
        assert foreign.status_code == absent.status_code == 404, route
        assert strip(foreign, key) == strip(absent, random), route
    hana = cast.client(cast.hana)
    for route, key in [("upload_retry", upload.pk), ("upload_discard", upload.pk), ("staff_end", cast.dora.pk)]:
        assert hana.post(url(route, key)).status_code in (403, 404), route
    assert "0 people found" in text_of(alice.get(url("patients") + "?q=abara"))
    assert "Secret of B" not in text_of(alice.get(url("shared")))


def strip(response, key):
    body = response.content.decode().replace(str(key), "")
    return re.sub(r"(nonce|csrfmiddlewaretoken|X-CSRFToken)[^>]*", "", body)


def test_entered_in_error_closes_the_content_and_keeps_the_history(cast, alice, made, settle):
    version = made(cast.alice, cast.pat_a, title="Wrong person")
    settle()
    path = url("record_withdraw", version.record_id)
    assert alice.post(path, {"reason": ""}).status_code == 422
    assert cast.client(cast.cleo).get(path).status_code == 403
    assert alice.post(path, {"reason": "wrong_patient"}).status_code == 302
    page = alice.get(url("record", version.record_id))
    words = text_of(page)
    assert page.status_code == 200 and "Entered in error" in words and "CANARY" not in words
    assert alice.get(url("record_file", version.record_id, 1)).status_code == 404
    assert "Entered in error" in text_of(alice.get(url("patient", cast.pat_a.pk)))


def test_a_corrected_version_replaces_and_the_second_author_is_told(cast, alice, made, settle, work):
    version = made(cast.alice, cast.pat_a, title="Note")
    path = url("version_new", version.record_id)
    assert alice.get(path).status_code == 200
    first = post_files(alice, path, [("note.txt", NOTE + b"corrected")], chains="", base_version="1")
    assert first.status_code == 302
    work()
    settle()
    second = post_files(cast.client(cast.adam), path, [("note.txt", NOTE + b"late")], chains="", base_version="1")
    assert second.status_code == 409 and "Somebody else saved a newer version first" in text_of(second)
    words = text_of(alice.get(url("record", version.record_id)))
    assert "Version 2 of 2" in words and "corrected" in words
    old = text_of(alice.get(url("record_version", version.record_id, 1)))
    assert "This is an earlier version" in old and "corrected" not in old


@pytest.mark.parametrize("name", ["scan.dcm", "picture.png", "photo.jpg", "bundle.json"])
def test_what_is_safe_is_shown_in_the_page(cast, alice, made, name):
    found = {key: value for key, value in GOOD.items() if key.rpartition(".")[2] == name.rpartition(".")[2]}
    assert found, sorted(GOOD)
    key, data = next(iter(found.items()))
    version = made(cast.alice, cast.pat_a, name=key, data=data)
    page = alice.get(url("record", version.record_id)).content.decode()
    if key.endswith(".json"):
        assert "resourceType" in page
    else:
        assert 'src="data:image/' in page
    with all_tenants("test"):
        assert AuditEntry.objects.filter(action="records.version.read").count() == 1


@pytest.mark.scenario("P3")
def test_what_a_patient_shares_is_there_until_the_patient_stops(cast, made, settle):
    version = made(cast.alice, cast.pat_a, title="Blood panel", category="laboratory")
    other = made(cast.alice, cast.pat_a, title="MRI", category="imaging")
    dora = cast.client(cast.dora)
    path, shared = url("record", version.record_id, slug="birch"), url("shared", slug="birch")
    assert dora.get(path).status_code == 404
    assert "Nothing is shared with you now" in text_of(dora.get(shared))
    with tenant(cast.a):
        grant = grants.grant_create(
            actor=cast.actor(cast.pat),
            patient=cast.pat_a,
            grantee=cast.dora,
            scope_type="category",
            scope_value="laboratory",
            expires_at=timezone.now() + timedelta(days=7),
        )
    assert dora.get(path).status_code == 404
    settle()
    words = text_of(dora.get(shared))
    assert "Blood panel" in words and "Pat Moreno" in words and "MRI" not in words
    page = dora.get(path)
    assert page.status_code == 200 and "Consent of the patient" in text_of(page)
    assert "Mark entered in error" not in text_of(page)
    assert dora.get(url("record_file", version.record_id, 1, slug="birch")).status_code == 200
    assert dora.get(url("record", other.record_id, slug="birch")).status_code == 404
    # Through the address of a hospital where she does not work there is nothing either.
    assert dora.get(url("record", version.record_id)).status_code == 404
    with tenant(cast.a):
        grants.grant_revoke(actor=cast.actor(cast.pat), grant=grant)
    assert dora.get(path).status_code == 404
    assert dora.get(url("record_file", version.record_id, 1, slug="birch")).status_code == 404
    assert "Nothing is shared with you now" in text_of(dora.get(shared))
    with tenant(cast.a):
        seen = AuditEntry.objects.filter(patient=cast.pat_a, actor_membership=cast.dora)
        assert {entry.basis for entry in seen if not entry.is_refused} == {f"consent:{grant.pk}"}
