"""Writes that are not an upload or a grant; the full list of services of this app is what `__all__` names."""

from __future__ import annotations

import secrets
import uuid
from contextlib import closing

from django.db import transaction
from django.utils import timezone

from chain.failpoints import fp
from hospitals import audit, keyring, roles
from hospitals.actors import Actor
from hospitals.models import Patient
from hospitals.roles import Permission
from records import crypto, gate
from records.errors import Conflict, GrantInvalid, NotFound
from records.grants import grant_create, grant_revoke
from records.ingest import quota_give_back, quota_take, upload_receive, version_add
from records.models import (
    Category,
    Purpose,
    Record,
    RecordStatus,
    RecordVersion,
    Restriction,
    ScopeType,
    Upload,
    UploadState,
    VersionState,
)
from records.receipts import receipt_build
from records.storage import blob_store
from records.wakeups import wake

__all__ = [
    "grant_create",
    "grant_revoke",
    "receipt_build",
    "record_move",
    "record_withdraw",
    "restriction_lift",
    "restriction_set",
    "upload_discard",
    "upload_receive",
    "upload_retry",
    "version_add",
]


# Uploads that did not get through


def upload_retry(*, actor: Actor, upload: Upload) -> Upload:
    """Tries a failed upload again with the sealed bytes that are still there."""
    _may_handle(actor, upload)
    with transaction.atomic():
        again = (
            Upload.objects.filter(pk=upload.pk, state=UploadState.FAILED)
            .exclude(staging_blob="")
            .update(
                state=UploadState.RECEIVED,
                attempts=0,
                claimed_by=None,
                claimed_until=None,
                finished_at=None,
                reason_code="",
                reason_text="",
            )
        )
        if again != 1:
            raise Conflict("This upload is not waiting for another try.")
        _log(actor, upload, "records.upload.retried")
        wake("seal", upload.hospital_id, upload.pk)
    upload.refresh_from_db()
    return upload


def upload_discard(*, actor: Actor, upload: Upload) -> Upload:
    """Destroys the bytes of a file that was held back or failed; the row and its reason stay."""
    _may_handle(actor, upload)
    staged = upload.staging_blob
    with transaction.atomic():
        gone = Upload.objects.filter(pk=upload.pk, state__in=[UploadState.QUARANTINED, UploadState.FAILED]).update(
            state=UploadState.DISCARDED, staging_blob="", staging_key_wrapped=None
        )
        if gone != 1:
            raise Conflict("Only files that were held back or failed can be discarded.")
        quota_give_back(upload.hospital_id, upload.size)
        _log(actor, upload, "records.upload.discarded")
    fp("discard.committed")
    if staged:
        blob_store().delete_staging(staged)
    upload.refresh_from_db()
    return upload


def _may_handle(actor: Actor, upload: Upload) -> None:
    roles.require(actor, Permission.UPLOAD_STATES, hospital=upload.hospital_id)
    if upload.uploader_id != actor.membership.pk and not roles.decide(actor, Permission.STAFF_MANAGE):
        raise NotFound()


def _log(actor: Actor, upload: Upload, action: str) -> None:
    audit.append(hospital=upload.hospital, actor=actor, action=action, patient=upload.patient, target=upload)


# Entered in error

WITHDRAW_REASONS = ("wrong_patient", "wrong_file", "duplicate", "wrong_content")


def record_withdraw(*, actor: Actor, record: Record, reason: str) -> Record:
    """Marks a record as entered in error: nobody opens it any more, its anchor stays and still verifies."""
    roles.require(actor, Permission.RECORD_WITHDRAW, hospital=record.hospital_id)
    if not reason.strip():
        raise Conflict("Say in a few words why the record is withdrawn.", code="reason")
    with transaction.atomic():
        now = timezone.now()
        done = Record.objects.filter(pk=record.pk, status=RecordStatus.ACTIVE).update(
            status=RecordStatus.WITHDRAWN, withdrawn_at=now, withdrawn_by=actor.membership
        )
        if done != 1:
            raise Conflict("This record was withdrawn already.")
        RecordVersion.objects.filter(record=record).exclude(state=VersionState.SUPERSEDED).update(
            state=VersionState.WITHDRAWN
        )
        audit.append(
            hospital=record.hospital,
            actor=actor,
            action="records.record.withdrawn",
            patient=record.patient,
            target=record,
            basis="treatment",
            purpose=Purpose.TREATMENT,
            # A code says why; free words could name somebody.
            detail={"reason": reason} if reason in WITHDRAW_REASONS else {},
        )
    record.refresh_from_db()
    return record


