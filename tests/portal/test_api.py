"""The API's doors: who gets in, what a stranger learns (nothing), tokens, page marks, and its own description."""

import hashlib
import json
import re
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from hospitals import audit, services
from hospitals.models import AccessToken, AuditEntry
from hospitals.tenancy import tenant
from hospitals.types import TOKEN_SCOPES

pytestmark = pytest.mark.db
API = "/api/v1"
NOT_FOUND = {"error": {"code": "not_found", "message": "Not found.", "action": "Check the address and the id."}}


def routes():
    """Every address of the API, with an id that is nobody's."""
    patterns = next(p for p in get_resolver().url_patterns if str(p.pattern) == "api/v1/").url_patterns
    for pattern in patterns:
        text = str(pattern.pattern)
        if "rest" not in text:
            yield (
                pattern.name,
                f"{API}/" + re.sub(r"<slug:slug>", "{slug}", re.sub(r"<uuid:\w+>", str(uuid.UUID(int=9)), text)),
            )


def entries(patient, action):
    with tenant(patient.hospital_id):
        return list(AuditEntry.objects.filter(patient=patient, action=action).order_by("seq"))


def token_client(people, person, scopes, *, days=None):
    _, raw = services.token_create(actor=people.actor(person), name="lab system", scopes=scopes, days=days)
    client = Client(headers={"authorization": f"Token {raw}"})
    client.raw = raw
    return client


# Doors


OPEN = {"contracts"}  # what anybody may ask


def test_nothing_answers_without_sign_in(people, client):
    for name, address in routes():
        if name in OPEN:
            assert client.get(address).status_code == 200
            continue
        answer = client.get(address.format(slug=people.a.slug))
        assert answer.status_code == 401, name
        assert answer.json()["error"]["code"] == "not_authenticated"
        assert answer["WWW-Authenticate"] == "Token"


@pytest.mark.scenario("H2")
@pytest.mark.parametrize("person", ["dora", "boris", "pat", "quinn", "reg"])
def test_a_hospital_that_is_not_yours_is_not_found(people, person):
    client = people.client(getattr(people, person))
    nowhere = client.get(f"{API}/h/no-such-hospital/patients/?q=x")
    assert nowhere.status_code == 404 and nowhere.json() == NOT_FOUND
    for name, address in routes():
        if "{slug}" not in address:
            continue
        for method in ("get", "post"):
            answer = getattr(client, method)(address.format(slug=people.a.slug))
            if answer.status_code == 405:
                continue
            assert (answer.status_code, answer.content) == (404, nowhere.content), (name, method)


@pytest.mark.scenario("H2", "D10")
def test_ids_of_another_tenant_read_like_ids_that_do_not_exist(people):
    client = people.client(people.hana)
    places = ["patients/{}/", "patients/{}/records/", "records/{}/", "records/{}/content/", "records/{}/receipt/"]
    for place in places:
        foreign = client.get(f"{API}/h/{people.a.slug}/{place.format(people.quinn_b.pk)}")
        absent = client.get(f"{API}/h/{people.a.slug}/{place.format(uuid.uuid4())}")
        assert foreign.status_code == absent.status_code
        assert foreign.content == absent.content
        assert set(foreign.headers) == set(absent.headers)
    assert client.get(f"{API}/no/such/place").json() == NOT_FOUND


@pytest.mark.scenario("D10", "D13")
@pytest.mark.parametrize(
    ("person", "allowed"),
    [
        ("alice", {"patients", "patient", "records", "uploads", "shared"}),
        ("cleo", {"patients", "patient", "uploads"}),
        ("hana", {"patients", "patient", "uploads", "log"}),
    ],
)
def test_roles_open_what_the_table_says(people, person, allowed):
    client = people.client(getattr(people, person))
    root = f"{API}/h/{people.a.slug}"
    places = {
        "patients": f"{root}/patients/?q=Moreno",
        "patient": f"{root}/patients/{people.pat_a.pk}/",
        "records": f"{root}/patients/{people.pat_a.pk}/records/",
        "uploads": f"{root}/uploads/",
        "shared": f"{root}/shared/",
        "log": f"{root}/log/",
    }
    for name, address in places.items():
        answer = client.get(address)
        assert answer.status_code == (200 if name in allowed else 403), name
        if name not in allowed:
            assert set(answer.json()["error"]) == {"code", "message", "action"}


def test_a_refused_role_is_in_the_log(people):
    people.client(people.cleo).get(f"{API}/h/{people.a.slug}/log/")
    with tenant(people.a):
        entry = AuditEntry.objects.get(action="access.refused")
    assert entry.is_refused and entry.channel == "api" and entry.actor_membership == people.cleo


def test_staff_without_a_second_step_are_stopped(people):
    people.alice.user.authenticator_set.all().delete()
    answer = people.client(people.alice).get(f"{API}/h/{people.a.slug}/patients/?q=x")
    assert answer.status_code == 403


def test_a_write_by_session_needs_the_csrf_token(people):
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.pat, backend="allauth.account.auth_backends.AuthenticationBackend")
    answer = client.post(f"{API}/tokens/", {"name": "x", "scopes": ["log:read"]}, content_type="application/json")
    assert answer.status_code == 403 and not AccessToken.objects.exists()


