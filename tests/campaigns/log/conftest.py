"""The cast of the record tests, on both chains, and somebody with every right on the database."""

import pytest
from django.db import connection

from hospitals.walls import append_only_drop
from tests.campaigns.log.insider import Insider
from tests.records.conftest import blobs, cast, made, send, settle, work

__all__ = ["blobs", "cast", "insider", "made", "send", "settle", "work"]


@pytest.fixture
def insider(cast, drive):
    """A log of 31 entries on the chain with two maps of it, three more entries on their way, and no triggers."""
    found = Insider(cast, drive)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in append_only_drop(connection.vendor, "hospitals_auditentry"):
            cursor.execute(statement)
    return found
