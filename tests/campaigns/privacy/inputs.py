"""Everything that went into the portal in a story: whatever its tables hold, but for what is meant for the chain.

New tables and fields are covered by being there. A field whose values stand on a chain on purpose is named below,
with the reason why it may.
"""

import json
from datetime import date, datetime
from uuid import UUID

from django.apps import apps
from django.db import models

from chain.models import CouncilReason, OutboxItem
from hospitals import keyring, sealing
from hospitals.audit_format import entry_body
from hospitals.models import AuditEntry, KeyRecord, Patient
from hospitals.tenancy import all_tenants
from records import grants
from records.models import AccessGrant
from tests.campaigns.privacy.chainread import Seen
from tests.campaigns.privacy.known import Known

MEANT = {
    "hospitals.Organisation.account_address": "an organisation acts under its own address",
    "hospitals.Organisation.evidence_digest": "salted; the evidence itself stays sealed",
    "hospitals.Membership.chain_address": "a practitioner is a public role",
    "hospitals.Patient.patient_key": "random, another one at each hospital",
    "hospitals.KeyRecord.address": "accounts of organisations and practitioners; identities are looked for below",
    "hospitals.AuditEntry.leaf": "salted digest of an entry",
    "hospitals.AuditMap.head": "over a root whose leaves lie under secret keys",
    "hospitals.AuditMap.previous": "the head before",
    "records.Epoch.leaf": "salted digest of a manifest",
    "records.AccessGrant.digest": "digest of an opening with a salt of 256 bits",
    "records.AccessGrant.revocation_lock": "hash of a random secret",
    "records.AccessGrant.recorded_tx_hash": "names a transaction",
    "records.AccessGrant.revoked_tx_hash": "names a transaction",
    "records.Anchor.tx_hash": "names a transaction",
}
APPS = ("hospitals", "records", "account", "mfa", "portal", "sessions")
KINDS = {
    "given_name": "name",
    "family_name": "name",
    "name": "name",
    "contact_name": "name",
    "email": "email",
    "contact_email": "email",
    "phone": "phone",
    "mrn": "number",
    "birth_date": "date",
    "title": "title",
    "category": "word",
    "scope_value": "word",
    "sex": "word",
    "role": "word",
    "evidence_name": "file name",
}
# Public words of the portal itself, that everybody may read in the source of the contracts.
SOURCE_WORDS = {"MED", "SUP", "member", "access", "record", "records", "portal"}
SHORTEST_SALT = 16


def stored():
    """Every value of every table as a Known, salts and keys included, sealed texts as they lie there."""
    found = {}
    with all_tenants("look for stored values on a chain"):
        for model in apps.get_models():
            if model._meta.app_label not in APPS:
                continue
            for row in model.objects.all():
                for field in model._meta.concrete_fields:
                    name = f"{model._meta.label}.{field.name}"
                    if name not in MEANT:
                        for known in _values(name, field, getattr(row, field.attname)):
                            found.setdefault((known.kind, known.value), known)
    return list(found.values())


def _values(name, field, value):
    kind = KINDS.get(field.name, "text")
    if value is None or isinstance(value, (bool, int, float)):
        return
    if isinstance(field, models.BinaryField) or isinstance(value, (bytes, memoryview)):
        if len(value) >= 8 and any(bytes(value)):
            yield Known("salt" if "salt" in field.name else "bytes", name, bytes(value)[:4096])
    elif isinstance(value, UUID):
        if value.int:  # the portal's own workers have no number
            yield Known("id", name, str(value))
    elif isinstance(value, datetime):
        return
    elif isinstance(value, date):
        yield Known("date", name, value.isoformat())
    elif isinstance(value, str):
        if field.choices and kind == "text":
            return
        if len(value) >= 3 and value not in SOURCE_WORDS:
            yield Known(kind, name, value)
            yield from (Known(kind, name, word) for word in value.split() if kind == "name" and len(word) > 3)
    else:
        for text in _texts(json.loads(json.dumps(value, default=str))):
            if len(text) > 3 and text not in SOURCE_WORDS:
                yield Known("id" if _is_id(text) else "text", name, text)


def _texts(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def _is_id(text):
    try:
        return bool(UUID(text))
    except ValueError:
        return False


def opened():
    """What lies sealed in the tables: private keys, identities of patients, openings and secrets of consents."""
    found = []
    with all_tenants("look for sealed values on a chain"):
        for words in CouncilReason.objects.all():
            found.append(Known("statement", "reason of an officer", words.text))
        for key in KeyRecord.objects.all():
            found.append(Known("text", "entry of the key directory", keyring.directory_body(key).decode()))
            found.append(
                Known("secret", f"private {key.purpose} key of a {key.owner_type}", keyring._open_private(key))
            )
            if key.owner_type == "patient" and key.address:
                found.append(Known("patient address", "identity that signs consents", bytes(key.address)))
        for entry in AuditEntry.objects.all():
            found.append(Known("text", "entry of the log", entry_body(entry).decode()))
        for patient in Patient.objects.select_related("hospital"):
            secret = sealing.open_blob(
                patient.hospital_id, "rotation", patient.pk, bytes(patient.rotation_secret_sealed)
            )
            found.append(Known("preimage", "preimage of a rotation lock", secret))
        for grant in AccessGrant.objects.select_related("hospital"):
            opening = grants.grant_opening(grant)
            found.append(Known("salt", "salt of a consent", opening["salt"]))
            found.append(Known("statement", "what the patient signed", opening["statement"]))
            if grant.state not in ("revoking", "revoked"):
                secret = grants._open(grant, "grant.revocation", grant.revocation_secret_sealed)
                found.append(Known("preimage", "secret that revokes a consent", bytes.fromhex(secret)))
    return found


def salts():
    """(where from, value) of every salt, once for each row that holds one."""
    found = []
    with all_tenants("compare salts"):
        for model in apps.get_models():
            if model._meta.app_label not in (*APPS, "chain"):
                continue
            for field in model._meta.concrete_fields:
                if "salt" in field.name:
                    for row in model.objects.exclude(**{f"{field.name}__isnull": True}):
                        value = bytes(getattr(row, field.attname))
                        if len(value) >= SHORTEST_SALT:
                            found.append((f"{model._meta.label} {row.pk}", value))
        found += [(f"consent {grant.pk}", grants.grant_opening(grant)["salt"]) for grant in AccessGrant.objects.all()]
    return found


def leaves(since=None):
    """What lies under the roots: proofs show some of it to others, and a root over guessable leaves is guessable."""
    rows = OutboxItem.objects.exclude(leaf=None)
    if since is not None:
        rows = rows.filter(created_at__gte=since)
    return [Seen(row.chain, 0, "", "leaf under a root", bytes(row.leaf)) for row in rows]
