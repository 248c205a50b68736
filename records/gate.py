"""The Control Module: the only way to plaintext, for pages, API, exports and tasks.

Access = a basis, and the contract says yes, and nothing local denies, and person, hospital and purpose fit, and
the log entry is committed. The server may narrow what the contract allows, never widen it.
"""

from __future__ import annotations

import logging
import time
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
        decision = _decide_and_log(actor, version, purpose, action)
        watch = _Watch(actor, version, purpose, action, decision)
        document, blob, reader, epoch = _at_current_epoch(watch, _payload_open)
    whole = Release(
        media_type=document["media_type"],
        filename=document["filename"],
        size=reader.size,
        start=0,
        end=reader.size,
        etag=bytes(epoch.ciphertext_digest).hex(),
        basis=decision.basis,
        _open=partial(_stream, watch, reader, blob),
        close=blob.close,
    )
    return whole if start is None and end is None else whole.narrow(start, end)


def read_meta(*, actor: Actor, version: RecordVersion, purpose: str = Purpose.TREATMENT, action: str = "read") -> Meta:
    """The description of a version; one entry in the log, like opening the record."""
    with tenant(version.hospital_id):
        decision = _decide_and_log(actor, version, purpose, action)
        document = _at_current_epoch(_Watch(actor, version, purpose, action, decision), _meta_open)
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


@dataclass
class _Watch:
    """One release from its log entry to its last byte. A revoke that comes meanwhile ends it at the next look."""

    actor: Actor
    version: RecordVersion
    purpose: str
    action: str
    decision: Decision
    sent: int = 0
    unlooked: int = 0
    looked_at: float | None = None
    agreed_at: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """Raises unless the release still stands: before its first byte, then every few megabytes and every second.

        The grant's row answers that. What only the whole question knows (the chain's clock, a hospital suspended, a
        person who left) is asked again more rarely; a silent chain is borne for a short while.
        """
        limits, now = conf(), time.monotonic()
        is_due = (
            self.looked_at is None
            or self.unlooked >= limits.recheck_bytes
            or now - self.looked_at >= limits.recheck_seconds
        )
        if not is_due:
            return
        self.looked_at, self.unlooked = now, 0
        with tenant(self.version.hospital_id):
            if self.decision.grant is not None and not _grant_is_live(self.decision.grant):
                raise self.stopped("no_grant")
            if now - self.agreed_at >= limits.reask_seconds:
                self._ask_again(now, limits.reask_seconds_max)

    def _ask_again(self, now: float, most: float) -> None:
        answer = decide(actor=self.actor, action=self.action, record=self.version.record, purpose=self.purpose)
        if answer.allowed:
            self.agreed_at = now
        elif answer.reason_code != "chain_unavailable" or now - self.agreed_at >= most:
            raise self.stopped(answer.reason_code)

    def count(self, size: int) -> None:
        self.sent += size
        self.unlooked += size

    def stopped(self, reason: str) -> NotFound:
        """For the log: what was let in a moment ago got this much and no more."""
        detail = {"version": self.version.number, "reason": reason, "bytes": self.sent}
        with tenant(self.version.hospital_id), transaction.atomic(savepoint=False):
            audit.append(
                hospital=self.version.record.hospital,
                actor=self.actor,
                action=ACTIONS.get(self.action, "records.version.read"),
                patient=self.version.record.patient,
                target=("record", self.version.record_id),
                basis=self.decision.basis,
                purpose=self.purpose,
                is_refused=True,
                detail=detail,
            )
        return NotFound()


def _grant_is_live(grant: AccessGrant) -> bool:
    return AccessGrant.objects.filter(pk=grant.pk, state=GrantState.ACTIVE, expires_at__gt=timezone.now()).exists()


def _at_current_epoch(watch: _Watch, opened: Callable[[Epoch, bytes, RecordVersion], Any]) -> Any:
    """Opens the data key, only now that the log has its entry, and with it what `opened` wants.

    A re-key may take wraps and bytes away between two looks; then the newer epoch is the one to read.
    """
    version, decision = watch.version, watch.decision
    while True:
        fp("gate.logged")
        epoch = Epoch.objects.get(version=version, number=F("version__epoch"))
        try:
            return opened(epoch, _dek(decision, epoch, version), version)
        except (WrapMissing, BlobMissing, crypto.Unauthentic) as error:
            if decision.grant is not None and not _grant_is_live(decision.grant):
                raise watch.stopped("no_grant") from error
            if RecordVersion.objects.filter(pk=version.pk, epoch__gt=epoch.number).exists():
                continue
            if isinstance(error, WrapMissing):
                raise
            raise _unreadable(watch.actor, version, decision, error) from error


def _payload_open(
    epoch: Epoch, dek: bytes, version: RecordVersion
) -> tuple[dict[str, Any], Any, crypto.RangeReader, Epoch]:
    place = keys.place_of(version.record, version.number, epoch.number)
    document = _meta_open(epoch, dek, version)
    blob = blob_store().open(epoch.payload_blob)
    try:
        reader = crypto.RangeReader(
            blob.read_at, blob.size, crypto.subkey(dek, crypto.PAYLOAD), place.context(crypto.PAYLOAD)
        )
        if reader.size != version.size:
            raise crypto.Unauthentic("the size is not the signed one")
    except BaseException:
        blob.close()
        raise
    return document, blob, reader, epoch


def _meta_open(epoch: Epoch, dek: bytes, version: RecordVersion) -> dict[str, Any]:
    place = keys.place_of(version.record, version.number, epoch.number)
    return crypto.meta_open(dek, place.context(crypto.META), bytes(epoch.meta_sealed or b""))


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


def _stream(watch: _Watch, reader: crypto.RangeReader, blob: Any, first: int, last: int) -> Iterator[bytes]:
    """Authenticated pieces. Stops by raising, so that the connection breaks and nobody takes a part for the whole."""
    try:
        for piece in reader.chunks(first, last):
            watch.look()
            yield piece
            fp("gate.piece_sent")
            watch.count(len(piece))
    except crypto.Unauthentic as error:
        raise _unreadable(watch.actor, watch.version, watch.decision, error) from error
    finally:
        blob.close()
