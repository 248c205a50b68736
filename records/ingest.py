"""The only upload handler: a file is sealed 64 KiB at a time, and its plaintext touches no disk.

The staging key lives in this process until `upload_receive` wraps it to the worker; after that the web
tier cannot read the bytes back.
"""

from __future__ import annotations

import html
import os
import uuid
from datetime import date
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.db import transaction
from django.db.models import F
from django.http import multipartparser
from django.http.multipartparser import MultiPartParser
from django.utils import timezone

from chain.failpoints import fp
from hospitals import audit, keyring, roles
from hospitals.actors import Actor
from hospitals.models import Organisation, Patient
from hospitals.roles import Permission
from records import crypto
from records.conf import conf
from records.decisions import is_restricted
from records.errors import Conflict, NotFound, QuotaExceeded, RecordsError, StorageFull, UploadRefused
from records.inspection import HEAD_BYTES, Refusal, head_check, name_check
from records.models import Category, Chains, Purpose, Record, RecordStatus, StorageUsage, Upload
from records.storage import StagingFile, blob_store
from records.wakeups import wake

TITLE_MAX = 120
# Django gives up on a whole request when one file name is over 1 KiB; here such a file gets its own answer.
multipartparser.MAX_TOTAL_HEADER_SIZE = 16 << 10
SECOND_SAVE = "Somebody else saved a newer version first. Open the record, compare, and upload your change again."


class SealedUpload(UploadedFile):
    """A received file: ciphertext in staging and the key to it, or the reason why it was turned away."""

    def __init__(self, *, name: str, content_type: str, field_name: str) -> None:
        self.raw_name = name
        super().__init__(file=None, name="upload", content_type=content_type, size=0)
        self._name = name.replace("\\", "/").rpartition("/")[2] or "file"
        self.field_name = field_name
        self.error: RecordsError | None = None
        self.staging: StagingFile | None = None
        self.staging_key = b""
        self.is_kept = False

    def keep(self) -> None:
        """A row names the staged bytes now, so the end of the request leaves them."""
        self.is_kept = True
        self.staging_key = b""
        self.staging = None

    def refuse(self, error: RecordsError) -> None:
        self.error = error
        self.discard()

    def discard(self) -> None:
        self.staging_key = b""
        if self.staging is not None:
            self.staging.abort()
            self.staging = None

    def close(self) -> None:
        if not self.is_kept:
            self.discard()

    def read(self, *_: Any) -> bytes:
        raise TypeError("an upload is sealed as it arrives; only a worker opens it")

    def chunks(self, chunk_size: int | None = None) -> Any:
        return self.read()

    def __iter__(self) -> Any:
        return self.read()

    def __bool__(self) -> bool:
        return True


class _RawNames(MultiPartParser):
    """Django repairs odd names silently; here they are refused with a reason, so they must arrive."""

    def sanitize_file_name(self, file_name: str) -> str | None:
        return html.unescape(file_name) or None


