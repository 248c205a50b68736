"""Every route says who may enter it, and a stranger gets nowhere by trying them all."""

import uuid

import pytest
from django.urls import URLPattern, get_resolver

# Routes of libraries and of the platform, whose own rules are tested where they are configured.
OTHERS = ("accounts/", "admin/", "api/schema/", "api/docs/", "health/", "metrics")
# What anybody may open; a new name here is a decision.
PUBLIC = {
    "public:apply",
    "public:apply-thanks",
    "public:block",
    "public:chain",
    "public:contracts",
    "public:home",
    "public:register",
    "public:transaction",
    "public:verify",
    "public:verify-chain",
    "public:verify-checker",
    "public:verify-log",
    "public:verify-trust",
}
VALUES = {
    "slug": "northwick",
    "chain": "MED",
    "tx_hash": "0x" + "ab" * 32,
    "number": 1,
    "name": "who",
    "rest": "nothing",
}


def routes(patterns=None, prefix="", namespace=""):
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield path, f"{namespace}{entry.name}", entry
        else:
            space = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from routes(entry.url_patterns, path, space)


OWN = [row for row in routes() if not row[0].startswith(OTHERS)]


def access_of(entry):
    return getattr(entry.callback, "access", None) or getattr(
        getattr(entry.callback, "view_class", None), "access", None
    )


def address(path):
    out = []
    for part in path.split("/"):
        if part.startswith("<"):
            kind, _, name = part[1:-1].rpartition(":")
            value = uuid.uuid4() if kind == "uuid" else VALUES.get(name, VALUES["name"] if kind == "slug" else 1)
            part = str(value)
        out.append(part)
    return "/" + "/".join(out)


def test_every_route_says_who_may_enter():
    assert [name for path, name, entry in OWN if access_of(entry) is None] == []


def test_public_routes_are_a_decision():
    public = {name for path, name, entry in OWN if access_of(entry)[0] == "public" and not path.startswith("api/")}
    assert public == PUBLIC


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", [path for path, name, entry in OWN if access_of(entry) and access_of(entry)[0] != "public"]
)
def test_a_stranger_is_sent_to_sign_in_or_finds_nothing(client, path):
    url = address(path)
    for method in (client.get, client.post):
        answer = method(url)
        if path.startswith("api/"):
            assert answer.status_code in (401, 403, 404, 405), (url, answer.status_code)
        else:
            is_sent = answer.status_code == 302 and "/accounts/login/" in answer["Location"]
            assert is_sent or answer.status_code in (403, 404, 405), (url, answer.status_code)
