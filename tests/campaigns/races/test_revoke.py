"""Revoke against download, ten thousand times: nothing is released once the revoke was accepted.

What counts: a release is the commit of its log entry, a revoke is accepted at its own commit. Both take the row of the
consent first, so one of them is before the other. A download that was let in before looks again before its first
byte, every few megabytes and every second, and breaks off.
"""

import random

import pytest

from records import gate
from tests.campaigns.races.arena import Arena, Race, Score, Violation, contents_make, places_make

PLACES = 12


@pytest.fixture
def arena(transactional_db, cast, made, settle, settings):
    """Call it for two racing processes; a planted defect is in both."""
    settings.RECORDS = {**settings.RECORDS, "recheck_seconds": 0}
    places, started = [], []

    def start(plant=None):
        if not places:
            places.extend(places_make(cast, made, settle, contents_make(PLACES, long=1)))
        started.append(Arena(cast, places, plant))
        return started[-1]

    yield start
    for running in started:
        running.close()


def race(index, rng):
    return Race(index, index % PLACES, shift=rng.uniform(-0.35, 0.35), is_clicked_again=rng.random() < 0.1)


@pytest.mark.campaign
@pytest.mark.scenario("P3")
def test_nothing_is_released_after_the_revoke_was_accepted(campaign, arena):
    run = campaign("revoke-races", small=48, ci=10_500, night=100_000)
    running, score, batch = arena(), Score(), []
    for index, rng in run:
        batch.append(race(index, rng))
        is_last = run.only is not None or index == run.rounds - 1
        if len(batch) == PLACES or is_last:
            running.play(batch, score)
            batch.clear()
        if is_last:
            # Where the two did not even overlap there was no race to win.
            run.note(not_overlapping=score.counts.pop("apart", 0))
            for name, times in score.counts.items():
                run.injected(name, times)
    if run.only is None:
        assert {"release first", "revoke first"} <= set(score.counts), score.counts


# -- planted defects: the same races must report each ----------------------------------------------------------------


def checked_before_the_lock():
    """The consent is looked at while deciding, and not again in the transaction that lets the reader in."""
    gate._grant_stands = lambda grant: True
    gate._grant_is_live = lambda grant: True


def decision_cached():
    """A decision is good for a while."""
    known, decide = {}, gate.decide

    def remembered(*, actor, action, record, purpose):
        key = (actor.user.pk, action, record.pk, purpose)
        if key not in known:
            known[key] = decide(actor=actor, action=action, record=record, purpose=purpose)
        return known[key]

    gate.decide = remembered
    checked_before_the_lock()


def entry_after_the_release():
    """The log is written behind: bytes go out first, their entry with the next one."""
    append, later = gate.audit.append, []

    def write_behind(**fields):
        while later:
            append(**later.pop())
        if fields["action"] == "records.version.downloaded" and not fields["is_refused"]:
            later.append(fields)
        else:
            append(**fields)

    gate.audit.append = write_behind


@pytest.mark.campaign
@pytest.mark.parametrize("plant", [checked_before_the_lock, decision_cached, entry_after_the_release])
def test_planted_defect_is_found(arena, plant):
    running, rng = arena(plant), random.Random(7)
    with pytest.raises(Violation, match="released by entry|clicked after|next click|entries allow it"):
        for start in range(0, 4000, PLACES):
            running.play([race(start + place, rng) for place in range(PLACES)], Score())
