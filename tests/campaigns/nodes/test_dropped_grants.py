"""A grant whose block leaves the chain opens nothing, and the patient's log says that somebody tried."""

import contextlib

import pytest

from chain import health
from chain.models import OutboxItem, Transaction
from hospitals.actors import Actor, member_actor
from hospitals.tenancy import tenant
from records import gate, services
from records.errors import ChainUnavailable, NotFound
from tests.records.conftest import NOTE
from tests.records.test_gate import share

pytestmark = pytest.mark.django_db(transaction=True)
KINDS = ("dropped", "moved", "ended")


class Doctor:
    """Dora of another hospital, who keeps trying; each try is counted, and must be in the log."""

    def __init__(self, cast, entries):
        self.cast, self.entries = cast, entries
        self.tries = 0

    def reads(self, version):
        self.tries += 1
        try:
            with contextlib.closing(gate.release(actor=member_actor(self.cast.dora), version=version)) as release:
                return b"".join(release.chunks) == NOTE
        except (NotFound, ChainUnavailable):
            return False

    def last(self):
        found = self.entries(self.cast.pat_a, "records.version.downloaded")
        assert len(found) == self.tries, "a try is missing in the log"
        return found[-1]

    def assert_refused(self, version):
        assert not self.reads(version)
        assert self.last().is_refused


@pytest.mark.scenario("O4")
@pytest.mark.campaign
def test_a_grant_in_a_dropped_block_gives_no_access(campaign, cast, made, settle, entries, chains, workers):
    dora = Doctor(cast, entries)
    anvil = chains["MED"]
    run = campaign("dropped-grants", small=3, ci=12, night=1000)
    for index, _ in run:
        kind = KINDS[index % len(KINDS)]
        version = made(cast.alice, cast.pat_a)
        grant = share(cast, cast.dora, scope_type="record", scope_value=str(version.record_id))
        dora.assert_refused(version)
        before = anvil.head
        consent = mined(anvil, workers, grant)
        workers.index("MED")
        dora.assert_refused(version)  # mined is not final
        depth = anvil.head - before
        anvil.rpc("anvil_reorg", depth, [[consent, depth - 1]] if kind == "moved" else [])
        dora.assert_refused(version)
        workers.index("MED")
        dora.assert_refused(version)
        with tenant(cast.a):
            grant.refresh_from_db()
        assert grant.state == "pending"
        run.injected(f"grant {kind}")
        if kind == "ended":
            # The patient ends it while it is in no block: the same bytes go out again, and it still opens nothing.
            with tenant(cast.a):
                services.grant_revoke(actor=Actor(cast.pat), grant=grant)
            settle()
            dora.assert_refused(version)
        else:
            settle()
            assert dora.reads(version) and not dora.last().is_refused


@pytest.mark.scenario("O4")
@pytest.mark.parametrize("kind", ["dropped", "moved", "replaced"])
def test_a_grant_that_was_final_and_left_the_chain_opens_nothing(cast, made, settle, entries, chains, workers, kind):
    """Finality itself is broken: refused before the index has looked, and after it has stopped with an alarm."""
    dora = Doctor(cast, entries)
    anvil = chains["MED"]
    version = made(cast.alice, cast.pat_a)
    before = anvil.head
    grant = share(cast, cast.dora)
    consent = mined(anvil, workers, grant)
    settle()
    assert dora.reads(version) and not dora.last().is_refused
    anvil.rpc("anvil_reorg", anvil.head - before, [[consent, 1]] if kind == "moved" else [])
    if kind == "replaced":
        anvil.mine(2)
    dora.assert_refused(version)
    assert dora.last().detail["reason"] == "chain_unavailable"
    assert workers.indexers["MED"].step().kind == "halt"
    dora.assert_refused(version)
    assert "halted" in [alarm.code for alarm in health.alarms("MED")]


def mined(anvil, workers, grant):
    """The consent's transaction, in a block; gives its signed bytes."""
    workers.send("MED")
    anvil.mine()
    workers.send("MED")
    row = Transaction.objects.get(items=OutboxItem.objects.get(ref=grant.record_ref))
    assert row.state == "mined"
    return "0x" + bytes(row.attempts.get().raw).hex()
