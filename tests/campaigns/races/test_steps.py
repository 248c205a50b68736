"""A revoke or a re-key at each step of a release, one step at a time: no luck is needed to hit the place."""

from datetime import timedelta

import pytest
from django.utils import timezone

from hospitals.actors import Actor, member_actor
from hospitals.tenancy import all_tenants, tenant
from records import crypto, gate, keys, services
from records.errors import NotFound
from records.models import AccessGrant, Epoch, RecordVersion
from records.storage import blob_store

DATA = b"".join(b"row,%07d\n" % number for number in range(300_000))


@pytest.fixture
def shared(cast, made, settle):
    """A record of Pat's that Dora may read, and the consent."""
    version = made(cast.alice, cast.pat_a, name="rows.csv", data=DATA)
    with tenant(cast.a):
        grant = services.grant_create(
            actor=Actor(cast.pat),
            patient=cast.pat_a,
            grantee=cast.dora,
            scope_type="all",
            expires_at=timezone.now() + timedelta(days=3),
        )
    settle()
    return version, grant


def revoke(cast, grant):
    with tenant(cast.a), all_tenants("test"):
        services.grant_revoke(actor=Actor(cast.pat), grant=AccessGrant.objects.get(pk=grant.pk))


@pytest.mark.scenario("P3")
@pytest.mark.parametrize("place", ["gate.decided", "gate.logged", "released", "gate.piece_sent"])
def test_a_revoke_at_each_step_of_a_release(cast, shared, stop_at, entries, settings, place):
    settings.RECORDS = {**settings.RECORDS, "recheck_seconds": 0}
    version, grant = shared
    stop_at(place, lambda: revoke(cast, grant))
    got = []
    with pytest.raises(NotFound):
        release = gate.release(actor=member_actor(cast.dora), version=version)
        if place == "released":
            revoke(cast, grant)
        got.extend(release.chunks)
    # What was let out before the revoke is one piece; after it there is none.
    assert b"".join(got) == (DATA[: 1 << 20] if place == "gate.piece_sent" else b"")
    last = entries(cast.pat_a)[-2:]
    assert [entry.action for entry in last] == ["grants.revoked", "records.version.downloaded"]
    assert last[1].is_refused and last[1].detail["reason"] == "no_grant"


@pytest.mark.scenario("P4")
@pytest.mark.parametrize("reader", ["patient", "own doctor", "grantee"])
@pytest.mark.parametrize("step", ["dek_open", "meta_open"])
def test_a_rekey_in_the_middle_of_a_release_is_not_an_alarm(
    cast, shared, settle, work, entries, monkeypatch, reader, step
):
    """The wraps, or the bytes, that the reader was about to use are gone: those of the new epoch are read."""
    version, _grant = shared
    actor = {"patient": Actor(cast.pat), "own doctor": member_actor(cast.alice), "grantee": member_actor(cast.dora)}
    before = _payload(version)
    where = keys if step == "dek_open" else crypto
    real = getattr(where, step)

    def rekey_first(*args):
        monkeypatch.setattr(where, step, real)
        with all_tenants("test"):
            RecordVersion.objects.filter(pk=version.pk).update(rekey_requested_at=timezone.now())
            work()
            settle()
            assert _payload(version) != before and not blob_store().exists(before)
        return real(*args)

    monkeypatch.setattr(where, step, rekey_first)
    assert b"".join(gate.release(actor=actor[reader], version=version).chunks) == DATA
    assert not [entry for entry in entries(cast.pat_a) if entry.action == "records.version.unreadable"]


def _payload(version):
    with all_tenants("test"):
        return Epoch.objects.filter(version=version).order_by("-number").values_list("payload_blob", flat=True)[0]
