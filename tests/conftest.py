"""Fixtures for every test. Sockets are for the local engines only."""

import socket
from importlib.util import find_spec

import pytest
from django.db.backends.base.operations import BaseDatabaseOperations

from hospitals import walls

PLUGINS = ("chain_fixtures", "factories", "people", "council", "scenarios", "campaigns.harness")
pytest_plugins = [f"tests.{name}" for name in PLUGINS if find_spec(f"tests.{name}")]
APPEND_ONLY = ["hospitals_auditentry"]
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


@pytest.fixture(autouse=True, scope="session")
def flush_passes_walls():
    """Emptying tables after a transactional test is the one moment when the append-only triggers step aside."""
    real = BaseDatabaseOperations.execute_sql_flush

    def execute_sql_flush(self, sql_list):
        vendor = self.connection.vendor
        before = [line for table in APPEND_ONLY for line in walls.append_only_drop(vendor, table)]
        after = [line for table in APPEND_ONLY for line in walls.append_only_create(vendor, table)]
        return real(self, [*before, *sql_list, *after])

    BaseDatabaseOperations.execute_sql_flush = execute_sql_flush
    yield
    BaseDatabaseOperations.execute_sql_flush = real


@pytest.fixture(autouse=True)
def fresh_cache():
    """Counters of rate limits must not travel from test to test."""
    yield
    from django.core.cache import cache

    cache.clear()