def record_move(*, actor: Actor, record: Record, patient: Patient, reason: str) -> Upload:
    """Entered for the wrong patient: withdrawn there, and sealed anew for the right one under new keys."""
    roles.require(actor, Permission.RECORD_WITHDRAW, hospital=record.hospital_id)
    if patient.hospital_id != record.hospital_id or patient.pk == record.patient_id:
        raise NotFound()
    version = RecordVersion.objects.select_related("record").get(record=record, number=record.current_version)
    title = keyring.open_text(
        hospital_id=record.hospital_id, purpose="record.title", row_id=record.pk, blob=bytes(record.title_sealed)
    )
    released = gate.release(actor=actor, version=version, action="export")
    store = blob_store()
    staged = store.stage()
    staging_key, upload_id = secrets.token_bytes(crypto.DEK_BYTES), uuid.uuid4()
    is_kept = False
    try:
        with closing(released):
            seal = crypto.SealStream(
                staging_key, crypto.staging_context(bytes.fromhex(staged.name)), staged.write, is_hashed=False
            )
            for piece in released.chunks:
                seal.update(piece)
            seal.finalize()
        staged.sync()
        fp("move.staged")
        with transaction.atomic():
            record_withdraw(actor=actor, record=record, reason=reason)
            fp("move.withdrawn")
            upload = _move_upload(actor, record, patient, version, title, released, staged.name, staging_key, upload_id)
            is_kept = True  # from the commit on a row names it; if the commit fails, the scrub removes it
        fp("move.committed")
    except BaseException:
        if not is_kept:
            staged.abort()
        raise
    return upload


def _move_upload(
    actor: Actor,
    record: Record,
    patient: Patient,
    version: RecordVersion,
    title: str,
    released: gate.Release,
    staging_blob: str,
    staging_key: bytes,
    upload_id: uuid.UUID,
) -> Upload:
    hospital = record.hospital
    worker = keyring.worker_kid()
    info = crypto.staging_info(tenant=hospital.pk.bytes, upload=upload_id.bytes, kid=worker)
    quota_take(hospital, released.size)
    upload = Upload(
        id=upload_id,
        hospital=hospital,
        patient=patient,
        uploader=actor.membership,
        chains=version.chains,
        category=record.category,
        care_on=record.care_on,
        name_sealed=keyring.seal_text(
            hospital_id=hospital.pk, purpose="upload.name", row_id=upload_id, text=released.filename
        ),
        title_sealed=keyring.seal_text(hospital_id=hospital.pk, purpose="upload.title", row_id=upload_id, text=title),
        size=released.size,
        staging_blob=staging_blob,
        staging_key_wrapped=crypto.wrap(keyring.public_key(worker), staging_key, info),
    )
    upload.save(force_insert=True)
    audit.append(
        hospital=hospital,
        actor=actor,
        action="records.version.uploaded",
        patient=patient,
        target=("record", upload.record_ref),
        basis="treatment",
        purpose=Purpose.TREATMENT,
        detail={"upload": str(upload.pk), "chains": version.chains},
    )
    wake("seal", hospital.pk, upload.pk)
    return upload


# What a patient hides


def restriction_set(*, actor: Actor, patient: Patient, scope_type: str, scope_value: str = "") -> Restriction:
    """Hides records from the hospital's own staff, from the next request on. Staff cannot see that it exists."""
    _own(actor, patient)
    known = {
        ScopeType.ALL: scope_value == "",
        ScopeType.CATEGORY: scope_value in Category.values,
        ScopeType.RECORD: scope_value in {str(pk) for pk in patient.records.values_list("pk", flat=True)},
    }
    if not known.get(scope_type, False):
        raise GrantInvalid("Choose everything, one kind of record, or one of your records.", code="scope")
    with transaction.atomic():
        restriction = Restriction(
            hospital=patient.hospital,
            patient=patient,
            scope_type=scope_type,
            scope_value=scope_value,
            created_by=actor.user,
        )
        restriction.save(force_insert=True)
        # The entry stands in the patient's log; its words are those of any change of settings.
        audit.append(
            hospital=patient.hospital, actor=actor, action="patients.settings.changed", patient=patient, basis="own"
        )
    return restriction


def restriction_lift(*, actor: Actor, restriction: Restriction) -> None:
    _own(actor, restriction.patient)
    with transaction.atomic():
        lifted = Restriction.objects.filter(pk=restriction.pk, lifted_at__isnull=True).update(lifted_at=timezone.now())
        if lifted == 1:
            audit.append(
                hospital=restriction.hospital,
                actor=actor,
                action="patients.settings.changed",
                patient=restriction.patient,
                basis="own",
            )


def _own(actor: Actor, patient: Patient) -> None:
    if not actor.is_patient or patient.user_id is None or patient.user_id != actor.user.pk:
        raise NotFound()
