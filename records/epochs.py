"""One encryption of a version: the payload in the store, and the row with its metadata, wraps and signature."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from chain import services as chain_services
from chain.failpoints import fp
from hospitals import keyring
from hospitals.models import Organisation
from records import crypto, keys, manifests
from records.errors import RecordAltered, RecordsError
from records.models import Anchor, AnchorState, Chains, Epoch, Record, RecordVersion
from records.storage import StagingFile, blob_store

log = logging.getLogger(__name__)
_HEARTBEAT_BYTES = 256 << 20


@dataclass
class SealedPayload:
    """A sealed object that is in the store but in no row yet."""

    digest: crypto.SealedDigest
    plaintext_digest: bytes
    size: int
    address: str


def payload_seal(
    reader: crypto.RangeReader, key: bytes, context: bytes, on_progress: Callable[[], None]
) -> SealedPayload:
    """Decrypt, encrypt, store, read back. Plaintext lives in one buffer of a mebibyte."""
    store = blob_store()
    staged: StagingFile = store.stage()
    try:
        seal = crypto.SealStream(key, context, staged.write)
        plaintext, size, beat = hashlib.sha256(), 0, _HEARTBEAT_BYTES
        for piece in reader.chunks():
            plaintext.update(piece)
            seal.update(piece)
            size += len(piece)
            if size >= beat:
                on_progress()
                beat += _HEARTBEAT_BYTES
        digest = seal.finalize()
        fp("epoch.payload_staged")
        address = digest.ciphertext_digest.hex()
        store.put(staged, address)
        fp("epoch.payload_put")
    except BaseException:
        staged.abort()
        raise
    try:
        with closing(store.open(address)) as blob:
            check = crypto.RangeReader(blob.read_at, blob.size, key, context)
            if check.size != size or sum(len(piece) for piece in check.chunks()) != size:
                raise RecordAltered()
    except BaseException:
        store.delete(address)
        raise
    return SealedPayload(digest, plaintext.digest(), size, address)


def epoch_save(
    version: RecordVersion,
    record: Record,
    hospital: Organisation,
    place: manifests.Place,
    dek: bytes,
    payload: SealedPayload,
    meta: dict,
    readers: list[keys.Recipient],
    previous: Epoch | None,
    reason: str,
) -> Epoch:
    """One epoch with its metadata, wraps, manifest, signature and outbox rows; in the caller's transaction."""
    wraps = keys.wraps_make(dek, place, readers)
    signer_kid = keyring.sign_kid(hospital)
    manifest = manifests.epoch_manifest(
        place=place,
        authored_digest=version.authored_digest,
        prev_epoch_digest=hashlib.sha256(previous.manifest.encode()).digest() if previous else None,
        sealed=payload.digest,
        wraps_digest=keys.wraps_digest(wraps),
        signer_kid=signer_kid,
        reason=reason,
    )
    leaf_salt = secrets.token_bytes(32)
    epoch = Epoch(
        hospital=hospital,
        version=version,
        number=place.epoch,
        suite=crypto.SUITE,
        payload_blob=payload.address,
        meta_sealed=crypto.meta_seal(dek, place.context(crypto.META), meta),
        header=payload.digest.header,
        ciphertext_digest=payload.digest.ciphertext_digest,
        ciphertext_size=payload.digest.size,
        manifest=manifest.decode(),
        signature=keyring.sign(signer_kid, crypto.signature_input(crypto.EPOCH, manifest)),
        signer_kid=signer_kid,
        leaf_salt=leaf_salt,
        leaf=crypto.leaf_of(leaf_salt, manifest),
        reason=reason,
    )
    epoch.save(force_insert=True)
    fp("epoch.row_saved")
    keys.wraps_save(epoch, wraps)
    fp("epoch.wraps_saved")
    anchors = [
        Anchor(hospital=hospital, epoch=epoch, chain=chain, ref=f"rec:{epoch.pk.hex}:{chain}")
        for chain in Chains.of(version.chains)
    ]
    Anchor.objects.bulk_create(anchors)
    for anchor in anchors:
        chain_services.anchor_enqueue(
            chain=anchor.chain,
            sender=bytes(hospital.account_address),
            leaf=epoch.leaf,
            ref=anchor.ref,
            kind="Records",
        )
        fp("epoch.anchor_enqueued")
    return epoch


def blob_drop(address: str) -> None:
    """Takes back a blob whose commit failed; a commit that only seemed to fail keeps it."""
    if not Epoch.objects.filter(payload_blob=address).exists():
        blob_store().delete(address)


def epoch_retire(epoch: Epoch) -> bool:
    """Destroys the bytes and keys of an older epoch once the current one is final and can be read."""
    version = epoch.version
    current = Epoch.objects.filter(version=version, number=version.epoch).first()
    if epoch.number >= version.epoch or current is None or not epoch.payload_blob:
        return False
    if current.anchors.exclude(state=AnchorState.FINAL).exists():
        return False
    place = keys.place_of(version.record, version.number, current.number)
    try:
        dek = keys.dek_open(current, place, version.hospital)
        with closing(blob_store().open(current.payload_blob)) as blob:
            crypto.RangeReader(
                blob.read_at, blob.size, crypto.subkey(dek, crypto.PAYLOAD), place.context(crypto.PAYLOAD)
            )
    except (RecordsError, crypto.Unauthentic) as error:
        log.error("an older epoch stays: the current one does not open (%s)", type(error).__name__)
        return False
    address = epoch.payload_blob
    with transaction.atomic():
        epoch.wraps.all().delete()
        fp("retire.wraps_deleted")
        Epoch.objects.filter(pk=epoch.pk).update(payload_blob="", meta_sealed=None, retired_at=timezone.now())
    fp("retire.committed")
    blob_store().delete(address)
    fp("retire.blob_deleted")
    return True
