"""The worker's half of an upload: open the staged bytes, inspect them, seal them under a fresh data key.

Everything is idempotent by row: a claim decides who works, one commit makes the result visible, and whoever
loses the claim leaves no trace.
"""

from __future__ import annotations

import hashlib
import io
import logging
import secrets
import uuid
from contextlib import closing
from datetime import timedelta
from typing import BinaryIO

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from chain import services as chain_services
from chain.failpoints import fp
from hospitals import audit, keyring
from hospitals.actors import member_actor
from hospitals.errors import KeyUnavailable, RootKeyError
from hospitals.models import Organisation
from hospitals.types import Channel
from records import crypto, keys, manifests
from records.conf import conf
from records.epochs import SealedPayload, blob_drop, epoch_save, payload_seal
from records.errors import BlobMissing, Conflict, Lost, StorageFull
from records.formats import SealedStream, inspect
from records.inspection import Finding, Refusal
from records.models import (
    Chains,
    Epoch,
    Record,
    RecordStatus,
    RecordVersion,
    Upload,
    UploadState,
    VersionState,
)
from records.storage import blob_store

log = logging.getLogger(__name__)
_BACKOFF_SECONDS = 20
_GIVEN_UP = "Sealing failed several times. Choose “Try again”, or tell your administrator."


# Sealing an upload


def upload_claim(upload_id: uuid.UUID) -> uuid.UUID | None:
    """A token if this process may work on the upload, else None: done, claimed by another, or given up."""
    now, token = timezone.now(), uuid.uuid4()
    claimed = (
        Upload.objects.filter(pk=upload_id, state__in=[UploadState.RECEIVED, UploadState.SEALING])
        .filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))
        .update(
            state=UploadState.SEALING,
            claimed_by=token,
            claimed_until=now + timedelta(seconds=conf().claim_seconds),
            attempts=F("attempts") + 1,
        )
    )
    return token if claimed == 1 else None


def upload_seal(*, upload_id: uuid.UUID) -> str:
    """One step of one upload; returns its state afterwards. Safe to call any number of times."""
    token = upload_claim(upload_id)
    if token is None:
        return Upload.objects.filter(pk=upload_id).values_list("state", flat=True).first() or ""
    fp("seal.claimed")
    upload = Upload.objects.select_related("patient", "uploader__user", "uploader__hospital", "hospital", "target").get(
        pk=upload_id
    )
    if upload.attempts > conf().attempts_max:
        # Nobody told of these attempts: the worker died in each. It must not take the workers with it for ever.
        log.error("sealing given up: %d workers ended while at it", upload.attempts - 1)
        return _upload_close(upload, token, UploadState.FAILED, "sealing_failed", _GIVEN_UP)
    try:
        _upload_seal(upload, token)
    except Lost:
        return Upload.objects.values_list("state", flat=True).get(pk=upload_id)
    except Refusal as refusal:
        return _upload_close(upload, token, UploadState.QUARANTINED, refusal.code, refusal.text)
    except (StorageFull, RootKeyError) as error:
        # The upload is safe in staging; it goes on by itself when the cause is gone.
        _upload_release(upload, token, counts=False)
        log.error("sealing waits: %s", error.code)
        return UploadState.RECEIVED
    except (crypto.Unauthentic, BlobMissing, KeyUnavailable, Conflict) as error:
        text = (
            error.user_message
            if isinstance(error, Conflict)
            else ("The received bytes were damaged in the store before they could be sealed. Upload the file again.")
        )
        return _upload_close(upload, token, UploadState.FAILED, getattr(error, "code", "staging_damaged"), text)
    except Exception as error:
        if upload.attempts >= conf().attempts_max:
            log.error("sealing given up after %d attempts: %s", upload.attempts, type(error).__name__)
            return _upload_close(upload, token, UploadState.FAILED, "sealing_failed", _GIVEN_UP)
        _upload_release(upload, token, counts=True)
        raise
    return UploadState.SEALED


