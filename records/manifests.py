"""The two signed layers over a record version, and how times and digests are written in them.

*authored* is signed once by the author and never changes; *epoch* is signed by the hospital at every
re-encryption. So a new key needs no new signature of the clinician.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from records import crypto


def time_text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Place:
    """Where a sealed object belongs; part of every context and wrap."""

    tenant: uuid.UUID
    record: uuid.UUID
    version: int
    epoch: int

    def context(self, part: bytes) -> bytes:
        return crypto.blob_context(
            tenant=self.tenant.bytes, record=self.record.bytes, version=self.version, epoch=self.epoch, part=part
        )

    def wrap_info(self, kid: bytes, grant: uuid.UUID | None = None) -> bytes:
        return crypto.wrap_info(
            tenant=self.tenant.bytes,
            record=self.record.bytes,
            version=self.version,
            epoch=self.epoch,
            kid=kid,
            grant=grant.bytes if grant else crypto.NO_GRANT,
        )


def authored_manifest(
    *,
    place: Place,
    prev_authored_digest: bytes | None,
    author_kid: bytes,
    media_type: str,
    size: int,
    created_at: datetime,
    pt_commit: bytes,
) -> bytes:
    return crypto.canonical(
        {
            "v": 1,
            "suite": crypto.SUITE,
            "tenant": place.tenant.hex,
            "record": place.record.hex,
            "version": place.version,
            "prev_authored_digest": prev_authored_digest.hex() if prev_authored_digest else None,
            "author_kid": author_kid.hex(),
            "media_type": media_type,
            "size": size,
            "created_at": time_text(created_at),
            "pt_commit": pt_commit.hex(),
        }
    )


def epoch_manifest(
    *,
    place: Place,
    authored_digest: bytes,
    prev_epoch_digest: bytes | None,
    sealed: crypto.SealedDigest,
    wraps_digest: bytes,
    signer_kid: bytes,
    reason: str,
) -> bytes:
    return crypto.canonical(
        {
            "v": 1,
            "suite": crypto.SUITE,
            "authored_digest": authored_digest.hex(),
            "epoch": place.epoch,
            "prev_epoch_digest": prev_epoch_digest.hex() if prev_epoch_digest else None,
            "ct_sha256": sealed.ciphertext_digest.hex(),
            "ct_merkle_root": sealed.ciphertext_root.hex(),
            "size": sealed.size,
            "header": sealed.header.hex(),
            "wraps_digest": wraps_digest.hex(),
            "signer_kid": signer_kid.hex(),
            "reason": reason,
        }
    )
