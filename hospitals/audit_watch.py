"""Looks over every hospital's log at fixed intervals and keeps what it found, for the operator to see."""

import logging
import time
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from hospitals.audit_check import Completeness, verify_hospital
from hospitals.conf import conf
from hospitals.models import AuditCheck, Organisation
from hospitals.tenancy import all_tenants, tenant
from hospitals.types import OrganisationStatus

log = logging.getLogger(__name__)
FAULTS_KEPT = 20
CHECKED_STATES = (OrganisationStatus.ACTIVE, OrganisationStatus.SUSPENDED, OrganisationStatus.EXPELLED)


def logs_check() -> int:
    """Every log whose last check is old enough; returns how many are not whole. One that fails stops no other."""
    due, wrong = timezone.now() - timedelta(seconds=conf().log_check_seconds), 0
    with all_tenants("which logs were checked lately"):
        fresh = set(AuditCheck.objects.filter(checked_at__gt=due).values_list("hospital_id", flat=True))
    for hospital in Organisation.objects.filter(status__in=CHECKED_STATES).exclude(pk__in=fresh).order_by("pk"):
        try:
            wrong += not log_check(hospital).is_complete
        except Exception:
            # The last result stays with its time, and a result that is too old is an alarm of its own.
            log.exception("log not checked hospital=%s", hospital.pk)
    return wrong


def log_check(hospital: Organisation) -> Completeness:
    """One log; the result replaces the last one."""
    begun, at = time.monotonic(), timezone.now()
    found = verify_hospital(hospital)
    if not found.is_complete:
        log.error("log not whole hospital=%s number=%s faults=%s", hospital.pk, found.first_missing, len(found.faults))
    with tenant(hospital), transaction.atomic(durable=True):
        AuditCheck.objects.bulk_create([AuditCheck(hospital=hospital)], ignore_conflicts=True)
        row = AuditCheck.objects.select_for_update().get()
        row.checked_at, row.seconds = at, time.monotonic() - begun
        row.count, row.is_complete, row.first_missing = found.count, found.is_complete, found.first_missing
        row.faults = [{"number": fault.number, "kind": fault.kind} for fault in found.faults[:FAULTS_KEPT]]
        row.anchored_count, row.anchored_to_block = found.anchored_count, found.anchored_to_block
        row.failed_since = None if found.is_complete else row.failed_since or at
        row.save()
    return found