# People and the log


@pytest.mark.scenario("P6")
def test_a_search_is_seen_by_each_patient_it_lists(people):
    answer = people.client(people.cleo).get(f"{API}/h/{people.a.slug}/patients/?q=Moreno")
    assert {row["given_name"] for row in answer.json()} == {"Pat", "Kim"}
    assert set(answer.json()[0]) == {
        "id", "mrn", "given_name", "family_name", "birth_date", "sex", "status", "registered_at",
    }  # fmt: skip
    for patient in (people.pat_a, people.kim_a):
        (entry,) = entries(patient, "patients.listed")
        assert entry.channel == "api" and entry.actor_membership == people.cleo
    assert entries(people.pat_b, "patients.listed") == []


@pytest.mark.scenario("P6")
def test_the_log_names_who_looked_and_counts_without_gaps(people):
    people.client(people.alice).get(f"{API}/h/{people.a.slug}/patients/{people.pat_a.pk}/")
    found = people.client(people.pat).get(f"{API}/me/log/").json()["results"]
    mine = [row for row in found if row["hospital"] == people.a.name]
    assert [row["number"] for row in mine] == list(range(len(mine), 0, -1))
    assert mine[0]["action"] == "log.opened" and mine[0]["actor"]["is_you"]
    assert mine[1]["actor"] == {
        "name": "Alice Okafor", "role": "doctor", "organisation": people.a.name, "is_you": False,
    }  # fmt: skip
    assert mine[1]["channel"] == "api"
    quinns = people.client(people.quinn).get(f"{API}/me/log/").json()["results"]
    assert all(row["hospital"] == people.b.name for row in quinns)


def test_who_am_i_and_who_is_there(people):
    me = people.client(people.pat).get(f"{API}/me/").json()
    assert me["name"] == "Pat Moreno" and me["roles"] == []
    assert {row["hospital"] for row in me["registrations"]} == {people.a.name, people.b.name}
    alice = people.client(people.alice)
    assert [row["slug"] for row in alice.get(f"{API}/me/").json()["roles"]] == [people.a.slug]
    names = {row["name"] for row in alice.get(f"{API}/organisations/").json()["results"]}
    assert {people.a.name, people.b.name} <= names
    assert alice.get(f"{API}/organisations/{people.b.pk}/").json()["slug"] == people.b.slug
    assert alice.get(f"{API}/organisations/{uuid.uuid4()}/").json() == NOT_FOUND
    (dora,) = alice.get(f"{API}/practitioners/?q=dora").json()
    assert dora["organisation"] == people.b.name and "email" not in dora


# Tokens


def test_a_token_is_shown_once_and_kept_as_a_hash(people):
    client = people.client(people.pat)
    wish = {"name": "my app", "scopes": ["log:read"], "days": 7}
    made = client.post(f"{API}/tokens/", wish, content_type="application/json")
    assert made.status_code == 201
    raw = made.json()["token"]
    row = AccessToken.objects.get()
    assert raw.encode() not in bytes(row.token_hash) and len(raw) >= 22
    assert hashlib.sha256(raw.encode()).digest() != b"" and raw not in str(vars(row))
    listed = client.get(f"{API}/tokens/").json()
    assert listed[0]["prefix"] and "token" not in listed[0]
    with_token = Client(headers={"authorization": f"Token {raw}"})
    assert with_token.get(f"{API}/me/log/").status_code == 200
    row.refresh_from_db()
    assert row.last_used_at is not None
    assert client.delete(f"{API}/tokens/{row.pk}/").status_code == 204
    assert with_token.get(f"{API}/me/log/").status_code == 401


def test_a_token_does_only_what_its_scopes_name(people):
    needed = {
        "me/log/": "log:read",
        "me/records/": "records:read",
        "me/grants/": "grants:read",
        "organisations/": "organisations:read",
    }
    for place, scope in needed.items():
        assert token_client(people, people.pat, [scope]).get(f"{API}/{place}").status_code == 200
        others = token_client(people, people.pat, sorted(set(TOKEN_SCOPES) - {scope}))
        assert others.get(f"{API}/{place}").status_code == 403, place
        assert others.head(f"{API}/{place}").status_code == 403, place
    every = token_client(people, people.pat, sorted(TOKEN_SCOPES))
    wish = {"name": "another", "scopes": ["log:read"]}
    assert every.post(f"{API}/tokens/", wish, content_type="application/json").status_code == 403
    assert every.get(f"{API}/tokens/").status_code == 403


def test_a_token_acts_in_one_role_only(people):
    staff = token_client(people, people.alice, ["patients:read", "log:read", "organisations:read"])
    assert staff.get(f"{API}/h/{people.a.slug}/patients/?q=Moreno").status_code == 200
    assert staff.get(f"{API}/h/{people.b.slug}/patients/?q=Moreno").json() == NOT_FOUND
    assert staff.get(f"{API}/h/{people.a.slug}/log/").status_code == 403  # a doctor's role does not include it
    assert staff.get(f"{API}/me/log/").status_code == 403
    assert staff.get(f"{API}/me/").json()["registrations"] == []
    patient = token_client(people, people.pat, ["patients:read"])
    assert patient.get(f"{API}/h/{people.a.slug}/patients/?q=Moreno").json() == NOT_FOUND


