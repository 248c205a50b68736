"""What the checker reads with: raw SQL, raw JSON-RPC. No code of the product."""

import hashlib
import http.client
import json
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import UUID


class Node:
    """A chain's node, spoken to directly."""

    def __init__(self, url):
        self.place = urlsplit(url)
        self.connection = None

    def __call__(self, method, *params):
        return self.many([(method, params)])[0]

    def many(self, calls):
        """Answers in order; a refused call raises."""
        if not calls:
            return []
        body = [{"jsonrpc": "2.0", "id": n, "method": m, "params": p} for n, (m, p) in enumerate(calls)]
        answers = {answer["id"]: answer for answer in json.loads(self._post(json.dumps(body)))}
        for answer in answers.values():
            if "error" in answer:
                raise RuntimeError(f"{calls[answer['id']][0]}: {answer['error']}")
        return [answers[n]["result"] for n in range(len(calls))]

    def _post(self, body):
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=20)
            try:
                self.connection.request("POST", "/", body, {"content-type": "application/json"})
                return self.connection.getresponse().read()
            except (http.client.HTTPException, OSError):
                self.close()
                if attempt == 2:
                    raise
        raise AssertionError

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def mine(self, blocks=1):
        self.many([("evm_mine", ())] * blocks)

    @property
    def head(self):
        return int(self("eth_blockNumber"), 16)


class Database:
    """Whole tables as dicts with plain values: bytes, hex ids, ints, texts, aware times, parsed JSON."""

    def __init__(self, place):
        self.place = place  # the path of an SQLite file, or a PostgreSQL URL
        self.is_postgres = str(place).startswith("postgres")
        self.connection = None
        self.kept = {}

    def __enter__(self):
        if self.is_postgres:
            import psycopg

            self.connection = psycopg.connect(self.place, autocommit=True)
            self.connection.execute("SELECT set_config('portal.all_tenants', 'on', false)")
        else:
            self.connection = sqlite3.connect(self.place, isolation_level=None, timeout=20)
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.connection = None
        self.kept = {}

    def execute(self, statement):
        return self.connection.execute(statement)

    def table(self, name):
        if name not in self.kept:
            cursor = self.connection.execute(f'SELECT * FROM "{name}"')
            names = [column[0] for column in cursor.description]
            self.kept[name] = [
                {key: plain(key, value) for key, value in zip(names, row, strict=True)} for row in cursor.fetchall()
            ]
        return self.kept[name]

    def by(self, name, key="id"):
        return {row[key]: row for row in self.table(name)}

    def fingerprint(self, columns):
        """A digest over {table: columns to leave out}, whatever the order of the rows."""
        digest = hashlib.sha256()
        for name, left_out in sorted(columns.items()):
            rows = [
                repr([(key, value) for key, value in sorted(row.items()) if key not in left_out])
                for row in self.table(name)
            ]
            digest.update("\n".join([name, *sorted(rows)]).encode())
        return digest.hexdigest()


TENANT_TABLES = (
    "records_upload",
    "records_record",
    "records_recordversion",
    "records_epoch",
    "records_anchor",
    "records_accessgrant",
    "records_wrap",
    "records_storageusage",
    "hospitals_patient",
    "hospitals_auditentry",
    "hospitals_audithead",
)
JSON_COLUMNS = {"args", "payload", "detail", "gaps"}


def plain(key, value):
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, str) and key in JSON_COLUMNS:
        return json.loads(value)
    if isinstance(value, str) and (key.endswith(("_at", "_until", "_time")) or key in ("at", "not_before")):
        return datetime.fromisoformat(value).replace(tzinfo=UTC) if value else None
    return value


@contextmanager
def opened(place):
    with Database(place) as database:
        yield database
