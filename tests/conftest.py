"""Fixtures for every test. Sockets are for the local engines only."""

import socket
from importlib.util import find_spec

import pytest

pytest_plugins = [
    name for name in ("tests.chain_fixtures", "tests.factories", "tests.people", "tests.scenarios") if find_spec(name)
]
LOCAL = ("127.0.0.1", "::1", "localhost", "0.0.0.0")  # the last: asking for a free port


def pytest_collection_modifyitems(items):
    """A test that asks for a database or for a chain carries the marker for it without being told."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("django_db") or names & {"db", "transactional_db"}:
            item.add_marker("db")
        if "chain" in names or "chains" in names:
            item.add_marker("chain")


@pytest.fixture(autouse=True, scope="session")
def only_local_sockets():
    """Nothing in a test may leave this machine; an attempt fails loudly instead of being slow."""
    real = socket.socket.connect

    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise AssertionError(f"a test tried to connect to {address[0]}")
        return real(self, address)

    socket.socket.connect = connect
    yield
    socket.socket.connect = real
