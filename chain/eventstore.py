"""Bulk writing of blocks and events: COPY on PostgreSQL, one prepared statement on SQLite, no object per row.

A row that is there already becomes canonical again: after a reorganisation and back, the same block returns.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from chain.models import Block, ChainEvent


class BlockRow(NamedTuple):
    chain: str
    hash: bytes
    number: int
    parent_hash: bytes
    timestamp: datetime


class EventRow(NamedTuple):
    chain: str
    block_hash: bytes
    block_number: int
    block_time: datetime
    tx_hash: bytes
    log_index: int
    address: bytes
    contract: str
    name: str
    args: str  # JSON text


BLOCK_KEY = ("chain", "hash")
EVENT_KEY = ("chain", "block_hash", "log_index")


def blocks_write(rows: Sequence[BlockRow]) -> None:
    _write(Block._meta.db_table, BlockRow._fields, BLOCK_KEY, rows)


def events_write(rows: Sequence[EventRow]) -> None:
    _write(ChainEvent._meta.db_table, EventRow._fields, EVENT_KEY, rows)


def _write(table: str, columns: Sequence[str], key: Sequence[str], rows: Sequence[tuple]) -> None:
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET is_canonical = TRUE"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql" and len(rows) > 20:
            _copy(cursor, table, names, conflict, rows)
            return
        marks = ", ".join(["%s"] * len(columns))
        # Table and column names come from the models above, values are bound.
        statement = f'INSERT INTO "{table}" ({names}, is_canonical) VALUES ({marks}, TRUE) {conflict}'  # noqa: S608
        if connection.vendor == "sqlite":
            # The form in which Django itself stores a UTC time on SQLite; events of one block share it.
            at = next(place for place, value in enumerate(rows[0]) if isinstance(value, datetime))
            stored = {time: time.replace(tzinfo=None).isoformat(" ") for time in {row[at] for row in rows}}
            rows = [(*row[:at], stored[row[at]], *row[at + 1 :]) for row in rows]
        cursor.executemany(statement, rows)


def _copy(cursor, table: str, names: str, conflict: str, rows: Sequence[tuple]) -> None:
    cursor.execute("DROP TABLE IF EXISTS chain_arriving")
    cursor.execute(
        f'CREATE TEMPORARY TABLE chain_arriving ON COMMIT DROP AS SELECT {names} FROM "{table}" WITH NO DATA'  # noqa: S608
    )
    with cursor.copy(f"COPY chain_arriving ({names}) FROM STDIN") as stream:
        for row in rows:
            stream.write_row(row)
    cursor.execute(
        f'INSERT INTO "{table}" ({names}, is_canonical) SELECT {names}, TRUE FROM chain_arriving {conflict}'  # noqa: S608
    )