def _upload_seal(upload: Upload, token: uuid.UUID) -> None:
    hospital: Organisation = upload.hospital
    worker = keyring.worker_kid()
    info = crypto.staging_info(tenant=upload.hospital_id.bytes, upload=upload.pk.bytes, kid=worker)
    staging_key = keyring.unwrap(worker, bytes(upload.staging_key_wrapped), info)
    context = crypto.staging_context(bytes.fromhex(upload.staging_blob))
    with closing(blob_store().open_staging(upload.staging_blob)) as staged:
        reader = crypto.RangeReader(staged.read_at, staged.size, staging_key, context)
        name = keyring.open_text(
            hospital_id=upload.hospital_id, purpose="upload.name", row_id=upload.pk, blob=bytes(upload.name_sealed)
        )
        title = keyring.open_text(
            hospital_id=upload.hospital_id, purpose="upload.title", row_id=upload.pk, blob=bytes(upload.title_sealed)
        )
        stream: BinaryIO = io.BufferedReader(SealedStream(reader), 64 << 10)
        finding = inspect(name=name, stream=stream, size=reader.size, conf=conf())
        fp("seal.inspected")
        number = upload.base_version + 1 if upload.target_id else 1
        record_id = upload.target_id or upload.record_ref
        place = manifests.Place(tenant=upload.hospital_id, record=record_id, version=number, epoch=1)
        dek = crypto.dek_generate()
        payload = payload_seal(
            reader,
            crypto.subkey(dek, crypto.PAYLOAD),
            place.context(crypto.PAYLOAD),
            lambda: _heartbeat(upload, token),
        )
    fp("seal.payload_stored")
    try:
        _upload_commit(upload, token, hospital, place, dek, payload, finding, name, title)
    except BaseException:
        blob_drop(payload.address)
        raise
    fp("seal.committed")
    blob_store().delete_staging(upload.staging_blob)
    fp("seal.staging_deleted")


def _upload_commit(
    upload: Upload,
    token: uuid.UUID,
    hospital: Organisation,
    place: manifests.Place,
    dek: bytes,
    payload: SealedPayload,
    finding: Finding,
    name: str,
    title: str,
) -> None:
    now = timezone.now()
    with transaction.atomic():
        record = upload.target or Record(
            id=place.record,
            hospital=hospital,
            patient=upload.patient,
            category=upload.category,
            title_sealed=keyring.seal_text(
                hospital_id=hospital.pk, purpose="record.title", row_id=place.record, text=title
            ),
            care_on=upload.care_on,
            record_key=secrets.token_bytes(32),
            created_by=upload.uploader,
            created_at=upload.created_at,
        )
        # Grants before versions, as a revoke takes them: in the other order the two could wait for each other.
        readers = keys.recipients(record, upload.patient, hospital)
        previous = None
        if upload.target_id:
            previous = _previous_superseded(record, upload.base_version, now)
        else:
            try:
                record.save(force_insert=True)
            except IntegrityError as error:
                raise Lost from error
        fp("seal.record_saved")
        salt32 = secrets.token_bytes(32)
        author_kid = keyring.sign_kid(upload.uploader)
        authored = manifests.authored_manifest(
            place=place,
            prev_authored_digest=previous.authored_digest if previous else None,
            author_kid=author_kid,
            media_type=finding.media_type,
            size=payload.size,
            created_at=upload.created_at,
            pt_commit=crypto.plaintext_commitment(salt32, payload.plaintext_digest),
        )
        version = RecordVersion(
            hospital=hospital,
            record=record,
            number=place.version,
            author=upload.uploader,
            author_kid=author_kid,
            authored_manifest=authored.decode(),
            authored_signature=keyring.sign(author_kid, crypto.signature_input(crypto.AUTHORED, authored)),
            authored_digest=hashlib.sha256(authored).digest(),
            chains=upload.chains,
            size=payload.size,
            created_at=now,
        )
        version.save(force_insert=True)
        fp("seal.version_saved")
        meta = {
            "filename": name,
            "media_type": finding.media_type,
            "salt32": salt32.hex(),
            "plaintext_sha256": payload.plaintext_digest.hex(),
            "tags": finding.tags,
            "warnings": list(finding.warnings),
        }
        epoch = epoch_save(version, record, hospital, place, dek, payload, meta, readers, None, "sealed")
        _envelope_publish(version, epoch, hospital)
        done = Upload.objects.filter(pk=upload.pk, claimed_by=token, state=UploadState.SEALING).update(
            state=UploadState.SEALED, record=record, staging_blob="", staging_key_wrapped=None, finished_at=now
        )
        if done != 1:
            raise Lost
        fp("seal.upload_marked")


