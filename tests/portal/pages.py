"""Query counts of pages, pinned in query_counts.json: a change of a number is reviewed like code."""

import json
from pathlib import Path

from django.db import connection
from django.test.utils import CaptureQueriesContext

COUNTS = Path(__file__).with_name("query_counts.json")
# Session, account, membership: what every signed-in page costs before it begins.
NOISE = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT", "ROLLBACK")


def queries_of(client, path, **options):
    """Statements of one warm page, without the bookkeeping of transactions."""
    client.get(path, **options)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path, **options)
    assert answer.status_code == 200, path
    return len([query for query in captured.captured_queries if not query["sql"].startswith(NOISE)])


def assert_pinned(name, count):
    pinned = json.loads(COUNTS.read_text())
    assert count <= pinned[name], f"{name}: {count} queries, pinned at {pinned[name]}"
