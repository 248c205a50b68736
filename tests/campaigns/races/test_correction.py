"""A new version of a record is sealed while the consent for it is stopped: the reader gets no key to it, ever."""

import random
import secrets
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from hospitals.actors import Actor, member_actor
from hospitals.tenancy import all_tenants, tenant
from records import grants, keys, services, tasks
from records.models import AccessGrant, Record, RecordVersion, Wrap
from tests.campaigns.races import kept
from tests.campaigns.races.arena import Crew, Violation
from tests.records.conftest import sealed_file


class Desk(Crew):
    """Alice corrects a record, Pat stops the consent for it; either may be first."""

    def __init__(self, cast, made, settle):
        self.cast = cast
        self.record = made(cast.alice, cast.pat_a).record
        with tenant(cast.a):
            self.grant = services.grant_create(
                actor=Actor(cast.pat),
                patient=cast.pat_a,
                grantee=cast.dora,
                scope_type="record",
                scope_value=str(self.record.pk),
                expires_at=timezone.now() + timedelta(days=3),
            )
        settle()
        self.took, self.is_open = 0.05, False

    def open(self):
        super().__init__({"stop": self._stop, "seal": self._seal})
        self.is_open = True

    def _stop(self, upload, shift):
        begun = self.start_after(shift)
        with tenant(self.cast.a):
            fresh = AccessGrant.objects.select_related("hospital", "patient").get(pk=self.grant.pk)
            services.grant_revoke(actor=Actor(self.cast.pat), grant=fresh)
        return begun, time.monotonic()

    def _seal(self, upload, shift):
        begun = self.start_after(-shift)
        tasks.run_inline("seal", self.cast.a.pk, upload)
        return begun, time.monotonic()

    def play(self, rng):
        kept.stand_again([self.grant.pk])
        with tenant(self.cast.a):
            grants.grant_wrap(grant_id=self.grant.pk)
            record = Record.objects.select_related("patient", "hospital").get(pk=self.record.pk)
            upload = services.version_add(
                actor=member_actor(self.cast.alice),
                record=record,
                file=sealed_file(data=secrets.token_hex(400).encode()),
            )
        answers = self.ask(upload.pk, rng.uniform(-0.3, 1.0) * self.took)
        (stop_begun, stopped), (begun, ended) = answers["stop"], answers["seal"]
        self.took = (3 * self.took + ended - begun) / 4
        self._judge(record.current_version + 1)
        return "while it was sealed" if stop_begun < ended and begun < stopped else "before or after it was sealed"

    def _judge(self, number):
        with all_tenants("races"):
            version = RecordVersion.objects.filter(record=self.record, number=number).first()
            if version is None:
                raise Violation(f"version {number} was accepted and is not sealed")
            if Wrap.objects.filter(grant=self.grant).exists():
                raise Violation("a key was made for a reader whose consent was stopped")
            if version.rekey_requested_at is None and _had_a_key(version, self.grant):
                raise Violation(f"version {number} was open to the reader for a moment and asks for no new key")


def _had_a_key(version, grant):
    """Whether the first epoch was wrapped for the grantee, too: its manifest commits to more than the other wraps."""
    epoch = version.epochs.get(number=1)
    left = [keys.KeyWrap(bytes(w.recipient_kid), None, bytes(w.blob)) for w in epoch.wraps.filter(grant=None)]
    return keys.wraps_digest(left).hex() not in epoch.manifest


@pytest.fixture
def desk(transactional_db, cast, made, settle, monkeypatch):
    # On PostgreSQL locks in the wrong order end in a deadlock; here no second attempt may hide it.
    monkeypatch.setattr(grants, "_REVOKE_ATTEMPTS", 1)
    desk = Desk(cast, made, settle)
    yield desk
    if desk.is_open:
        desk.close()


@pytest.mark.campaign
@pytest.mark.scenario("P4")
def test_a_correction_beside_a_revoke_gives_the_reader_no_key(campaign, desk):
    run = campaign("correction-races", small=6, ci=80, night=2_000)
    desk.open()
    for _index, rng in run:
        run.injected(f"stopped {desk.play(rng)}")


@pytest.mark.campaign
def test_planted_defect_is_found_a_stopped_reader_still_counts(desk, monkeypatch):
    monkeypatch.setattr(
        keys,
        "live_grants",
        lambda record: AccessGrant.objects.filter(keys.scope_filter(record), patient_id=record.patient_id),
    )
    desk.open()
    with pytest.raises(Violation, match="a key was made for a reader"):
        for index in range(150):  # the moment has to be met; on a quiet machine the first few do
            desk.play(random.Random(index))
