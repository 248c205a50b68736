"""What an operator should look at in the access logs. Sentences carry numbers and slugs, never a person."""

from datetime import timedelta

from django.utils import timezone

from chain.types import Alarm
from hospitals.audit_check import CHAIN, WORDS
from hospitals.conf import conf
from hospitals.models import AuditCheck, AuditHead, AuditMap, Organisation
from hospitals.tenancy import all_tenants
from hospitals.types import OrganisationStatus

NAMED = 3  # faults that one sentence names; the others are counted


def alarms() -> list[Alarm]:
    """Logs with a gap, logs that nobody has checked lately, and maps that do not get onto the chain."""
    with all_tenants("alarms of every hospital's log"):
        checks = {row.hospital_id: row for row in AuditCheck.objects.all()}
        ends = dict(AuditHead.objects.filter(seq__gt=0).values_list("hospital_id", "seq"))
        maps = {row.hospital_id: row for row in AuditMap.objects.defer("leaves").order_by("number")}
    found = []
    # A check that found nothing left counts as well: a log that was emptied has no end any more.
    for hospital in Organisation.objects.filter(pk__in={*ends, *checks}).order_by("slug"):
        check = checks.get(hospital.pk)
        if check and not check.is_complete:
            found.append(Alarm("log_gap", CHAIN, f"Log of {hospital.slug}: {sentence(check)}", hospital.slug))
        found += _unchecked(hospital, check)
        if hospital.status == OrganisationStatus.ACTIVE:
            found += _map_late(hospital, maps.get(hospital.pk), ends.get(hospital.pk, 0))
    return found


def sentence(check: AuditCheck) -> str:
    """What a check found, the first rows by number."""
    words = [WORDS[fault["kind"]].format(n=fault["number"]) for fault in check.faults[:NAMED]]
    more = len(check.faults) - len(words)
    return " ".join([*words, f"And {more} more."] if more > 0 else words)


def _unchecked(hospital: Organisation, check: AuditCheck | None) -> list[Alarm]:
    since = check.checked_at if check else hospital.decided_at or hospital.applied_at
    if timezone.now() - since <= timedelta(seconds=2 * conf().log_check_seconds + 300):
        return []
    words = f"The log of {hospital.slug} was last checked at {since:%d.%m.%Y %H:%M} UTC."
    if check is None:
        words = f"The log of {hospital.slug} has never been checked."
    return [Alarm("log_unchecked", CHAIN, words, hospital.slug)]


def _map_late(hospital: Organisation, newest: AuditMap | None, seq: int) -> list[Alarm]:
    """Made but not followed by another although the log grew: the map before it does not get into a block."""
    patience = timedelta(seconds=3 * conf().log_map_seconds + 300)
    since = newest.made_at if newest else hospital.decided_at or hospital.applied_at
    if seq <= (newest.seq if newest else 0) or timezone.now() - since <= patience:
        return []
    words = f"The log of {hospital.slug} has grown to entry {seq}; its last map is of {since:%d.%m.%Y %H:%M} UTC."
    if newest is None:
        words = f"The log of {hospital.slug} has {seq} entries and no map of them yet."
    return [Alarm("log_map_late", CHAIN, words, hospital.slug)]