@pytest.mark.parametrize("change", ["expired", "revoked", "inactive", "ended", "wrong", "empty", "twice"])
def test_a_dead_token_says_no_more_than_a_wrong_one(people, change):
    client = token_client(people, people.alice, ["patients:read"])
    token = AccessToken.objects.get()
    if change == "expired":
        AccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif change == "revoked":
        AccessToken.objects.update(revoked_at=timezone.now())
    elif change == "inactive":
        type(token.user).objects.filter(pk=token.user_id).update(is_active=False)
    elif change == "ended":
        type(people.alice).objects.filter(pk=people.alice.pk).update(status="ended")
    headers = {"wrong": "Token hp_nothing", "empty": "Token", "twice": f"Token {client.raw} x"}
    if change in headers:
        client = Client(headers={"authorization": headers[change]})
    answer = client.get(f"{API}/h/{people.a.slug}/patients/?q=x")
    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "This token is not valid or has expired."


def test_a_wish_for_a_token_is_checked(people):
    client = people.client(people.pat)
    for wish in (
        {},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "", "scopes": ["log:read"]},
    ):
        answer = client.post(f"{API}/tokens/", wish, content_type="application/json")
        assert answer.status_code == 400 and answer.json()["error"]["fields"]
    wish = {"name": "x", "scopes": ["log:read"], "days": 9999}
    assert client.post(f"{API}/tokens/", wish, content_type="application/json").status_code == 422
    wish = {"name": "x", "scopes": ["log:read"], "organisation": people.a.slug}
    assert client.post(f"{API}/tokens/", wish, content_type="application/json").json() == NOT_FOUND
    broken = client.post(f"{API}/tokens/", "{", content_type="application/json")
    assert broken.status_code == 400 and broken.json()["error"]["code"] == "parse_error"
    assert not AccessToken.objects.exists()


# Page marks


@pytest.mark.scenario("H2")
def test_page_marks_walk_the_whole_list_and_fit_nobody_else(people):
    with tenant(people.a):
        for _ in range(7):
            audit.append(
                hospital=people.a, actor=people.actor(people.alice), action="patients.opened", patient=people.pat_a
            )
    client, seen, mark = people.client(people.pat), [], ""
    first = client.get(f"{API}/me/log/?limit=3").json()
    assert first["next"]
    mark, seen = first["next"], [row["id"] for row in first["results"]]
    while mark:
        page = client.get(f"{API}/me/log/", {"limit": 3, "cursor": mark}).json()
        seen += [row["id"] for row in page["results"]]
        mark = page["next"]
    assert len(seen) == len(set(seen)) == 9  # seven, and one "you" at each of two hospitals
    for other in (people.quinn, people.dora):
        answer = people.client(other).get(f"{API}/me/log/", {"cursor": first["next"]})
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "cursor_invalid"
    assert client.get(f"{API}/me/log/", {"cursor": first["next"], "automatic": "1"}).status_code == 400
    assert client.get(f"{API}/me/grants/", {"cursor": first["next"]}).status_code == 400
    assert client.get(f"{API}/me/log/", {"cursor": "x"}).status_code == 400
    assert str(people.a.pk) not in first["next"] and people.a.slug not in first["next"]


def test_odd_limits_do_no_harm(people):
    client = people.client(people.pat)
    for limit in ("0", "-1", "x", "\u0663", "9" * 30, ""):
        assert client.get(f"{API}/me/log/", {"limit": limit}).status_code == 200


# Its description


def test_the_description_is_openapi_3_1_and_complete(client, db):
    document = client.get("/api/schema/?format=json")
    assert document.status_code == 200
    schema = json.loads(document.content)
    assert schema["openapi"] == "3.1.0"
    described = {re.sub(r"\{\w+\}", "{}", path) for path in schema["paths"]}
    wanted = {re.sub(r"\{slug\}|" + str(uuid.UUID(int=9)), "{}", address) for _, address in routes()}
    assert wanted == described
    assert "token" in schema["components"]["securitySchemes"]


def test_the_page_about_the_api_runs_from_files_only(client, db):
    page = client.get("/api/docs/")
    assert page.status_code == 200
    html = page.content.decode()
    assert not re.search(r"<script(?![^>]* src=)", html)
    assert "/me/records/" in html.replace("<wbr>", "") and "//cdn" not in html
    assert "unsafe-inline" not in page["Content-Security-Policy"]


def test_methods_and_types_that_do_not_fit(people):
    client = people.client(people.pat)
    answer = client.put(f"{API}/me/")
    assert answer.status_code == 405 and answer.json()["error"]["code"] == "method_not_allowed"
    answer = client.post(f"{API}/me/grants/", "<x/>", content_type="text/xml")
    assert answer.status_code == 415 and set(answer.json()["error"]) == {"code", "message", "action"}
