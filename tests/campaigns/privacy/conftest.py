"""The story needs the hands of the record tests and chains whose nodes show each step of a transaction."""

import json

import httpx
import pytest

from tests.campaigns.privacy.chainread import ChainReader
from tests.campaigns.privacy.story import Story
from tests.chain_fixtures import ANVIL, chains_running
from tests.council import candidate, waited  # noqa: F401
from tests.records.conftest import blobs, work  # noqa: F401


@pytest.fixture(scope="session")
def anvils(tmp_path_factory):
    if ANVIL is None:
        pytest.skip("anvil is not installed: run `make install`")
    with chains_running(tmp_path_factory.mktemp("open-chains"), "--steps-tracing") as started:
        yield started


@pytest.fixture
def story(chains, db, settings, drive, work, candidate, waited):  # noqa: F811
    settings.HOSPITALS = {**settings.HOSPITALS, "regulator_needs_passkey": False}
    settings.RECORDS = {**settings.RECORDS, "is_record_store_enabled": True}
    return Story(chains, drive, work, candidate, waited)


@pytest.fixture
def read(chains):
    """Call it for everything both chains show, and how much that was."""
    readers = [ChainReader(name, anvil.url) for name, anvil in chains.items()]

    def run(first=None):
        seen = [item for reader in readers for item in reader.read((first or {}).get(reader.name, 0))]
        return seen, {reader.name: dict(reader.counts) for reader in readers}

    yield run
    for reader in readers:
        reader.close()


@pytest.fixture
def questions(chains, monkeypatch):
    """Everything that is sent to the nodes while the fixture lives: (chain, method, parameters)."""
    asked = []
    names = {anvil.port: name for name, anvil in chains.items()}
    real = httpx.Client.send

    def send(client, request, **options):
        if request.url.port in names and client not in own:
            body = json.loads(request.content)
            for call in body if isinstance(body, list) else [body]:
                asked.append((names[request.url.port], call["method"], json.dumps(call.get("params", []))))
        return real(client, request, **options)

    own = {anvil.client for anvil in chains.values()}
    monkeypatch.setattr(httpx.Client, "send", send)
    return asked
