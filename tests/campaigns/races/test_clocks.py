"""A server whose clock is ten minutes off: the end of a consent follows the chain, and no grant lives longer."""

from datetime import timedelta

import pytest
from django.utils import timezone

from hospitals.actors import Actor, member_actor
from hospitals.tenancy import tenant
from records import decisions, gate, services
from records.errors import NotFound

TEN = timedelta(minutes=10)
DATA = b"".join(b"row,%07d\n" % number for number in range(300_000))


@pytest.fixture
def server_clock(monkeypatch):
    """Call it to set this server's clock off by so much."""
    real = timezone.now

    def shift(by):
        monkeypatch.setattr(timezone, "now", lambda: real() + by)

    return shift


@pytest.fixture
def shared(cast, made, settle, server_clock):
    """Call it for a record of Pat's that Dora may read for so long."""
    version = made(cast.alice, cast.pat_a, name="rows.csv", data=DATA)

    def share(lasting, off=timedelta()):
        server_clock(off)
        with tenant(cast.a):
            services.grant_create(
                actor=Actor(cast.pat),
                patient=cast.pat_a,
                grantee=cast.dora,
                scope_type="all",
                expires_at=timezone.now() + lasting,
            )
        server_clock(timedelta())
        settle()
        return version

    return share


def read(cast, version):
    return b"".join(gate.release(actor=member_actor(cast.dora), version=version).chunks)


def pass_time(chains, minutes):
    chains["MED"].rpc("evm_increaseTime", minutes * 60)
    chains["MED"].mine()


@pytest.mark.scenario("O11")
def test_on_a_server_that_is_behind_the_grant_ends_when_the_chain_says(
    cast, chains, shared, server_clock, entries, settings
):
    version = shared(timedelta(minutes=5))
    server_clock(-TEN)
    settings.RECORDS = {**settings.RECORDS, "reask_seconds": 0, "recheck_seconds": 0}
    running = gate.release(actor=member_actor(cast.dora), version=version).chunks
    assert next(running)
    pass_time(chains, 6)  # by the server's clock the consent has nine minutes left
    with pytest.raises(NotFound):
        read(cast, version)
    assert entries(cast.pat_a)[-1].detail["reason"] == "contract_refused"
    with pytest.raises(NotFound):
        next(running)
    last = entries(cast.pat_a)[-1]
    assert last.is_refused and last.detail["bytes"] == 1 << 20


@pytest.mark.scenario("O11")
def test_on_a_server_that_is_ahead_the_grant_ends_no_later(cast, chains, shared, server_clock):
    version = shared(timedelta(minutes=5))
    assert read(cast, version) == DATA
    server_clock(TEN)
    with pytest.raises(NotFound):
        read(cast, version)
    server_clock(timedelta())
    pass_time(chains, 6)
    with pytest.raises(NotFound):
        read(cast, version)


@pytest.mark.scenario("O11")
@pytest.mark.parametrize("off", [TEN, -TEN])
def test_a_grant_given_on_a_server_with_a_wrong_clock_opens_and_ends_by_the_chain(
    cast, chains, shared, server_clock, off
):
    """The patient chose an instant, and signed it: it is the same instant on every clock."""
    version = shared(timedelta(minutes=30) - off, off)
    server_clock(off)
    assert read(cast, version) == DATA
    pass_time(chains, 31)
    server_clock(-TEN)
    with pytest.raises(NotFound):
        read(cast, version)


@pytest.mark.scenario("O11")
def test_planted_defect_the_servers_clock_alone_ends_a_grant(cast, chains, shared, server_clock, monkeypatch):
    """With the contract's word left out, a server that is behind would go on: that is what the tests above see."""
    version = shared(timedelta(minutes=5))
    monkeypatch.setattr(decisions, "_contract_agrees", lambda grant, membership, record: True)
    server_clock(-TEN)
    pass_time(chains, 6)
    assert read(cast, version) == DATA
