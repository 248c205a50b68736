"""The cast of the record tests, on both chains; what a race needs besides."""

import pytest

from chain import failpoints
from tests.records.conftest import blobs, cast, entries, made, send, settle, work

__all__ = ["blobs", "cast", "entries", "made", "send", "settle", "stop_at", "work"]


@pytest.fixture
def stop_at():
    """stop_at("gate.logged", act) calls `act` the first time this process reaches that place."""

    def arm(place, act):
        def hook(name):
            if name == place:
                failpoints.arm(None)
                act()

        failpoints.arm(hook)

    yield arm
    failpoints.arm(None)
