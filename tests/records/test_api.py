"""Records over the API, on real chains: the way of D1, P2, P3 and P8 for a program."""

import io
import json
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from hospitals import audit_maps
from hospitals import services as hospital_services
from hospitals.models import AuditEntry
from hospitals.tenancy import all_tenants, tenant
from records.models import Upload
from records.verification import verify_receipt as checker
from tests.records.conftest import NOTE, multipart, version_of
from tests.records.files import GOOD

API = "/api/v1"
FORM = [("title", "HbA1c"), ("category", "laboratory"), ("chains", "MED"), ("care_on", "2026-11-02")]


@pytest.fixture
def api(cast):
    """Call it for a client of a person at a path prefix, with a token of every scope."""
    from hospitals.types import TOKEN_SCOPES

    def make(person):
        _, raw = hospital_services.token_create(actor=cast.actor(person), name="test", scopes=list(TOKEN_SCOPES))
        return Client(headers={"authorization": f"Token {raw}"})

    return make


def upload(client, hospital, patient, *, name="note.txt", data=NOTE, fields=FORM):
    body, content_type = multipart([(name, data)], fields)
    return client.generic(
        "POST", f"{API}/h/{hospital.slug}/patients/{patient.pk}/uploads/", body, content_type=content_type
    )


def content(answer):
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def looks(patient):
    with tenant(patient.hospital_id):
        return AuditEntry.objects.filter(patient=patient).count()


@pytest.mark.scenario("D1", "D12", "P8")
def test_a_program_uploads_waits_reads_and_checks(cast, api, work, settle, chains):
    alice, pat = api(cast.alice), api(cast.pat)
    answer = upload(alice, cast.a, cast.pat_a, name="scan.png", data=GOOD["scan.png"])
    assert answer.status_code == 202 and answer.json()["state"] == "received"
    state_at = answer["Location"]
    work()
    sealed = alice.get(state_at).json()
    assert sealed["state"] == "sealed" and sealed["record"]
    record = f"{API}/me/records/{sealed['record']}"
    early = pat.get(f"{record}/receipt/").content
    assert checker.check_receipt(early, io.BytesIO(b"?")).verdict == "altered"
    settle()
    assert pat.get(f"{API}/me/records/").json()["results"][0]["state"] == "final"
    shown = pat.get(f"{record}/").json()
    assert shown["proof"] == "authentic" and shown["anchors"][0]["chain"] == "MED" and shown["title"] == "HbA1c"
    whole = content(pat.get(f"{record}/content/"))
    receipt = pat.get(f"{record}/receipt/").content
    report = checker.check_receipt(receipt, io.BytesIO(whole), rpc_urls=[chains["MED"].url])
    assert report.verdict == "authentic" and report.facts["chain"] == "agrees"
    assert checker.check_receipt(early, io.BytesIO(whole)).verdict == "pending"
    assert checker.check_receipt(receipt, io.BytesIO(whole + b"x"), rpc_urls=[chains["MED"].url]).verdict == "altered"
    assert checker.check_receipt(receipt, io.BytesIO(whole), rpc_urls=[chains["SUP"].url]).verdict == "cannot check now"


def test_ranges_give_parts_of_the_original(cast, api, made):
    data = bytes(range(32, 127)) * 1000
    version = made(cast.alice, cast.pat_a, data=data)
    pat, place = api(cast.pat), f"{API}/me/records/{version.record_id}/content/"
    for header, part in {"bytes=0-9": data[:10], "bytes=16380-16390": data[16380:16391], "bytes=-7": data[-7:]}.items():
        answer = pat.get(place, headers={"range": header})
        assert (answer.status_code, content(answer)) == (206, part)
        assert answer["Content-Range"].endswith(f"/{len(data)}") and int(answer["Content-Length"]) == len(part)
    beyond = pat.get(place, headers={"range": f"bytes={len(data)}-"})
    assert beyond.status_code == 416 and beyond["Content-Range"] == f"bytes */{len(data)}"
    assert beyond.json()["error"]["code"] == "range_not_satisfiable"
    whole = pat.get(place, headers={"range": "bytes=0-9", "if-range": '"another"'})
    assert whole.status_code == 200 and content(whole) == data
    go_on = pat.get(place, headers={"range": "bytes=10-", "if-range": whole["ETag"]})
    assert go_on.status_code == 206 and content(go_on) == data[10:]
    assert whole["Content-Disposition"].startswith("attachment") and "sandbox" in whole["Content-Security-Policy"]
    assert whole["Cache-Control"] == "no-store" and whole["X-Content-Type-Options"] == "nosniff"


