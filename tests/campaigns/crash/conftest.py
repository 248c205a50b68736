"""Lanes are started once: the campaign and the planted defects share them."""

import pytest

from tests.campaigns.crash.pool import Lanes


@pytest.fixture(scope="session")
def lanes(request):
    """Two lanes, one for each core; a single one where only a few rounds are played."""
    started = Lanes(1 if request.config.getoption("--size") == "small" else 2)
    yield started
    started.close()
