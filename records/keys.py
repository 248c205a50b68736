"""Data keys and who holds a wrap of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils import timezone

from hospitals import keyring
from hospitals.errors import KeyUnavailable, RootKeyError
from hospitals.models import KeyRecord, Membership, Organisation, Patient
from hospitals.types import KeyPurpose
from records import crypto
from records.errors import RecordAltered, WrapMissing
from records.manifests import Place
from records.models import AccessGrant, Epoch, GrantState, Record, Wrap


@dataclass(frozen=True)
class Recipient:
    """A reader of a data key; `grant` is None for the hospital itself and for the patient."""

    owner: object
    grant: AccessGrant | None = None

    @property
    def grant_id(self) -> uuid.UUID | None:
        return self.grant.pk if self.grant else None


@dataclass(frozen=True)
class KeyWrap:
    kid: bytes
    grant: AccessGrant | None
    blob: bytes


def scope_filter(record: Record) -> Q:
    """The grants and restrictions that speak about this record."""
    return (
        Q(scope_type="all")
        | Q(scope_type="category", scope_value=record.category)
        | Q(scope_type="record", scope_value=str(record.pk))
    )


def live_grants(record: Record) -> QuerySet[AccessGrant]:
    return AccessGrant.objects.filter(
        scope_filter(record), patient_id=record.patient_id, state=GrantState.ACTIVE, expires_at__gt=timezone.now()
    )


def grantee_of(grant: AccessGrant) -> object:
    return grant.grantee_membership or grant.grantee_organisation


def recipients(record: Record, patient: Patient, hospital: Organisation) -> list[Recipient]:
    """The hospital (so that the server can re-key), the patient, and whoever holds a live grant.

    The grants stay locked until the commit: a revoke waits, and then finds the wraps made here.
    """
    grants = live_grants(record).select_for_update(of=("self",)).order_by("pk")
    grants = grants.select_related("grantee_membership", "grantee_organisation")
    return [Recipient(hospital), Recipient(patient)] + [Recipient(grantee_of(grant), grant) for grant in grants]


def wraps_make(dek: bytes, place: Place, readers: Sequence[Recipient]) -> list[KeyWrap]:
    """One wrap for each reader, with one look at the key store for all of them."""
    current = {
        row.owner_id: row
        for row in KeyRecord.objects.filter(
            owner_id__in=[_owner_id(reader.owner) for reader in readers],
            purpose=KeyPurpose.WRAP,
            retired_at__isnull=True,
        )
    }
    wraps = []
    for reader in readers:
        row = current.get(_owner_id(reader.owner))
        if row is None:
            raise KeyUnavailable("A reader has no key to wrap to.")
        kid = bytes(row.kid)
        public_key = crypto.public_key_of(bytes(row.public_key))
        wraps.append(KeyWrap(kid, reader.grant, crypto.wrap(public_key, dek, place.wrap_info(kid, reader.grant_id))))
    return wraps


def _owner_id(owner: object) -> uuid.UUID:
    """Members share the keys of their person."""
    return owner.user_id if isinstance(owner, Membership) else owner.pk


def wraps_digest(wraps: Iterable[KeyWrap]) -> bytes:
    return crypto.wraps_digest(
        (wrap.kid, wrap.grant.pk.bytes if wrap.grant else crypto.NO_GRANT, wrap.blob) for wrap in wraps
    )


def wraps_save(epoch: Epoch, wraps: Iterable[KeyWrap]) -> None:
    Wrap.objects.bulk_create(
        [
            Wrap(hospital_id=epoch.hospital_id, epoch=epoch, recipient_kid=wrap.kid, grant=wrap.grant, blob=wrap.blob)
            for wrap in wraps
        ],
        ignore_conflicts=True,
    )


def place_of(record: Record, version: int, epoch: int) -> Place:
    return Place(tenant=record.hospital_id, record=record.pk, version=version, epoch=epoch)


def dek_open(epoch: Epoch, place: Place, owner: object, grant: AccessGrant | None = None) -> bytes:
    """The data key through a reader's own wrap, made to the reader's current key or to a retired one."""
    kids = KeyRecord.objects.filter(owner_id=_owner_id(owner), purpose=KeyPurpose.WRAP).values("kid")
    wrap = Wrap.objects.filter(epoch=epoch, grant=grant, recipient_kid__in=kids).first()
    if wrap is None:
        raise WrapMissing()
    try:
        return keyring.unwrap(
            wrap.recipient_kid, bytes(wrap.blob), place.wrap_info(wrap.recipient_kid, grant.pk if grant else None)
        )
    except RootKeyError:
        raise
    except KeyUnavailable as error:
        raise RecordAltered() from error
