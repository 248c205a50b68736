"""A new data key for a version that somebody may no longer read."""

from __future__ import annotations

import uuid
from contextlib import closing
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from chain.failpoints import fp
from hospitals import keyring
from records import crypto, keys
from records.conf import conf
from records.epochs import blob_drop, epoch_save, payload_seal
from records.errors import Lost, RecordAltered
from records.models import Epoch, RecordVersion
from records.storage import blob_store


def version_rekey(*, version_id: uuid.UUID) -> bool:
    """New data key, new epoch, same content and same authored signature. False when there is nothing to do."""
    now, token = timezone.now(), uuid.uuid4()
    claimed = (
        RecordVersion.objects.filter(pk=version_id, rekey_requested_at__isnull=False)
        .filter(Q(rekey_claimed_until__isnull=True) | Q(rekey_claimed_until__lt=now))
        .update(rekey_claimed_by=token, rekey_claimed_until=now + timedelta(seconds=conf().claim_seconds))
    )
    if claimed != 1:
        return False
    fp("rekey.claimed")
    version = RecordVersion.objects.select_related("record__patient", "hospital").get(pk=version_id)
    try:
        _version_rekey(version, token)
    except Lost:
        return False
    return True


def _version_rekey(version: RecordVersion, token: uuid.UUID) -> None:
    record, hospital = version.record, version.hospital
    old = Epoch.objects.get(version=version, number=version.epoch)
    old_place = keys.place_of(record, version.number, old.number)
    place = keys.place_of(record, version.number, old.number + 1)
    requested_at = version.rekey_requested_at
    old_dek = keys.dek_open(old, old_place, hospital)
    meta = crypto.meta_open(old_dek, old_place.context(crypto.META), bytes(old.meta_sealed))
    dek = crypto.dek_generate()

    def heartbeat() -> None:
        until = timezone.now() + timedelta(seconds=conf().claim_seconds)
        if RecordVersion.objects.filter(pk=version.pk, rekey_claimed_by=token).update(rekey_claimed_until=until) != 1:
            raise Lost

    with closing(blob_store().open(old.payload_blob)) as blob:
        reader = crypto.RangeReader(
            blob.read_at, blob.size, crypto.subkey(old_dek, crypto.PAYLOAD), old_place.context(crypto.PAYLOAD)
        )
        payload = payload_seal(reader, crypto.subkey(dek, crypto.PAYLOAD), place.context(crypto.PAYLOAD), heartbeat)
    fp("rekey.payload_stored")
    try:
        authored = crypto.manifest_load(version.authored_manifest.encode())
        commitment = crypto.plaintext_commitment(bytes.fromhex(meta["salt32"]), payload.plaintext_digest)
        if not crypto.digests_equal(commitment, bytes.fromhex(authored["pt_commit"])):
            raise RecordAltered()
        with transaction.atomic():
            # Grants before versions, as a revoke takes them: in the other order the two could wait for each other.
            readers = keys.recipients(record, record.patient, hospital)
            moved = RecordVersion.objects.filter(pk=version.pk, epoch=old.number, rekey_claimed_by=token).update(
                epoch=place.epoch, rekey_claimed_by=None, rekey_claimed_until=None
            )
            if moved != 1:
                raise Lost
            fp("rekey.epoch_moved")
            # A revoke that came meanwhile asks again: its wish is newer than the one done here.
            RecordVersion.objects.filter(pk=version.pk, rekey_requested_at=requested_at).update(rekey_requested_at=None)
            epoch_save(version, record, hospital, place, dek, payload, meta, readers, old, "rekey")
            # The old key opens nothing for readers any more; the hospital keeps its wrap until the old bytes go.
            old.wraps.exclude(recipient_kid=keyring.wrap_kid(hospital)).delete()
            fp("rekey.old_wraps_deleted")
    except BaseException:
        blob_drop(payload.address)
        raise
    fp("rekey.committed")
