"""A patient's consents: made and stopped by the patient, decided by the contract, enforced with keys.

A grant opens nothing before the chain has it for good. A stop closes at once, before any block.
"""

from __future__ import annotations

import json
import secrets
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from chain import gateway
from chain import selectors as chain_selectors
from chain import services as chain_services
from chain.failpoints import fp
from hospitals import audit, keyring
from hospitals.actors import Actor
from hospitals.errors import AuditUnavailable
from hospitals.models import Membership, Organisation, Patient
from hospitals.types import MembershipStatus, OrganisationStatus, PatientStatus
from records import keys
from records.conf import conf
from records.errors import GrantInvalid, NotFound
from records.models import (
    AccessGrant,
    Category,
    Epoch,
    GrantState,
    Purpose,
    Record,
    RecordStatus,
    RecordVersion,
    ScopeType,
    Wrap,
)
from records.wakeups import wake

CHAIN = "MED"
_WRAP_BATCH = 100
_REVOKE_ATTEMPTS = 3
# The chain's clock decides when a consent begins. It starts a minute before it was given by whichever clock is behind,
# but not further back than a server's clock may plausibly be ahead: a chain without news has an old block on top.
_CLOCK_MARGIN = timedelta(minutes=1)
_CLOCK_AHEAD = timedelta(hours=1)


def grant_create(
    *,
    actor: Actor,
    patient: Patient,
    grantee: Membership | Organisation,
    scope_type: str,
    scope_value: str = "",
    purpose: str = Purpose.TREATMENT,
    expires_at: datetime,
) -> AccessGrant:
    """Signs the patient's terms and sends their digest to MEDchain. Opens nothing until that is final."""
    _own(actor, patient)
    hospital = patient.hospital
    if patient.status != PatientStatus.ACTIVE:
        raise GrantInvalid("Your registration is still being confirmed. Try again in a minute.", code="not_registered")
    member, organisation, address = _grantee(grantee)
    scope = scope_bytes(patient, scope_type, scope_value)
    if purpose not in Purpose.values:
        raise GrantInvalid("Choose a purpose from the list.", code="purpose")
    now = timezone.now()
    if not now < expires_at <= now + timedelta(days=conf().share_days_max):
        raise GrantInvalid(f"Choose an end between now and {conf().share_days_max} days from now.", code="expires_at")
    grant_id, secret = uuid.uuid4(), secrets.token_bytes(32)
    starts = _starts(now)
    ends = expires_at.replace(microsecond=0)
    statement = statement_text(grantee, scope_type, scope_value, purpose, ends)
    consent = {
        "patientKey": bytes(patient.patient_key),
        "grantee": address,
        "scope": scope,
        "purpose": ascii32(purpose),
        "notBefore": int(starts.timestamp()),
        "expiresAt": int(ends.timestamp()),
        "statement": statement,
        "salt": secrets.token_bytes(32),
    }
    digest = gateway.consent_digest(CHAIN, consent)
    lock = gateway.revocation_lock(secret)
    grant = AccessGrant(
        id=grant_id,
        hospital=hospital,
        patient=patient,
        grantee_membership=member,
        grantee_organisation=organisation,
        scope_type=scope_type,
        scope_value=scope_value,
        purpose=purpose,
        not_before=starts,
        expires_at=ends,
        statement_sealed=_seal(hospital, "grant.statement", grant_id, statement),
        opening_sealed=_seal(hospital, "grant.opening", grant_id, _opening_dump(consent)),
        digest=digest,
        signature=gateway.consent_sign(keyring.identity_key(patient), CHAIN, consent),
        revocation_lock=lock,
        revocation_secret_sealed=_seal(hospital, "grant.revocation", grant_id, secret.hex()),
        record_ref=f"grant:{grant_id.hex}",
        created_at=now,
    )
    with transaction.atomic():
        grant.save(force_insert=True)
        fp("grant.saved")
        chain_services.consent_record_enqueue(
            chain=CHAIN, sender=bytes(hospital.account_address), digest=digest, lock=lock, ref=grant.record_ref
        )
        audit.append(
            hospital=hospital,
            actor=actor,
            action="grants.created",
            patient=patient,
            target=grant,
            basis="own",
            purpose=purpose,
            detail={"scope": scope_type, "grantee_organisation": str(organisation.pk)},
        )
    return grant


def _starts(now: datetime) -> datetime:
    newest = chain_selectors.block_time_newest(CHAIN) or now
    return (max(min(now, newest), now - _CLOCK_AHEAD) - _CLOCK_MARGIN).replace(microsecond=0)


def grant_revoke(*, actor: Actor, grant: AccessGrant) -> AccessGrant:
    """Closed from the next request on; the chain and the new keys follow.

    When the database gives this transaction up to let another one go on (a deadlock), it is tried again at once: a
    stop must not fail because somebody else was busy with the same rows.
    """
    _own(actor, grant.patient)
    for attempts_left in reversed(range(_REVOKE_ATTEMPTS)):
        try:
            _revoke(actor, grant)
            break
        except (OperationalError, AuditUnavailable):
            if not attempts_left or transaction.get_connection().in_atomic_block:
                raise
    return grant_refresh(grant)


