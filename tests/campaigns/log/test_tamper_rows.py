"""Random changes to the log by somebody with every right on the database: each is found, and its row is named."""

import dataclasses
import random

import pytest
from django.db import transaction

from hospitals import audit_check, audit_watch, health
from hospitals.models import AuditCheck, AuditEntry
from hospitals.tenancy import all_tenants, tenant
from tests.campaigns.log.insider import CHANGES, DIGESTS, LEVELS, LINKS, ROWS, Insider

pytestmark = pytest.mark.django_db


def tamper(insider: Insider, rng) -> tuple[str, int | None]:
    """One change; returns its name and the number of the first row that is not as it was, where there is one."""
    kind = rng.choice(["edit", "edit", "delete", "swap", "truncate", "insert", "around"])
    level = rng.choice(LEVELS)
    # What has not been sent yet the chain cannot know: a change that mends that as well is only made before it.
    last = len(insider.rows()) if level in (ROWS, LINKS) else insider.final
    seq = rng.randrange(1, last + 1)
    if kind == "around":
        return f"around the log: {insider.around(rng)}", None
    if kind == "edit":
        return edit(insider, rng, seq, level)
    if kind == "swap":
        other = rng.randrange(1, last)
        seq, other = sorted((seq, other + (other >= seq)))
        insider.swap(seq, other, level)
    elif kind == "insert":
        seq = insider.insert(seq + (level in (ROWS, LINKS)), level)
    else:
        getattr(insider, kind)(seq, level)
    return f"{kind}, {level}", seq


def edit(insider: Insider, rng, seq: int, level: str) -> tuple[str, int]:
    names = [*CHANGES, "at", *([] if level != ROWS else DIGESTS), *(["salt"] if level != ROWS else [])]
    with tenant(insider.hospital):
        row = AuditEntry.objects.get(seq=seq)
    if row.patient_id is None:
        names = [name for name in names if not name.startswith("patient_")]
    name = rng.choice(names)
    value = rng.randbytes(32) if name in DIGESTS else rng.choice([-1, 1, 3600]) if name == "at" else CHANGES[name]
    insider.edit(seq, name, value, level)
    return f"edit, {level}", seq


@pytest.mark.campaign
@pytest.mark.scenario("P7")
def test_a_thousand_changes_to_rows_are_found(campaign, insider):
    run = campaign("tamper-rows", small=60, ci=1000, night=20_000)
    assert audit_watch.log_check(insider.hospital).faults == ()
    assert [alarm.code for alarm in health.alarms() if alarm.code == "log_gap"] == []
    for _, rng in run:
        place = transaction.savepoint()
        name, number = tamper(insider, rng)
        report = audit_watch.log_check(insider.hospital)
        assert not report.is_complete, name
        assert number is None or report.first_missing == number, (name, number, report.faults[:5])
        gaps = [alarm for alarm in health.alarms() if alarm.code == "log_gap"]
        assert [alarm.subject for alarm in gaps] == [insider.hospital.slug]
        if number is not None:
            assert f"ntry {number}" in gaps[0].message or f"up to {number}" in gaps[0].message, gaps[0].message
        run.injected(name)
        transaction.savepoint_rollback(place)
    assert audit_check.verify_hospital(insider.hospital).faults == ()
    with all_tenants("the last result stands"):
        assert AuditCheck.objects.get(hospital=insider.hospital).is_complete


# A check that does not look at the chain, or trusts what it is given, must be caught by the same rounds.

REAL = audit_check._completeness


def last_first(result, sealed):
    """Names a row, but not the first one that is wrong."""
    return dataclasses.replace(REAL(result, sealed), first_missing=max((f.number for f in result.faults), default=None))


PLANTED = {
    "the index is believed": ("_is_as_on_chain", lambda *args: True),
    "leaves of the chain are not compared": ("_Ledger.faults", lambda self: []),
    "leaves are not made again": ("leaf_of", lambda entry: bytes(entry.leaf)),
    "links are not followed": ("_Line.step", lambda self, entry: []),
    "rows need no item": ("_compare", lambda *args, **kwargs: None),
    "maps are not made again": ("_map_faults", lambda *args: []),
    "heads are not compared": ("_maps_against_chain", lambda *args: []),
    "any row is named": ("_completeness", last_first),
}


@pytest.mark.scenario("P7")
def test_each_weaker_check_misses_something(insider, monkeypatch):
    """Also says that no part of the check only repeats another."""
    missed = {}
    for defect, (name, weaker) in PLANTED.items():
        with monkeypatch.context() as patch:
            patch.setattr(f"hospitals.audit_check.{name}", weaker)
            missed[defect] = first_miss(insider)
    assert all(missed.values()), missed


def first_miss(insider: Insider, rounds: int = 200) -> str | None:
    for index in range(rounds):
        place = transaction.savepoint()
        what, number = tamper(insider, random.Random(f"planted:{index}"))
        report = audit_check.verify_hospital(insider.hospital)
        transaction.savepoint_rollback(place)
        if report.is_complete or (number is not None and report.first_missing != number):
            return what
    return None
