"""Typed readers of the environment, error answers, logs, session limits, response headers."""

import json
import logging
import sys
import time
from types import SimpleNamespace

import pytest
import redis.exceptions
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import RequestFactory

from portal import env, errors
from portal.demo_client import one_time_code
from portal.logs import LineFormatter, NoNames
from portal.middleware import ResponseRules, SessionLimits


def test_readers_are_typed_and_loud(monkeypatch, tmp_path):
    monkeypatch.setenv("X_FLAG", "yes")
    with pytest.raises(ImproperlyConfigured, match="X_FLAG must be 1, 0, true or false"):
        env.boolean("X_FLAG")
    monkeypatch.setenv("X_FLAG", "1")
    assert env.boolean("X_FLAG") is True
    with pytest.raises(ImproperlyConfigured, match="Set X_MISSING"):
        env.text("X_MISSING")
    assert env.integer("X_MISSING", None) is None
    monkeypatch.setenv("X_WORDS", "a, b,,c")
    assert env.words("X_WORDS") == ["a", "b", "c"]
    monkeypatch.setenv("X_FLAG_FILE", str(tmp_path / "none"))
    with pytest.raises(ImproperlyConfigured, match="not both"):
        env.text("X_FLAG")
    monkeypatch.delenv("X_FLAG")
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        env.text("X_FLAG")


def test_a_database_address_becomes_a_setting(monkeypatch):
    monkeypatch.setenv("X_DB", "postgresql://us%40er:p%2Fw@db.example:5433/portal?sslmode=require")
    entry = env.database("X_DB", None)
    assert (entry["USER"], entry["PASSWORD"], entry["HOST"], entry["PORT"]) == ("us@er", "p/w", "db.example", "5433")
    assert entry["OPTIONS"] == {"sslmode": "require"}
    monkeypatch.setenv("X_DB", "postgresql://portal@/portal?host=/run/pg")
    assert env.database("X_DB", None)["HOST"] == "/run/pg"
    monkeypatch.setenv("X_DB", "mysql://x")
    with pytest.raises(ImproperlyConfigured, match="postgresql://"):
        env.database("X_DB", None)


def test_a_kept_secret_is_made_once_and_private(tmp_path):
    file = tmp_path / "keys" / "a.key"
    first = env.kept_secret(file)
    assert len(first) == 64
    assert env.kept_secret(file) == first
    assert file.stat().st_mode & 0o077 == 0
    assert list(file.parent.iterdir()) == [file]


class Refusal(Exception):
    http_status, code, title, user_message = 422, "too_big", "Too big", "Send less."


class Hidden(Exception):
    http_status, code, title, user_message = 404, "record_of_b", "A record of B", "It belongs to B."


def test_own_errors_have_one_shape():
    problem = errors.problem_of(Refusal())
    assert (problem.status, problem.code, problem.message) == (422, "too_big", "Send less.")
    assert errors.problem_of(ValueError("x")) is None
    assert errors.problem_of(redis.exceptions.ConnectionError()).status == 503


def test_a_404_says_nothing_about_what_was_looked_for():
    assert errors.problem_of(Hidden()) is errors.NOT_FOUND
    assert "B" not in str(errors.body(errors.problem_of(Hidden())))


def test_the_api_gets_json_and_people_get_a_page():
    json = errors.respond(RequestFactory().get("/api/v1/x"), errors.FORBIDDEN)
    assert json["Content-Type"] == "application/json"
    assert json.status_code == 403


@pytest.mark.django_db
def test_unknown_addresses_answer_404(client):
    assert client.get("/nowhere/").status_code == 404
    answer = client.get("/api/v1/nowhere/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_log_lines_hold_no_addresses_queries_or_breaks():
    record = logging.LogRecord("x", 20, "f", 1, "hello %s\nforged /a?name=Pat", ("pat@example.org",), None)
    NoNames().filter(record)
    assert record.getMessage() == "hello [address] forged /a"


def test_tracebacks_name_places_not_values():
    try:
        raise ValueError("Pat Morgan, born 1984")
    except ValueError as error:
        text = LineFormatter().formatException((type(error), error, error.__traceback__))
    assert "Pat" not in text
    assert "ValueError" in text


class Session(dict):
    session_key = "k"

    def flush(self):
        self.clear()


@pytest.fixture
def visit(monkeypatch):
    """One request in a session; tells whether the person was signed out."""
    ended = []
    monkeypatch.setattr("portal.middleware.logout", ended.append)

    def visit(session, **headers):
        request = RequestFactory().get("/", headers=headers)
        request.session, request.user = session, SimpleNamespace(is_authenticated=True)
        SessionLimits(lambda request: HttpResponse())(request)
        return bool(ended)

    return visit


def test_idle_and_absolute_limits(visit):
    now = int(time.time())
    assert not visit(Session(begun_at=now - 60, seen_at=now - 60))
    assert visit(Session(begun_at=now - 1200, seen_at=now - 901))
    assert visit(Session(begun_at=now - 12 * 3600 - 1, seen_at=now))


def test_polling_does_not_keep_a_session_alive(visit):
    now = int(time.time())
    polled, used = Session(begun_at=now - 600, seen_at=now - 500), Session(begun_at=now - 600, seen_at=now - 500)
    visit(polled, **{"X-Polling": "1"})
    visit(used)
    assert polled["seen_at"] == now - 500
    assert used["seen_at"] >= now


def test_pages_are_not_cached_and_say_who_may_embed_them():
    response = ResponseRules(lambda request: HttpResponse())(RequestFactory().get("/me/"))
    assert response["Cache-Control"] == "no-store"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    static = ResponseRules(lambda request: HttpResponse())(RequestFactory().get("/static/portal/portal.css"))
    assert "Cache-Control" not in static


@pytest.mark.django_db
def test_every_page_has_a_policy_without_inline_scripts(client):
    policy = client.get("/")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy


def test_one_time_codes_follow_rfc_6238():
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", appendix B
    assert [one_time_code(secret, now) for now in (59, 1111111109, 20000000000)] == ["287082", "081804", "353130"]


@pytest.mark.django_db
def test_a_deeply_nested_body_is_refused_and_kills_nothing(client):
    assert sys.getrecursionlimit() <= 3000
    answer = client.post("/api/v1/tokens/", "[" * 200_000, content_type="application/json")
    assert answer.status_code in (400, 401, 403)
    with pytest.raises(RecursionError):
        json.loads("[" * 200_000)
