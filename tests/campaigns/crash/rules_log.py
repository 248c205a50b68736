"""What must hold for the access log: numbers, links, leaves, the chain's copy, the maps, and one entry for each act."""

import hashlib
from collections import Counter, defaultdict

from tests.campaigns.crash import opening


def log_is_whole(db, facts, looked_at):
    """I8: numbers, links, leaves, the chain's copy, and one entry for each act."""
    by_hospital, by_patient = defaultdict(list), defaultdict(list)
    for entry in db.table("hospitals_auditentry"):
        by_hospital[entry["hospital_id"]].append(entry)
        if entry["patient_id"]:
            by_patient[entry["patient_id"]].append(entry)
    accounts = db.by("hospitals_organisation")
    heads = db.by("hospitals_audithead", "hospital_id")
    for lines, number, before, link in (
        (by_hospital, "seq", "previous_link", "link"),
        (by_patient, "patient_seq", "patient_previous_link", "patient_link"),
    ):
        for owner, entries in lines.items():
            entries.sort(key=lambda e: e[number])
            last = bytes(32)
            for place, entry in enumerate(entries, 1):
                looked_at["I8 links"] += 1
                if entry[number] != place:
                    yield f"line {owner[:8]} has number {entry[number]} at place {place}"
                if entry[before] != last or entry[link] != hashlib.sha256(last + entry["leaf"]).digest():
                    yield f"line {owner[:8]} is broken at {place}"
                last = entry[link]
            if number == "seq" and (heads[owner]["seq"], heads[owner]["link"]) != (len(entries), last):
                yield f"the head of log {owner[:8]} is not its last entry"
    for owner, entries in by_hospital.items():
        on_chain = facts.chains["MED"].leaves(accounts[owner]["account_address"])
        if on_chain != [e["leaf"].hex() for e in entries]:
            yield f"log {owner[:8]} has {len(entries)} entries, the chain {len(on_chain)}, or in another order"
        for entry in entries:
            if opening.entry_leaf(entry) != entry["leaf"]:
                yield f"entry {entry['seq']} of {owner[:8]} does not give its leaf"
    maps = sorted(db.table("hospitals_auditmap"), key=lambda row: (row["hospital_id"], row["number"]))
    for before, row in zip([None, *maps], maps, strict=False):
        looked_at["I8 maps"] += 1
        is_first = before is None or before["hospital_id"] != row["hospital_id"]
        number, head = (0, bytes(32)) if is_first else (before["number"], before["head"])
        if (row["number"], row["previous"]) != (number + 1, head):
            yield f"map {row['number']} of {row['hospital_id'][:8]} does not follow map {number}"
        entry = by_hospital[row["hospital_id"]][row["seq"] - 1]
        if entry["link"] != row["link"]:
            yield f"map {row['number']} of {row['hospital_id'][:8]} ends with another entry than {row['seq']}"
    acts = Counter(
        (e["action"], e["detail"].get("upload", "").replace("-", "") or e["target_id"].replace("-", ""))
        for entries in by_hospital.values()
        for e in entries
        if not e["is_refused"]
    )
    for action, key, table in (
        ("records.version.uploaded", "id", "records_upload"),
        ("grants.created", "id", "records_accessgrant"),
        ("patients.registered", "id", "hospitals_patient"),
    ):
        rows = {row[key] for row in db.table(table)}
        logged = {target: count for (name, target), count in acts.items() if name == action}
        looked_at["I8 acts"] += len(logged)
        known = rows if table != "hospitals_patient" else {line["patient"] for line in facts.told("registered")}
        for missing in known - set(logged):
            yield f"{action}: {missing} has no entry"
        for target, count in logged.items():
            if count != 1 or target not in rows:
                yield f"{action}: {count} entries for {target}"
    for upload in db.table("records_upload"):
        logged = acts["records.upload.discarded", upload["id"]]
        if logged != (upload["state"] == "discarded"):
            yield f"records.upload.discarded: {logged} entries for an upload that is {upload['state']}"
    for record in db.table("records_record"):
        logged = acts["records.record.withdrawn", record["id"]]
        if logged != (record["status"] == "withdrawn"):
            yield f"records.record.withdrawn: {logged} entries for a record that is {record['status']}"
    for line in facts.told("revoked"):
        if acts["grants.revoked", line["grant"]] != 1:
            yield f"grants.revoked: {acts['grants.revoked', line['grant']]} entries for {line['grant']}"
