"""What must hold for records: none lost, none readable, none released without a right, files and rows in step."""

import hashlib
import json
from collections import Counter

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.campaigns.crash import opening
from tests.campaigns.crash.reading import TENANT_TABLES


def no_record_lost(db, facts, looked_at):
    """I1: what was accepted is there, opens with the hospital's own key, and is what was sent."""
    uploads, records = db.by("records_upload"), db.by("records_record")
    for line in facts.told("accepted"):
        looked_at["I1 uploads"] += 1
        upload = uploads.get(line["upload"])
        if upload is None:
            yield f"upload {line['upload']} was accepted and has no row"
            continue
        if upload["state"] != "sealed" or upload["record_id"] not in records:
            yield f"upload {line['upload']} is {upload['state']}, reason {upload['reason_code']!r}"
            continue
        versions = [v for v in db.table("records_recordversion") if v["record_id"] == upload["record_id"]]
        wanted = (upload["base_version"] or 0) + 1
        version = next((v for v in versions if v["number"] == wanted), None)
        if version is None or len(versions) != records[upload["record_id"]]["current_version"]:
            yield f"record {upload['record_id']} has {len(versions)} versions, version {wanted} belongs to the upload"
            continue
        try:
            data = opening.content(db, facts, version)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it cannot be read
            yield f"record {upload['record_id']} v{wanted} does not open: {type(error).__name__} {error}"
            continue
        if hashlib.sha256(data).hexdigest() != line["sha256"]:
            yield f"record {upload['record_id']} v{wanted} opens to other bytes than were sent"
    known = {line["upload"] for line in facts.told("accepted")} | {line["upload"] for line in facts.told("sent")}
    for upload in db.table("records_upload"):
        if upload["id"] not in known and upload["id"] not in {line.get("upload") for line in facts.journal}:
            looked_at["I1 unanswered"] += 1  # killed between commit and answer: it may stand, and must be whole
            if upload["state"] != "sealed":
                yield f"upload {upload['id']} was committed and never sealed: {upload['state']}"


def nothing_readable(db, facts, looked_at):
    """I4: no content, file name, title or data key in any file."""
    for folder in [facts.blobs, *facts.scanned]:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if not path.is_file():
                continue
            looked_at["I4 files"] += 1
            data = path.read_bytes()
            for needle in facts.needles:
                if needle in data:
                    yield f"{path.name} holds {needle[:12]!r}…"
                    break
    if db.is_postgres:
        for name in TENANT_TABLES:
            for row in db.table(name):
                text = repr(row).encode()
                if any(needle in text for needle in facts.needles):
                    yield f"a row of {name} holds what must be sealed"


def releases_were_allowed(db, facts, looked_at):
    """I5: what left was logged before, and a consent behind it was on the chain and not stopped."""
    entries = [e for e in db.table("hospitals_auditentry") if e["action"] == "records.version.downloaded"]
    allowed = Counter(e["target_id"].replace("-", "") for e in entries if not e["is_refused"])
    left = Counter(line["record"] for line in facts.told("released"))
    for record, count in left.items():
        looked_at["I5 releases"] += count
        if allowed[record] < count:
            yield f"record {record} left {count} times, the log knows {allowed[record]}"
    grants = db.by("records_accessgrant")
    for entry in entries:
        if entry["is_refused"] or not entry["basis"].startswith("consent:"):
            continue
        looked_at["I5 consents"] += 1
        grant = grants.get(entry["basis"].removeprefix("consent:").replace("-", ""))
        if grant is None or grant["active_at"] is None:
            yield f"entry {entry['seq']} names a consent that was never active"
            continue
        consents = facts.chains["MED"].consents
        if "ConsentRecorded" not in consents.get(grant["digest"].hex(), ()):
            yield f"entry {entry['seq']} names a consent that the chain does not have"
        if grant["revoked_at"] and entry["at"] > grant["revoked_at"]:
            yield f"entry {entry['seq']} was released after its consent was stopped"
    for grant in grants.values():
        is_told = any(line["grant"] == grant["id"] for line in facts.told("revoked"))
        if is_told and grant["state"] != "revoked":
            yield f"grant {grant['id']} was stopped and is {grant['state']}"
        on_chain = facts.chains["MED"].consents.get(grant["digest"].hex(), ())
        if grant["state"] == "revoked" and grant["active_at"] and "ConsentRevoked" not in on_chain:
            yield f"grant {grant['id']} is stopped here and not on the chain"
        wraps = [w for w in db.table("records_wrap") if w["grant_id"] == grant["id"]]
        if grant["state"] != "active" and wraps:
            yield f"grant {grant['id']} is {grant['state']} and has {len(wraps)} keys"


def files_and_rows_agree(db, facts, looked_at):
    """I7: every file is named by a row and holds what its name says; every row has its file; nothing is half-done."""
    wanted = {e["payload_blob"] for e in db.table("records_epoch") if e["payload_blob"]}
    waiting = {u["staging_blob"] for u in db.table("records_upload") if u["staging_blob"]}
    there = {}
    for path in facts.blobs.rglob("*"):
        if path.is_file():
            there[path.name] = path
    for name in sorted(set(there) - wanted - waiting):
        yield f"file {name[:16]} in {there[name].parent.name}/ belongs to no row"
    for name in sorted((wanted | waiting) - set(there)):
        yield f"blob {name[:16]} is missing"
    for name in wanted & set(there):
        looked_at["I7 blobs"] += 1
        if hashlib.sha256(there[name].read_bytes()).hexdigest() != name:
            yield f"blob {name[:16]} holds other bytes"
    for upload in db.table("records_upload"):
        if upload["state"] == "sealed" and (upload["staging_blob"] or upload["staging_key_wrapped"]):
            yield f"upload {upload['id']} is sealed and still has its staging key"
    versions = db.by("records_recordversion")
    for epoch in db.table("records_epoch"):
        if epoch["number"] < versions[epoch["version_id"]]["epoch"] and (epoch["payload_blob"] or epoch["meta_sealed"]):
            yield f"epoch {epoch['number']} of {epoch['version_id']} was replaced and is still there"


def signatures_hold(db, facts, looked_at):
    """Authors signed once; the hospital signed each epoch; both still fit after any re-key."""
    keys = {row["kid"]: row["public_key"] for row in db.table("hospitals_keyrecord")}
    versions = [
        ("authored", v["author_kid"], v["authored_manifest"], v["authored_signature"])
        for v in db.table("records_recordversion")
    ]
    epochs = [("epoch", e["signer_kid"], e["manifest"], e["signature"]) for e in db.table("records_epoch")]
    for layer, kid, manifest, signature in [*versions, *epochs]:
        looked_at["signatures"] += 1
        public = serialization.load_der_public_key(keys[kid])
        digest = hashlib.sha256(manifest.encode()).digest()
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        message = b"medportal/sig/v1\0" + layer.encode() + b"\0" + digest
        try:
            public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            yield f"a signature of layer {layer} does not fit"
        if rfc8785.dumps(json.loads(manifest)) != manifest.encode():
            yield f"a manifest of layer {layer} is not canonical"
