"""What must hold once everything has settled: nothing half-way, and no tenant's rows in another's."""

import hashlib
from collections import Counter

from tests.campaigns.crash.reading import TENANT_TABLES

PARENTS = {
    "records_upload": {"patient_id": "hospitals_patient", "record_id": "records_record"},
    "records_record": {"patient_id": "hospitals_patient"},
    "records_recordversion": {"record_id": "records_record"},
    "records_epoch": {"version_id": "records_recordversion"},
    "records_anchor": {"epoch_id": "records_epoch"},
    "records_wrap": {"epoch_id": "records_epoch", "grant_id": "records_accessgrant"},
    "records_accessgrant": {"patient_id": "hospitals_patient"},
    "hospitals_auditentry": {"patient_id": "hospitals_patient"},
}


def nothing_is_waiting(db, facts, looked_at):
    """I9: after recovery no wish, upload, re-key, grant or registration is half-way."""
    for item in db.table("chain_outboxitem"):
        looked_at["I9 wishes"] += 1
        if item["state"] != "final":
            yield f"wish {item['ref']} is {item['state']} {item['error']!r}"
    for version in db.table("records_recordversion"):
        if version["rekey_requested_at"] or version["rekey_claimed_by"]:
            yield f"version {version['id']} still waits for a new key"
    for grant in db.table("records_accessgrant"):
        if grant["state"] in ("pending", "revoking") or (grant["state"] == "active" and not grant["wrapped_at"]):
            yield f"grant {grant['id']} is {grant['state']}, wrapped {grant['wrapped_at']}"
    for line in facts.told("registered"):
        patient = db.by("hospitals_patient").get(line["patient"])
        if patient is None or patient["status"] != "active":
            yield f"registration {line['patient']} is {patient and patient['status']}"
    for upload in db.table("records_upload"):
        if upload["state"] in ("received", "sealing"):
            yield f"upload {upload['id']} is {upload['state']}"


def tenants_are_apart(db, facts, looked_at):
    """I10: parents are of the same hospital, sums fit, and a hospital that did nothing has what it had."""
    for name, parents in PARENTS.items():
        for column, parent in parents.items():
            owners = {row["id"]: row["hospital_id"] for row in db.table(parent)}
            for row in db.table(name):
                looked_at["I10 rows"] += 1
                if row[column] is not None and owners.get(row[column]) != row["hospital_id"]:
                    yield f"a row of {name} hangs on another hospital's {parent}"
    used = Counter()
    for upload in db.table("records_upload"):
        used[upload["hospital_id"]] += 0 if upload["state"] == "discarded" else upload["size"]
    for usage in db.table("records_storageusage"):
        kept = used[usage["hospital_id"]]
        if usage["used_bytes"] != kept:
            yield f"hospital {usage['hospital_id'][:8]} keeps {kept} bytes and is counted with {usage['used_bytes']}"
    if facts.bystander and rows_of(db, facts.bystander) != facts.bystander_before:
        yield "the rows of a hospital that did nothing have changed"


def rows_of(db, hospital):
    """A digest of everything that belongs to one hospital."""
    rows = [
        repr(sorted(row.items())) for name in TENANT_TABLES for row in db.table(name) if row["hospital_id"] == hospital
    ]
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