def _revoke(actor: Actor, grant: AccessGrant) -> None:
    with transaction.atomic():
        closed = AccessGrant.objects.filter(pk=grant.pk, state__in=[GrantState.PENDING, GrantState.ACTIVE]).update(
            state=GrantState.REVOKING, revoked_at=timezone.now()
        )
        if closed == 1:
            was_recorded = grant_refresh(grant).active_at is not None
            fp("grant.closed")
            _wraps_drop(grant)
            fp("grant.wraps_dropped")
            if was_recorded:
                _revoke_enqueue(grant)
                fp("grant.revoke_enqueued")
            audit.append(
                hospital=grant.hospital,
                actor=actor,
                action="grants.revoked",
                patient=grant.patient,
                target=grant,
                basis="own",
                purpose=grant.purpose,
            )


def grant_refresh(grant: AccessGrant) -> AccessGrant:
    grant.refresh_from_db()
    return grant


def grant_activate(*, grant_id: uuid.UUID, tx_hash: bytes | None, at: datetime) -> None:
    """The consent is final on the chain. A grant that was stopped meanwhile is stopped there too."""
    with transaction.atomic():
        started = AccessGrant.objects.filter(pk=grant_id, state=GrantState.PENDING).update(
            state=GrantState.ACTIVE, active_at=at, recorded_tx_hash=tx_hash
        )
        grant = AccessGrant.objects.select_related("hospital").get(pk=grant_id)
        if started == 1:
            wake("wrap", grant.hospital_id, grant.pk)
        elif grant.active_at is None:
            AccessGrant.objects.filter(pk=grant_id).update(active_at=at, recorded_tx_hash=tx_hash)
            if grant.state == GrantState.REVOKING and not grant.revoke_ref:
                _revoke_enqueue(grant)


def grant_closed(*, grant_id: uuid.UUID, tx_hash: bytes | None, at: datetime) -> None:
    """The revoke is final. It may have come from the patient's own wallet, so keys go now at the latest."""
    with transaction.atomic():
        grant = AccessGrant.objects.select_for_update(of=("self",)).get(pk=grant_id)
        _wraps_drop(grant)
        AccessGrant.objects.filter(pk=grant_id).exclude(state=GrantState.REVOKED).update(
            state=GrantState.REVOKED, revoked_at=grant.revoked_at or at, revoked_tx_hash=tx_hash
        )


def grant_expire(*, grant_id: uuid.UUID) -> None:
    with transaction.atomic():
        ended = AccessGrant.objects.filter(
            pk=grant_id, state__in=[GrantState.ACTIVE, GrantState.PENDING], expires_at__lte=timezone.now()
        ).update(state=GrantState.EXPIRED)
        if ended == 1:
            Wrap.objects.filter(grant_id=grant_id).delete()


# Keys that follow a grant


def grant_wrap(*, grant_id: uuid.UUID) -> int:
    """Wraps the data key of every version in scope for the grantee; resumable, safe to repeat."""
    grant = (
        AccessGrant.objects.select_related("hospital", "grantee_membership", "grantee_organisation")
        .filter(pk=grant_id, state=GrantState.ACTIVE)
        .first()
    )
    if grant is None:
        return 0
    made = 0
    while True:
        missing = list(scope_epochs(grant).exclude(wraps__grant=grant).select_related("version__record")[:_WRAP_BATCH])
        if not missing:
            break
        made += sum(epoch_wrap(epoch, grant) for epoch in missing)
        fp("grant.batch_wrapped")
        if not AccessGrant.objects.filter(pk=grant_id, state=GrantState.ACTIVE).exists():
            return made
    AccessGrant.objects.filter(pk=grant_id, state=GrantState.ACTIVE).update(wrapped_at=timezone.now())
    return made


def epoch_wrap(epoch: Epoch, grant: AccessGrant) -> bool:
    """One wrap for the grantee, made through the hospital's own; only while the grant stands."""
    version = epoch.version
    place = keys.place_of(version.record, version.number, epoch.number)
    dek = keys.dek_open(epoch, place, grant.hospital)
    wraps = keys.wraps_make(dek, place, [keys.Recipient(keys.grantee_of(grant), grant)])
    with transaction.atomic():
        standing = AccessGrant.objects.select_for_update(of=("self",)).filter(pk=grant.pk, state=GrantState.ACTIVE)
        if not standing.exists() or not RecordVersion.objects.filter(pk=version.pk, epoch=epoch.number).exists():
            return False
        keys.wraps_save(epoch, wraps)
        fp("grant.wrap_saved")
    return True


def scope_epochs(grant: AccessGrant) -> QuerySet[Epoch]:
    """The current epochs of every version that the grant covers."""
    epochs = Epoch.objects.filter(
        number=F("version__epoch"),
        version__record__patient_id=grant.patient_id,
        version__record__status=RecordStatus.ACTIVE,
        payload_blob__gt="",
    )
    if grant.scope_type == ScopeType.CATEGORY:
        epochs = epochs.filter(version__record__category=grant.scope_value)
    elif grant.scope_type == ScopeType.RECORD:
        epochs = epochs.filter(version__record_id=uuid.UUID(grant.scope_value))
    return epochs.order_by("created_at")


