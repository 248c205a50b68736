"""The bytes of a log entry. docs/formats.md and the offline checker repeat them.

body  = RFC 8785 JSON of the row's own columns
leaf  = SHA-256(0x00 || salt32 || SHA-256(body))           goes to AccessLog on MED
link  = SHA-256(previous link || leaf)                     one line for each hospital, one for each patient
"""

import hashlib
import uuid
from datetime import UTC
from typing import Any

import rfc8785

GENESIS = bytes(32)


def entry_body(entry: Any) -> bytes:
    """The exact bytes a leaf commits to, rebuilt from the row, so that an edited row gives others."""
    return rfc8785.dumps(
        {
            "v": 1,
            "id": entry.pk.hex,
            "hospital": entry.hospital_id.hex,
            "seq": entry.seq,
            "previous_link": bytes(entry.previous_link).hex(),
            "patient": _hex(entry.patient_id),
            "patient_seq": entry.patient_seq,
            "patient_previous_link": _bytes_hex(entry.patient_previous_link),
            "actor_user": _hex(entry.actor_user_id),
            "actor_membership": _hex(entry.actor_membership_id),
            "actor_role": entry.actor_role,
            "channel": str(entry.channel),
            "request_id": entry.request_id,
            "action": entry.action,
            "basis": entry.basis,
            "purpose": entry.purpose,
            "target_type": entry.target_type,
            "target_id": entry.target_id,
            "is_refused": entry.is_refused,
            "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "detail": entry.detail,
        }
    )


def leaf_of(entry: Any) -> bytes:
    return hashlib.sha256(b"\0" + bytes(entry.salt) + hashlib.sha256(entry_body(entry)).digest()).digest()


def link_of(previous: bytes, leaf: bytes) -> bytes:
    return hashlib.sha256(bytes(previous) + bytes(leaf)).digest()


def _hex(value: uuid.UUID | None) -> str | None:
    return value.hex if value else None


def _bytes_hex(value: bytes | None) -> str | None:
    return bytes(value).hex() if value is not None else None