class SealingUploadHandler(FileUploadHandler):
    """Takes every file of a request; a bad one is drained and marked, the others go on."""

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self._is_nested = False
        self._upload: SealedUpload | None = None
        self._done: list[SealedUpload] = []

    def handle_raw_input(
        self, input_data: Any, meta: dict, content_length: int, boundary: bytes, encoding: str | None = None
    ) -> Any:
        if self._is_nested:
            return None
        self._is_nested = True
        try:
            return _RawNames(meta, input_data, [self], encoding).parse()
        except BaseException:
            # The connection was cut, or the body is no multipart: nothing of it stays.
            self.upload_interrupted()
            for upload in self._done:
                upload.close()
            raise

    def new_file(self, field_name: str, file_name: str, content_type: str, *args: Any, **kwargs: Any) -> None:
        super().new_file(field_name, file_name, content_type, *args, **kwargs)
        self._upload = upload = SealedUpload(name=file_name, content_type=content_type, field_name=field_name)
        self._head = b""
        self._is_checked = False
        self._size = 0
        try:
            upload._name = name_check(file_name, max_bytes=conf().name_max_bytes)
            upload.staging = blob_store().stage()
            fp("ingest.staging_made")
        except Refusal as refusal:
            upload.refuse(UploadRefused(refusal.text, code=refusal.code))
            return
        except StorageFull as full:
            upload.refuse(full)
            return
        upload.staging_key = os.urandom(crypto.DEK_BYTES)
        context = crypto.staging_context(bytes.fromhex(upload.staging.name))
        self._seal = crypto.SealStream(upload.staging_key, context, upload.staging.write, is_hashed=False)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        upload = self._upload
        self._size += len(raw_data)
        if upload is None or upload.error is not None:
            return
        if self._size > conf().upload_max_bytes:
            upload.refuse(_too_large())
            return
        if not self._is_checked:
            self._head += raw_data[: HEAD_BYTES - len(self._head)]
            if len(self._head) >= HEAD_BYTES:
                self._check_head()
        if upload.error is None:
            try:
                self._seal.update(raw_data)
                fp("ingest.chunk_sealed")
            except StorageFull as full:
                upload.refuse(full)

    def file_complete(self, file_size: int) -> SealedUpload | None:
        upload, self._upload = self._upload, None
        if upload is None:
            return None
        upload.size = self._size
        self._done.append(upload)
        if upload.error is None and self._size == 0:
            upload.refuse(
                UploadRefused(
                    "The file is empty (0 bytes). Check it on your computer and upload it again.", code="empty"
                )
            )
        if upload.error is None and not self._is_checked:
            self._upload = upload
            self._check_head()
            self._upload = None
        if upload.error is None:
            try:
                self._seal.finalize()
                upload.staging.sync()
                fp("ingest.staging_synced")
            except StorageFull as full:
                upload.refuse(full)
        self._head = b""
        return upload

    def upload_interrupted(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.discard()

    def _check_head(self) -> None:
        self._is_checked = True
        try:
            head_check(self._upload.name, self._head)
        except Refusal as refusal:
            self._upload.refuse(UploadRefused(refusal.text, code=refusal.code))
        self._head = b""


def _too_large() -> UploadRefused:
    limit = conf().upload_max_bytes
    shown = f"{limit / 10**9:.1f} GB" if limit >= 10**9 else f"{limit / 10**6:.0f} MB"
    error = UploadRefused(
        f"The file is larger than {shown}. Split it, or ask your administrator for a larger limit.", code="too_large"
    )
    error.http_status = 413
    return error


# From a request to a row


def upload_bytes(upload: SealedUpload) -> bytes:
    """A small attachment of a form, opened while its key is still in this process, e.g. evidence of an application."""
    name = upload.staging.name
    context = crypto.staging_context(bytes.fromhex(name))
    with blob_store().open_staging(name) as blob:
        return crypto.open_bytes(upload.staging_key, context, blob.read_at(0, blob.size))


def upload_receive(
    *,
    actor: Actor,
    patient: Patient,
    file: SealedUpload,
    chains: str,
    category: str,
    title: str,
    care_on: date | None = None,
) -> Upload:
    """Accepts a sealed file for a patient: after this returns, the record cannot be lost."""
    return _receive(
        actor=actor, patient=patient, file=file, chains=chains, category=category, title=title, care_on=care_on
    )


def version_add(
    *, actor: Actor, record: Record, file: SealedUpload, base_version: int | None = None, chains: str = ""
) -> Upload:
    """A new version of a record. `base_version` is what the author saw: whoever comes second is told."""
    base_version = base_version or record.current_version
    roles.require(actor, Permission.RECORD_AUTHOR, hospital=record.hospital_id)
    if record.status != RecordStatus.ACTIVE or is_restricted(record):
        raise NotFound()
    if record.current_version != base_version:
        raise Conflict(
            "Somebody else saved a newer version first. Open the record, compare, and upload your change again."
        )
    title = keyring.open_text(
        hospital_id=record.hospital_id, purpose="record.title", row_id=record.pk, blob=bytes(record.title_sealed)
    )
    current = record.versions.get(number=base_version)
    return _receive(
        actor=actor,
        patient=record.patient,
        file=file,
        chains=chains or current.chains,
        category=record.category,
        title=title,
        care_on=record.care_on,
        target=record,
    )


def _receive(
    *,
    actor: Actor,
    patient: Patient,
    file: SealedUpload,
    chains: str,
    category: str,
    title: str,
    care_on: date | None,
    target: Record | None = None,
) -> Upload:
    if not isinstance(file, SealedUpload):
        raise UploadRefused("No file arrived. Choose a file and send the form again.", code="file_missing")
    if file.error is not None:
        raise file.error
    roles.require(actor, Permission.RECORD_UPLOAD, hospital=patient.hospital_id)
    title = _details_check(chains, category, title, care_on)
    if file.staging is None:
        raise UploadRefused("This file was used already. Choose it again.", code="file_missing")
    upload_id, hospital = uuid.uuid4(), patient.hospital
    worker = keyring.worker_kid()
    info = crypto.staging_info(tenant=hospital.pk.bytes, upload=upload_id.bytes, kid=worker)
    wrapped = crypto.wrap(keyring.public_key(worker), file.staging_key, info)
    with transaction.atomic():
        quota_take(hospital, file.size)
        upload = Upload(
            id=upload_id,
            hospital=hospital,
            patient=patient,
            uploader=actor.membership,
            chains=chains,
            category=category,
            care_on=care_on,
            name_sealed=keyring.seal_text(
                hospital_id=hospital.pk, purpose="upload.name", row_id=upload_id, text=file.name
            ),
            title_sealed=keyring.seal_text(
                hospital_id=hospital.pk, purpose="upload.title", row_id=upload_id, text=title
            ),
            size=file.size,
            staging_blob=file.staging.name,
            staging_key_wrapped=wrapped,
            target=target,
            base_version=target.current_version if target else None,
        )
        upload.save(force_insert=True)
        fp("ingest.row_saved")
        audit.append(
            hospital=hospital,
            actor=actor,
            action="records.version.uploaded",
            patient=patient,
            target=("record", target.pk if target else upload.record_ref),
            basis="treatment",
            purpose=Purpose.TREATMENT,
            detail={"upload": str(upload.pk), "chains": chains},
        )
        wake("seal", hospital.pk, upload.pk)
        # Before the commit: an error just after it must not let the request's clean-up take what a row names. If the
        # commit itself fails, the file is an orphan, and the scrub removes it.
        file.keep()
    fp("ingest.committed")
    return upload


def _details_check(chains: str, category: str, title: str, care_on: date | None) -> str:
    title = " ".join(title.split())
    if not title or len(title) > TITLE_MAX:
        raise UploadRefused(f"Give the record a title of up to {TITLE_MAX} letters.", code="title")
    if chains not in Chains.values:
        raise UploadRefused("Choose SUPchain, MEDchain or both.", code="chains")
    if category not in Category.values:
        raise UploadRefused("Choose a kind of record from the list.", code="category")
    if care_on is not None and care_on > timezone.localdate():
        raise UploadRefused("The date of care cannot be in the future.", code="care_on")
    return title


def quota_take(hospital: Organisation, size: int) -> None:
    """Takes room in one statement, so that parallel uploads cannot pass the limit together."""
    StorageUsage.objects.bulk_create([StorageUsage(hospital=hospital)], ignore_conflicts=True)
    room = conf().hospital_quota_bytes - size
    taken = StorageUsage.objects.filter(hospital=hospital, used_bytes__lte=room).update(
        used_bytes=F("used_bytes") + size
    )
    if taken != 1:
        raise QuotaExceeded("Nothing of the file was kept. Ask your administrator for more room, then upload it again.")


def quota_give_back(hospital_id: uuid.UUID, size: int) -> None:
    StorageUsage.objects.filter(hospital_id=hospital_id).update(used_bytes=F("used_bytes") - size)
