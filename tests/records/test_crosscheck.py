"""Records chosen for both chains are compared, by the same tasks that the clock starts."""

from datetime import timedelta

import pytest
from django.utils import timezone

from chain import crosscheck, selectors
from chain.models import OutboxItem
from chain.tasks import crosscheck as chain_task
from hospitals.tenancy import all_tenants
from portal.celery import app
from records.models import Anchor, Epoch
from records.tasks import crosscheck as records_task

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.scenario("O16")]


def look():
    chain_task()
    records_task()
    return [(alarm.chain, alarm.code, alarm.subject) for alarm in selectors.alarms() if alarm.code != "chain_silent"]


def test_a_record_on_both_chains_is_compared_and_each_difference_is_named(cast, made, settle):
    version = made(cast.alice, cast.pat_a, chains="BOTH")
    settle()
    epoch = _epoch(version)
    refs = {chain: f"rec:{epoch.pk.hex}:{chain}" for chain in ("SUP", "MED")}
    assert look() == []

    leaf = bytes(epoch.leaf)
    OutboxItem.objects.filter(ref=refs["SUP"]).update(leaf=b"\1" * 32)
    found = look()
    assert ("SUP", "anchor_different", refs["SUP"]) in found and not [row for row in found if row[0] == "MED"]
    OutboxItem.objects.filter(ref=refs["SUP"]).update(leaf=leaf)
    assert look() == []

    # Somebody who can write to the database takes the record off one chain, with every trace of ours.
    with all_tenants("test"):
        Anchor.objects.filter(ref=refs["MED"])._raw_delete("default")
        OutboxItem.objects.filter(ref=refs["MED"])._raw_delete("default")
        assert look() == []  # fresh: it may still come
        Epoch.objects.filter(pk=epoch.pk).update(created_at=timezone.now() - timedelta(minutes=11))
    assert look() == [("MED", "anchor_alone", refs["MED"])]


def test_the_clock_starts_both_comparisons_every_minute():
    planned = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
    assert planned["chain.crosscheck"] == planned["records.crosscheck"] == 60
    app.loader.import_default_modules()
    assert {"chain.crosscheck", "records.crosscheck"} <= set(app.tasks)


def test_a_record_for_one_chain_needs_no_other(cast, made, settle):
    made(cast.alice, cast.pat_a, chains="SUP")
    settle()
    assert look() == []
    assert crosscheck.alarms("MED") == []


def _epoch(version):
    with all_tenants("test"):
        return Epoch.objects.get(version=version)
