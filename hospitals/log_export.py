"""A patient's log at one hospital with its proof, in the form of docs/formats.md."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import rfc8785
from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone

from chain.artefacts import deployment
from chain.gateway import checksum
from chain.models import OutboxItem, Transaction
from chain.types import hex0x
from hospitals import audit, audit_maps, keyring
from hospitals.actors import Actor
from hospitals.audit_format import entry_body
from hospitals.errors import NotFound
from hospitals.models import AuditEntry, Patient
from hospitals.tenancy import tenant

CHAIN = "MED"


def export(*, actor: Actor, patient: Patient) -> bytes:
    """The signed export as canonical bytes. The export itself is the newest entry in it."""
    if not actor.is_patient or patient.user_id != actor.user.pk:
        raise NotFound()
    hospital = patient.hospital
    with tenant(hospital):
        with transaction.atomic(savepoint=False):
            audit.append(hospital=hospital, actor=actor, action="log.exported", patient=patient, basis="own")
        rows = AuditEntry.objects.filter(patient=patient).order_by("patient_seq")
        entries = list(rows.select_related("actor_user", "actor_membership__hospital"))
    sent = _transactions([entry.chain_ref for entry in entries])
    places: dict[Any, int] = {}
    for row in sent.values():
        places.setdefault(row.pk, len(places))
    ordered = {row.pk: row for row in sent.values()}
    proof = audit_maps.line_proof(patient)
    document = {
        "v": 2,
        "type": "access-log",
        "tenant": hospital.pk.hex,
        "patient": patient.pk.hex,
        "count": len(entries),
        "entries": [_entry(entry, places, sent) for entry in entries],
        "anchors": _anchors([ordered[key] for key in places]),
        "log_key": bytes(audit_maps.line_of(patient).log_key).hex(),
        "map": _map(proof) if proof else None,
        "people": _people(entries),
        "issued_at": _time(timezone.now()),
    }
    kid = keyring.sign_kid(hospital)
    message = b"medportal/sig/v1\0receipt\0" + hashlib.sha256(rfc8785.dumps(document)).digest()
    signature = {"public_key": keyring.public_spki(kid).hex(), "value": keyring.sign(kid, message).hex()}
    return rfc8785.dumps(document | {"signature": signature})


def response(data: bytes) -> HttpResponse:
    """These bytes are what was signed: nothing may write the JSON again."""
    answer = HttpResponse(data, content_type="application/json")
    answer["Content-Disposition"] = 'attachment; filename="access-log.json"'
    answer["Cache-Control"] = "no-store"
    return answer


def _entry(entry: AuditEntry, places: dict[Any, int], sent: dict[str, Transaction]) -> dict[str, Any]:
    row = sent.get(entry.chain_ref)
    return {
        "body": entry_body(entry).decode(),
        "salt": bytes(entry.salt).hex(),
        "leaf": bytes(entry.leaf).hex(),
        "link": bytes(entry.patient_link).hex(),
        "anchor": places[row.pk] if row else None,
    }


def _transactions(refs: list[str]) -> dict[str, Transaction]:
    """The transaction in a block that carried each leaf."""
    found = {}
    for start in range(0, len(refs), 500):
        items = OutboxItem.objects.filter(ref__in=refs[start : start + 500], transaction__block_hash__isnull=False)
        for item in items.select_related("transaction__mined_attempt"):
            if item.transaction.mined_attempt:
                found[item.ref] = item.transaction
    return found


def _anchors(rows: list[Transaction]) -> list[dict[str, Any]]:
    return [
        {
            "chain": row.chain,
            "chain_id": deployment(row.chain).chain_id,
            # The one that took it, in use still or not.
            "contract": checksum(row.to),
            "organisation": hex0x(row.sender),
            "tx_hash": hex0x(row.mined_attempt.tx_hash),
            "block_number": row.block_number,
            "block_hash": hex0x(row.block_hash),
            "block_time": _time(row.block_time),
            "state": str(row.state),
        }
        for row in rows
    ]


def _map(proof: audit_maps.LineProof) -> dict[str, Any]:
    """The newest anchored map, and where this line stands in it."""
    row = proof.map
    return {
        "number": row.number,
        "seq": row.seq,
        "link": bytes(row.link).hex(),
        "lines": row.lines,
        "root": bytes(row.root).hex(),
        "previous": bytes(row.previous).hex(),
        "count": proof.count,
        "siblings": [sibling.hex() for sibling in proof.siblings],
        "anchors": [
            {
                "chain": item.chain,
                "chain_id": item.chain_id,
                "contract": item.contract,
                "organisation": item.organisation,
                "root": hex0x(item.root),
                "index": item.index,
                "count": item.count,
                "proof": [hex0x(step) for step in item.proof],
                "tx_hash": item.tx_hash,
                "block_number": item.block_number,
                "block_hash": item.block_hash,
                "block_time": _time(item.block_time),
                "state": str(item.state),
            }
            for item in proof.anchors
        ],
    }


def _people(entries: list[AuditEntry]) -> dict[str, Any]:
    """Readable names for the ids in the bodies."""
    people: dict[str, Any] = {}
    for entry in entries:
        if membership := entry.actor_membership:
            key, place = membership.pk.hex, membership.hospital.name
            people[key] = {"name": entry.actor_user.name, "role": membership.role, "organisation": place}
        elif entry.actor_user:
            people[entry.actor_user_id.hex] = {"name": entry.actor_user.name, "role": "patient", "organisation": None}
    return people


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