def _envelope_publish(version: RecordVersion, epoch: Epoch, hospital: Organisation) -> None:
    """For small records, where the hospital chose it: the anchor envelope, not the content, in RecordStore on MEDchain.

    The identifier follows from the leaf's salt, so it is random to all but the holders of the receipt.
    """
    if not conf().is_record_store_enabled or version.size > conf().record_store_max_bytes:
        return
    if "MED" not in Chains.of(version.chains):
        return
    identifier = crypto.store_identifier(bytes(epoch.leaf_salt))
    # The leaf commits to the manifest under its salt. A plain hash of the manifest would tie the entry to the record
    # for ever, also after an erasure destroyed the salt.
    envelope = crypto.canonical({"v": 1, "suite": epoch.suite, "leaf": bytes(epoch.leaf).hex()})
    ref = f"store:{epoch.pk.hex}"
    RecordVersion.objects.filter(pk=version.pk).update(store_ref=ref)
    chain_services.call_enqueue(
        chain="MED",
        sender=bytes(hospital.account_address),
        contract="RecordStore",
        function="storeData",
        args=[identifier, envelope.decode()],
        ref=ref,
    )


def _previous_superseded(record: Record, base_version: int, now) -> RecordVersion:
    moved = Record.objects.filter(pk=record.pk, current_version=base_version, status=RecordStatus.ACTIVE).update(
        current_version=base_version + 1
    )
    if moved != 1:
        raise Conflict(
            "Somebody else saved a newer version first. Open the record, compare, and upload your change again."
        )
    previous = RecordVersion.objects.get(record=record, number=base_version)
    RecordVersion.objects.filter(pk=previous.pk).update(state=VersionState.SUPERSEDED, superseded_at=now)
    return previous


def _heartbeat(upload: Upload, token: uuid.UUID) -> None:
    until = timezone.now() + timedelta(seconds=conf().claim_seconds)
    if Upload.objects.filter(pk=upload.pk, claimed_by=token).update(claimed_until=until) != 1:
        raise Lost


def _upload_close(upload: Upload, token: uuid.UUID, state: str, code: str, text: str) -> str:
    """Held back or failed: the reason stands on the page, the sealed bytes stay for a retry or a review."""
    with transaction.atomic():
        done = Upload.objects.filter(pk=upload.pk, claimed_by=token, state=UploadState.SEALING).update(
            state=state, reason_code=code[:40], reason_text=text[:400], finished_at=timezone.now(), claimed_until=None
        )
        if done == 1:
            audit.append(
                hospital=upload.hospital,
                actor=member_actor(upload.uploader, Channel.TASK),
                action=f"records.upload.{state}",
                patient=upload.patient,
                target=upload,
                detail={"reason": code[:40]},
            )
    return state


def _upload_release(upload: Upload, token: uuid.UUID, *, counts: bool) -> None:
    # An error may also come after the commit; then the upload is sealed and stays so.
    Upload.objects.filter(pk=upload.pk, claimed_by=token, state=UploadState.SEALING).update(
        state=UploadState.RECEIVED,
        claimed_by=None,
        claimed_until=timezone.now() + timedelta(seconds=_BACKOFF_SECONDS),
        attempts=F("attempts") - (0 if counts else 1),
    )
