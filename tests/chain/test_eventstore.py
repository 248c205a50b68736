"""Bulk writing gives the same rows as the ORM would, on either database, and a second time changes nothing."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from chain.eventstore import EventRow, events_write
from chain.models import ChainEvent


def row(number):
    return EventRow(
        chain="SUP",
        block_hash=(number // 3).to_bytes(32, "big"),
        block_number=number // 3,
        block_time=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number // 3),
        tx_hash=number.to_bytes(32, "big"),
        log_index=number % 3,
        address=b"\x01" * 20,
        contract="AnchorLog",
        name="Anchored",
        args=json.dumps({"root": "0x00", "count": number, "text": "tab\tand \\ and é"}, ensure_ascii=False),
    )


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 20, 500])
def test_rows_come_back_as_written(count):
    rows = [row(number) for number in range(count)]
    for _ in range(2):
        with transaction.atomic():
            events_write(rows)
            events_write([])
        ChainEvent.objects.filter(log_index=1).update(is_canonical=False)
    with transaction.atomic():
        events_write(rows)
    stored = list(ChainEvent.objects.order_by("block_number", "log_index"))
    assert len(stored) == count
    for wanted, found in zip(rows, stored, strict=True):
        assert found.is_canonical
        assert found.args == {"root": "0x00", "count": found.args["count"], "text": "tab\tand \\ and é"}
        for name in ("block_hash", "block_number", "block_time", "tx_hash", "log_index", "address", "contract"):
            assert getattr(found, name) == getattr(wanted, name), name
    assert ChainEvent.objects.filter(block_time__gte=rows[-1].block_time).exists()
