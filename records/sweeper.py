"""Finishes from the database what messages lost: the queue only makes things faster, never possible."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone

from chain import selectors as chain_selectors
from chain.failpoints import fp
from chain.models import ItemState
from hospitals.tenancy import all_tenants, tenant
from records.conf import conf
from records.epochs import epoch_retire
from records.grants import grant_expire
from records.ingest import quota_give_back
from records.models import AccessGrant, Epoch, GrantState, RecordVersion, Upload, UploadState, Wrap
from records.storage import blob_store
from records.wakeups import Runner

log = logging.getLogger(__name__)
_BATCH = 100
# A message on its way needs a moment; only what is older counts as lost.
_GRACE_SECONDS = 15


def sweep_once(run: Runner, *, grace_seconds: int = _GRACE_SECONDS) -> int:
    """One round over every hospital; returns how many steps were started."""
    now = timezone.now()
    before = now - timedelta(seconds=grace_seconds)
    steps = []
    with all_tenants("find unfinished work"):
        uploads = Upload.objects.filter(
            state__in=[UploadState.RECEIVED, UploadState.SEALING], created_at__lte=before
        ).filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))
        steps += [("seal", *row) for row in uploads.order_by("created_at").values_list("hospital_id", "pk")[:_BATCH]]
        versions = RecordVersion.objects.filter(rekey_requested_at__lte=before).filter(
            Q(rekey_claimed_until__isnull=True) | Q(rekey_claimed_until__lt=now)
        )
        steps += [("rekey", *row) for row in versions.values_list("hospital_id", "pk")[:_BATCH]]
        grants = AccessGrant.objects.filter(state=GrantState.ACTIVE, wrapped_at__isnull=True, active_at__lte=before)
        steps += [("wrap", *row) for row in grants.values_list("hospital_id", "pk")[:_BATCH]]
    fp("sweep.found")
    for step in steps:
        run(*step)
        fp("sweep.stepped")
    grants_expire()
    grants_refused()
    epochs_retire()
    return len(steps)


def grants_expire() -> int:
    """Ended grants lose their wraps. The gate did not wait for this: it reads the clock itself."""
    with all_tenants("find ended grants"):
        rows = list(
            AccessGrant.objects.filter(
                state__in=[GrantState.ACTIVE, GrantState.PENDING], expires_at__lte=timezone.now()
            ).values_list("hospital_id", "pk")[:_BATCH]
        )
    for hospital_id, pk in rows:
        with tenant(hospital_id):
            grant_expire(grant_id=pk)
    return len(rows)


def grants_refused() -> int:
    """A consent that the chain refused for good will never open anything; the patient sees that it failed."""
    before = timezone.now() - timedelta(seconds=_GRACE_SECONDS)
    with all_tenants("find refused consents"):
        waiting = AccessGrant.objects.filter(state=GrantState.PENDING, created_at__lte=before)
        refs = list(waiting.values_list("record_ref", flat=True)[:_BATCH])
        failed = [ref for ref, item in chain_selectors.items(refs).items() if item.state == ItemState.FAILED]
        return AccessGrant.objects.filter(record_ref__in=failed, state=GrantState.PENDING).update(
            state=GrantState.FAILED
        )


def epochs_retire() -> int:
    """Old ciphertext after a re-key goes once the new one is final and opens."""
    with all_tenants("find older epochs"):
        rows = list(
            Epoch.objects.filter(number__lt=F("version__epoch"), retired_at__isnull=True).values_list(
                "hospital_id", "pk"
            )[:_BATCH]
        )
    done = 0
    for hospital_id, pk in rows:
        with tenant(hospital_id):
            epoch = Epoch.objects.select_related("version__record", "version__hospital").get(pk=pk)
            done += epoch_retire(epoch)
    return done


def stray_wraps_remove() -> int:
    """A wrap whose grant ended must not outlive it, however it came to be."""
    with all_tenants("remove wraps of ended grants"):
        stray = Wrap.objects.filter(grant__isnull=False).exclude(grant__state=GrantState.ACTIVE)
        versions = set(stray.values_list("epoch__version_id", flat=True))
        removed = stray.delete()[0]
        if removed:
            log.error("removed %d wraps of ended grants", removed)
            RecordVersion.objects.filter(pk__in=versions, rekey_requested_at__isnull=True).update(
                rekey_requested_at=timezone.now()
            )
    return removed


def quarantine_expire() -> int:
    """Bytes held back for review are destroyed after their time; the reason stays."""
    before = timezone.now() - timedelta(days=conf().quarantine_days)
    with all_tenants("end of quarantine"):
        rows = list(
            Upload.objects.filter(
                state__in=[UploadState.QUARANTINED, UploadState.FAILED], finished_at__lt=before
            ).exclude(staging_blob="")[:_BATCH]
        )
        for upload in rows:
            Upload.objects.filter(pk=upload.pk).update(
                state=UploadState.DISCARDED, staging_blob="", staging_key_wrapped=None
            )
            quota_give_back(upload.hospital_id, upload.size)
            blob_store().delete_staging(upload.staging_blob)
    return len(rows)


def scrub_orphans(*, older_than_seconds: float | None = None) -> list[str]:
    """Deletes files that no row names and that are too old to be in the middle of something."""
    age = conf().orphan_minutes * 60 if older_than_seconds is None else older_than_seconds
    quarantine_expire()
    stray_wraps_remove()
    with all_tenants("compare files with rows"):
        known = Epoch.objects.exclude(payload_blob="").values_list("payload_blob", flat=True)
        staging = Upload.objects.exclude(staging_blob="").values_list("staging_blob", flat=True)
        gone = blob_store().scrub(known=known.iterator(), known_staging=staging.iterator(), older_than_seconds=age)
    if gone:
        log.warning("removed %d files that no row names", len(gone))
    return gone