@pytest.mark.scenario("P2", "P3", "P17")
def test_a_grant_opens_when_final_and_a_revoke_closes_at_once(cast, api, made, settle):
    lab = made(cast.alice, cast.pat_a, category="laboratory")
    image = made(cast.alice, cast.pat_a, category="imaging")
    pat, dora = api(cast.pat), api(cast.dora)
    place = f"{API}/h/{cast.b.slug}/records/{{}}/content/"
    (public,) = [row for row in pat.get(f"{API}/practitioners/?q=Dora").json() if row["id"] == str(cast.dora.pk)]
    wish = {
        "registration": str(cast.pat_a.pk), "practitioner": public["id"], "scope": "category",
        "scope_value": "laboratory", "expires_at": (timezone.now() + timedelta(days=7)).isoformat(),
    }  # fmt: skip
    made_grant = pat.post(f"{API}/me/grants/", wish, content_type="application/json")
    assert made_grant.status_code == 201, made_grant.content
    grant = made_grant.json()
    assert grant["state"] == "pending" and "Dora" in grant["statement"]
    assert dora.get(place.format(lab.record_id)).status_code == 404
    settle()
    assert pat.get(f"{API}/me/grants/{grant['id']}/").json()["state"] == "active"
    assert content(dora.get(place.format(lab.record_id))) == NOTE
    assert [row["id"] for row in dora.get(f"{API}/h/{cast.b.slug}/shared/").json()["results"]] == [str(lab.record_id)]
    foreign, absent = dora.get(place.format(image.record_id)), dora.get(place.format(uuid.uuid4()))
    assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content) == (404, absent.content)
    assert pat.delete(f"{API}/me/grants/{grant['id']}/").json()["state"] == "revoking"
    assert dora.get(place.format(lab.record_id)).content == absent.content
    assert dora.get(f"{API}/h/{cast.b.slug}/shared/").json()["results"] == []
    log = pat.get(f"{API}/me/log/").json()["results"]
    refused = [row for row in log if row["is_refused"] and row["actor"]["name"] == "Dora Lindqvist"]
    assert len(refused) >= 2 and all(row["actor"]["organisation"] == cast.b.name for row in refused)
    settle()
    assert pat.get(f"{API}/me/grants/{grant['id']}/").json()["state"] == "revoked"


@pytest.mark.scenario("P6")
def test_every_read_is_one_entry(cast, api, made):
    version = made(cast.alice, cast.pat_a)
    alice, root = api(cast.alice), f"{API}/h/{cast.a.slug}/records/{version.record_id}"
    for place in (f"{root}/", f"{root}/content/", f"{root}/receipt/"):
        before = looks(cast.pat_a)
        answer = alice.get(place)
        assert answer.status_code == 200, answer.content
        content(answer)
        assert looks(cast.pat_a) == before + 1, place


