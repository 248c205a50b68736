"""The story needs the hands of the record tests and chains whose nodes show each step of a transaction."""

import pytest

from tests.chain_fixtures import ANVIL, chains_running
from tests.council import candidate, waited  # noqa: F401
from tests.records.conftest import blobs, work  # noqa: F401


@pytest.fixture(scope="session")
def anvils(tmp_path_factory):
    if ANVIL is None:
        pytest.skip("anvil is not installed: run `make install`")
    with chains_running(tmp_path_factory.mktemp("open-chains"), "--steps-tracing") as started:
        yield started