def _wraps_drop(grant: AccessGrant) -> None:
    """Deletes the grantee's wraps and asks for new keys where there were any: a saved wrap must open nothing new."""
    wraps = Wrap.objects.filter(grant=grant)
    versions = list(RecordVersion.objects.filter(epochs__wraps__grant=grant).distinct().values_list("pk", flat=True))
    wraps.delete()
    RecordVersion.objects.filter(pk__in=versions).update(rekey_requested_at=timezone.now())
    for pk in versions:
        wake("rekey", grant.hospital_id, pk)


def _revoke_enqueue(grant: AccessGrant) -> None:
    secret = bytes.fromhex(_open(grant, "grant.revocation", grant.revocation_secret_sealed))
    grant.revoke_ref = f"revoke:{grant.pk.hex}"
    AccessGrant.objects.filter(pk=grant.pk).update(revoke_ref=grant.revoke_ref)
    chain_services.call_enqueue(
        chain=CHAIN,
        sender=bytes(grant.hospital.account_address),
        contract="Consents",
        function="revoke",
        args=[bytes(grant.digest), secret],
        ref=grant.revoke_ref,
    )


# Terms


def scope_bytes(patient: Patient, scope_type: str, scope_value: str) -> bytes:
    """What the contract compares: `all`, a category, or the random key of one record."""
    if scope_type == ScopeType.ALL and not scope_value:
        return ascii32("all")
    if scope_type == ScopeType.CATEGORY and scope_value in Category.values:
        return ascii32(scope_value)
    if scope_type == ScopeType.RECORD:
        try:
            record = Record.objects.filter(
                pk=uuid.UUID(scope_value), patient=patient, status=RecordStatus.ACTIVE
            ).first()
        except ValueError:
            record = None
        if record is not None:
            return bytes(record.record_key)
    raise GrantInvalid("Choose everything, one kind of record, or one of your records.", code="scope")


def ascii32(word: str) -> bytes:
    return word.encode("ascii").ljust(32, b"\0")


def statement_text(
    grantee: Membership | Organisation, scope_type: str, scope_value: str, purpose: str, ends: datetime
) -> str:
    """The sentence that a wallet shows before the patient signs."""
    if isinstance(grantee, Membership):
        who = f"{grantee.user.name} of {grantee.hospital.name}"
    else:
        who = f"The staff of {grantee.name}"
    if scope_type == ScopeType.CATEGORY:
        what = f"my records of the kind “{Category(scope_value).label}”"
    else:
        what = "one of my records" if scope_type == ScopeType.RECORD else "all my records"
    end = f"{ends:%d %B %Y %H:%M} UTC".lstrip("0")
    return f"{who} may read {what} for the purpose “{Purpose(purpose).label}” until {end}."


def grant_opening(grant: AccessGrant) -> dict[str, Any]:
    """The terms as the contract takes them. The salt inside is for patient and gate only."""
    opening = json.loads(_open(grant, "grant.opening", grant.opening_sealed))
    return {
        name: bytes.fromhex(value) if name in ("patientKey", "grantee", "scope", "purpose", "salt") else value
        for name, value in opening.items()
    }


def grant_statement(grant: AccessGrant) -> str:
    return _open(grant, "grant.statement", grant.statement_sealed)


def _opening_dump(consent: dict[str, Any]) -> str:
    return json.dumps({name: value.hex() if isinstance(value, bytes) else value for name, value in consent.items()})


def _grantee(grantee: Membership | Organisation) -> tuple[Membership | None, Organisation, bytes]:
    organisation = grantee.hospital if isinstance(grantee, Membership) else grantee
    if organisation.status != OrganisationStatus.ACTIVE or not organisation.account_address:
        raise GrantInvalid("This organisation is not active at the moment.", code="grantee")
    if isinstance(grantee, Organisation):
        return None, organisation, bytes(organisation.account_address)
    if grantee.status != MembershipStatus.ACTIVE or not grantee.chain_address or not grantee.user.is_active:
        raise GrantInvalid("This person is not confirmed at the hospital at the moment.", code="grantee")
    return grantee, organisation, bytes(grantee.chain_address)


def _own(actor: Actor, patient: Patient) -> None:
    if not actor.is_patient or patient.user_id is None or patient.user_id != actor.user.pk:
        raise NotFound()


def _seal(hospital: Organisation, purpose: str, row_id: uuid.UUID, text: str) -> bytes:
    return keyring.seal_text(hospital_id=hospital.pk, purpose=purpose, row_id=row_id, text=text)


def _open(grant: AccessGrant, purpose: str, blob: bytes) -> str:
    return keyring.open_text(hospital_id=grant.hospital_id, purpose=purpose, row_id=grant.pk, blob=bytes(blob))
