"""The Control Module: the only way to plaintext, for pages, API, exports and tasks.

Access = a basis, and the contract says yes, and nothing local denies, and person, hospital and purpose fit, and
the log entry is committed. The server may narrow what the contract allows, never widen it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils import timezone

from chain.failpoints import fp
from hospitals import audit
from hospitals.actors import Actor
from hospitals.errors import AuditUnavailable
from hospitals.tenancy import all_tenants, tenant
from records import crypto, grants, keys
from records.conf import conf
from records.decisions import ACTIONS, Decision, decide, grants_to, is_restricted
from records.errors import BlobMissing, ChainUnavailable, NotFound, RangeNotSatisfiable, RecordAltered, WrapMissing
from records.models import AccessGrant, Epoch, GrantState, Purpose, Record, RecordVersion
from records.storage import blob_store

__all__ = ["Decision", "Meta", "Release", "decide", "is_restricted", "locate", "locate_version", "read_meta", "release"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """What may leave: `chunks` yields authenticated plaintext of [start, end) and nothing else. Close it after use."""

    media_type: str
    filename: str
    size: int
    start: int
    end: int
    etag: str
    basis: str
    _open: Callable[[int, int], Iterator[bytes]] = field(repr=False)
    close: Callable[[], None] = field(repr=False)

    @property
    def chunks(self) -> Iterator[bytes]:
        return self._open(self.start, self.end)

    @property
    def is_partial(self) -> bool:
        return self.end - self.start < self.size

    @property
    def content_range(self) -> str:
        return f"bytes {self.start}-{self.end - 1}/{self.size}"

    def narrow(self, start: int | None, end: int | None) -> Release:
        """The same release, a part of its bytes; a negative start counts from the end."""
        if start is not None and start < 0:
            start, end = max(0, self.size + start), self.size
        first, last = start or 0, self.size if end is None else min(end, self.size)
        if not 0 <= first < last:
            self.close()
            raise RangeNotSatisfiable(self.size)
        return replace(self, start=first, end=last)


@dataclass(frozen=True)
class Meta:
    """The sealed description of a version. `salt32` leaves only inside a receipt."""

    filename: str
    media_type: str
    size: int
    tags: dict
    warnings: tuple[str, ...]
    basis: str
    salt32: bytes = field(repr=False)


# Finding


def locate(*, actor: Actor, record_id: uuid.UUID | str) -> Record:
    """The record, if there is any reason for this person to ask; else NotFound, in the same time and words."""
    try:
        key = record_id if isinstance(record_id, uuid.UUID) else uuid.UUID(record_id)
    except ValueError:
        key = uuid.UUID(int=0)
    with all_tenants("find a record by id"):
        record = Record.objects.select_related("patient", "hospital").filter(pk=key).first()
        if record is not None and _may_ask(actor, record):
            return record
    _log_unknown(actor)
    raise NotFound()


def locate_version(*, actor: Actor, record_id: uuid.UUID | str, number: int | None = None) -> RecordVersion:
    """A version of a record, the current one if none is named."""
    record = locate(actor=actor, record_id=record_id)
    with tenant(record.hospital_id):
        version = RecordVersion.objects.filter(record=record, number=number or record.current_version).first()
    if version is None:
        raise NotFound()
    version.record = record
    return version


def _may_ask(actor: Actor, record: Record) -> bool:
    if actor.membership is None:
        return actor.user is not None and record.patient.user_id == actor.user.pk
    if actor.membership.hospital_id == record.hospital_id:
        return True
    grants_ever = AccessGrant.objects.filter(keys.scope_filter(record), patient_id=record.patient_id)
    return grants_to(actor.membership, grants_ever).exists()


def _log_unknown(actor: Actor) -> None:
    """A look at an id that is not there is logged with the one who asked; it names nobody else."""
    if actor.membership is None:
        return
    hospital = actor.membership.hospital
    with transaction.atomic(savepoint=False):
        audit.append(hospital=hospital, actor=actor, action="records.record.not_found", is_refused=True)


# Releasing


def release(
    *,
    actor: Actor,
    version: RecordVersion,
    purpose: str = Purpose.TREATMENT,
    action: str = "download",
    start: int | None = None,
    end: int | None = None,
) -> Release:
    """Plaintext of a version, or of the bytes [start, end) of it; a negative start counts from the end.

    Raises NotFound, ChainUnavailable, AuditUnavailable, RecordAltered, BlobMissing or RangeNotSatisfiable.
    """
    with tenant(version.hospital_id):
        decision, epoch, dek = _enter(actor, version, purpose, action)
        place = keys.place_of(version.record, version.number, epoch.number)
        blob = None
        try:
            document = crypto.meta_open(dek, place.context(crypto.META), bytes(epoch.meta_sealed))
            blob = blob_store().open(epoch.payload_blob)
            reader = crypto.RangeReader(
                blob.read_at, blob.size, crypto.subkey(dek, crypto.PAYLOAD), place.context(crypto.PAYLOAD)
            )
            if reader.size != version.size:
                raise crypto.Unauthentic("the size is not the signed one")
        except (crypto.Unauthentic, BlobMissing) as error:
            if blob is not None:
                blob.close()
            raise _unreadable(actor, version, decision, error) from error
    whole = Release(
        media_type=document["media_type"],
        filename=document["filename"],
        size=reader.size,
        start=0,
        end=reader.size,
        etag=bytes(epoch.ciphertext_digest).hex(),
        basis=decision.basis,
        _open=partial(_stream, actor, version, decision, reader, blob),
        close=blob.close,
    )
    return whole if start is None and end is None else whole.narrow(start, end)


def read_meta(*, actor: Actor, version: RecordVersion, purpose: str = Purpose.TREATMENT, action: str = "read") -> Meta:
    """The description of a version; one entry in the log, like opening the record."""
    with tenant(version.hospital_id):
        decision, epoch, dek = _enter(actor, version, purpose, action)
        place = keys.place_of(version.record, version.number, epoch.number)
        try:
            document = crypto.meta_open(dek, place.context(crypto.META), bytes(epoch.meta_sealed))
        except crypto.Unauthentic as error:
            raise _unreadable(actor, version, decision, error) from error
    return Meta(
        filename=document["filename"],
        media_type=document["media_type"],
        size=version.size,
        tags=document["tags"],
        warnings=tuple(document["warnings"]),
        basis=decision.basis,
        salt32=bytes.fromhex(document["salt32"]),
    )


def look_at_erased(*, actor: Actor, version: RecordVersion) -> Decision:
    """The patient asks for the proof of an erased record: logged like any look, and no key is there to open."""
    with tenant(version.hospital_id):
        return _decide_and_log(actor, version, Purpose.PATIENT_REQUEST, "receipt")


def _enter(actor: Actor, version: RecordVersion, purpose: str, action: str) -> tuple[Decision, Epoch, bytes]:
    """Decide, log, and only then open the data key. In that order, whatever fails."""
    decision = _decide_and_log(actor, version, purpose, action)
    fp("gate.logged")
    epoch = Epoch.objects.get(version=version, number=F("version__epoch"))
    return decision, epoch, _dek(decision, epoch, version)


def _decide_and_log(actor: Actor, version: RecordVersion, purpose: str, action: str) -> Decision:
    record = Record.objects.select_related("patient", "hospital").get(pk=version.record_id)
    version.record = record
    decision = decide(actor=actor, action=action, record=record, purpose=purpose)
    fp("gate.decided")
    try:
        with transaction.atomic(durable=True):
            if decision.grant is not None and not _grant_stands(decision.grant):
                decision = Decision(False, reason_code="no_grant")
            audit.append(
                hospital=record.hospital,
                actor=actor,
                action=ACTIONS.get(action, "records.version.read"),
                patient=record.patient,
                target=("record", record.pk),
                basis=decision.basis,
                purpose=purpose,
                is_refused=not decision.allowed,
                detail=_audit_detail(version, decision),
            )
    except DatabaseError as error:
        raise AuditUnavailable() from error
    if not decision.allowed:
        if decision.reason_code == "chain_unavailable":
            raise ChainUnavailable()
        raise NotFound()
    return decision


def _grant_stands(grant: AccessGrant) -> bool:
    """Takes the row for this transaction: a revoke is before this release or after it, never half-way."""
    now = timezone.now()
    rows = AccessGrant.objects.filter(pk=grant.pk, state=GrantState.ACTIVE, expires_at__gt=now)
    return rows.update(used_at=now) == 1


def _dek(decision: Decision, epoch: Epoch, version: RecordVersion) -> bytes:
    place = keys.place_of(version.record, version.number, epoch.number)
    try:
        return keys.dek_open(epoch, place, decision.reader, decision.grant)
    except WrapMissing:
        # A fresh grant whose keys are still being wrapped: this one is made now, under the same rules.
        if decision.grant is None or not grants.epoch_wrap(epoch, decision.grant):
            raise
        return keys.dek_open(epoch, place, decision.reader, decision.grant)


def _audit_detail(version: RecordVersion, decision: Decision) -> dict[str, Any]:
    detail: dict[str, Any] = {"version": version.number}
    if decision.as_of_block is not None:
        detail["as_of_block"] = decision.as_of_block
    if decision.reason_code:
        detail["reason"] = decision.reason_code
    return detail


def _unreadable(actor: Actor, version: RecordVersion, decision: Decision, error: Exception) -> Exception:
    """Bytes that do not fit their proof: nothing goes out, the log and the operators hear of it."""
    log.error("record %s version %d cannot be read: %s", version.record_id, version.number, type(error).__name__)
    with tenant(version.hospital_id), transaction.atomic(savepoint=False):
        audit.append(
            hospital=version.record.hospital,
            actor=actor,
            action="records.version.unreadable",
            patient=version.record.patient,
            target=("record", version.record_id),
            basis=decision.basis,
            is_refused=True,
            detail={"version": version.number},
        )
    return error if isinstance(error, BlobMissing) else RecordAltered()


def _stream(
    actor: Actor,
    version: RecordVersion,
    decision: Decision,
    reader: crypto.RangeReader,
    blob: Any,
    first: int,
    last: int,
) -> Iterator[bytes]:
    """Authenticated pieces. Stops by raising, so that the connection breaks and nobody takes a part for the whole."""
    sent = 0
    try:
        for piece in reader.chunks(first, last):
            yield piece
            fp("gate.piece_sent")
            sent += len(piece)
            if decision.grant is not None and sent >= conf().recheck_bytes:
                sent = 0
                with tenant(version.hospital_id):
                    if not _grant_stands(decision.grant):
                        raise NotFound()
    except crypto.Unauthentic as error:
        raise _unreadable(actor, version, decision, error) from error
    finally:
        blob.close()