@pytest.mark.scenario("P7")
def test_the_log_export_is_proven_by_the_offline_tool(cast, api, made, settle, chains):
    version = made(cast.alice, cast.pat_a)
    alice, pat = api(cast.alice), api(cast.pat)
    content(alice.get(f"{API}/h/{cast.a.slug}/records/{version.record_id}/content/"))
    settle()
    place = f"{API}/me/log/{cast.pat_a.pk}/export/"
    fresh = pat.get(place).content
    assert checker.check_log(fresh).verdict == "pending"  # nothing has been counted yet
    settle()
    later = json.loads(pat.get(place).content)
    settle()
    export = pat.get(place).content
    rpc = [chains["MED"].url]
    report = checker.check_log(export, rpc_urls=rpc)
    assert report.verdict == "pending" and report.facts["anchored"] == report.facts["count"] - 1
    assert report.facts["chain"] == "agrees"
    assert later["count"] == report.facts["count"] - 1
    assert audit_maps.map_make(cast.a)
    settle()
    report = checker.check_log(pat.get(place).content, rpc_urls=rpc, earlier=export)
    assert report.verdict == "authentic" and report.facts["complete_to"] == report.facts["count"] - 1
    (state,) = [row for row in pat.get(f"{API}/me/log/state/").json() if row["hospital"] == cast.a.name]
    assert (state["counted"], state["counted_in_block"]) == (report.facts["complete_to"], report.facts["block_number"])
    with all_tenants("tamper"):
        from django.db import connection

        from hospitals import walls

        with connection.cursor() as cursor:
            for statement in walls.append_only_drop(connection.vendor, "hospitals_auditentry"):
                cursor.execute(statement)
            cursor.execute("UPDATE hospitals_auditentry SET action = 'x' WHERE patient_seq = 2")
    report = checker.check_log(pat.get(place).content, rpc_urls=rpc)
    assert report.verdict == "altered" and report.sentences[0] == "Entry 2 was changed."
    assert pat.get(f"{API}/me/log/{cast.quinn_b.pk}/export/").status_code == 404


@pytest.mark.scenario("D13")
def test_bad_uploads_say_what_to_do_and_leave_nothing(cast, api, blobs):
    alice, cleo, dora = api(cast.alice), api(cast.cleo), api(cast.dora)
    bad = {
        "empty.txt": b"",
        "run.exe": b"MZ" + b"\0" * 300,
        "../../x.pdf": b"%PDF-1.4 broken",
        "letter.pdf": b"not a pdf at all",
    }
    for name, data in bad.items():
        answer = upload(alice, cast.a, cast.pat_a, name=name, data=data)
        assert 400 <= answer.status_code < 500, name
        assert answer.json()["error"]["action"], name
    missing = alice.post(f"{API}/h/{cast.a.slug}/patients/{cast.pat_a.pk}/uploads/", {"title": "x"})
    assert missing.status_code == 400 and set(missing.json()["error"]["fields"]) == {"file", "category"}
    assert upload(cleo, cast.a, cast.pat_a).status_code == 202
    assert upload(dora, cast.a, cast.pat_a).status_code == 404
    assert upload(dora, cast.b, cast.pat_a).status_code == 404
    assert upload(alice, cast.a, cast.quinn_b).status_code == 404
    with all_tenants("count"):
        assert Upload.objects.count() == 1
    kept = [path for path in blobs.rglob("*") if path.is_file()]
    assert len(kept) == 1


@pytest.mark.scenario("D7", "D11")
def test_a_second_save_of_the_same_version_is_told(cast, api, made, work):
    version = made(cast.alice, cast.pat_a)
    more = [*FORM, ("record", str(version.record_id)), ("base_version", "1")]
    alice = api(cast.alice)
    first = upload(alice, cast.a, cast.pat_a, data=b"second text\n", fields=more)
    assert first.status_code == 202, first.content
    work()
    assert version_of(Upload(pk=uuid.UUID(first.json()["id"]))).number == 2
    late = upload(alice, cast.a, cast.pat_a, data=b"third text\n", fields=more)
    assert late.status_code == 409 and late.json()["error"]["code"] == "conflict"
    pat = api(cast.pat)
    place = f"{API}/me/records/{version.record_id}"
    assert content(pat.get(f"{place}/content/")) == b"second text\n"
    assert content(pat.get(f"{place}/content/?version=1")) == NOTE
    receipt = pat.get(f"{place}/receipt/?version=1").content
    assert json.loads(receipt)["status"] == "superseded"
    for odd in ("3", "x", "-1", "99999999"):
        assert pat.get(f"{place}/content/?version={odd}").status_code == 404
