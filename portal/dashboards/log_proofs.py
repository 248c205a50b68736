"""Whether a log is whole, in the words people read."""

from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hospitals.audit_check import WORDS, Completeness
from hospitals.conf import conf
from hospitals.models import AuditCheck, Patient


def of_patient(patient: Patient, found: Completeness) -> dict[str, Any]:
    """ "1 to n, none missing", or which one is wrong."""
    name = patient.hospital.name
    if not found.is_complete:
        minutes = conf().log_check_seconds // 60
        return {
            "patient": patient,
            "kind": "stop",
            "icon": "warn",
            "sentence": _("%(hospital)s: entry %(n)d is missing or was changed.")
            % {"hospital": name, "n": found.first_missing},
            "detail": _(
                "Every log is checked each %(minutes)d minutes, and the operator and the regulator are told. "
                "Keep a copy of the list with its proof."
            )
            % {"minutes": minutes},
        }
    return {
        "patient": patient,
        "kind": "ok",
        "icon": "shield",
        "sentence": _("%(hospital)s: entries 1 to %(n)d, none missing.") % {"hospital": name, "n": found.count},
        "detail": _counted(found) if found.sealed and found.sealed.count else _compared(found),
    }


def _counted(found: Completeness) -> str:
    """The ledger itself says how many there are."""
    at = timezone.localtime(found.sealed.block_time)
    said = _(
        "The shared ledger counts entries 1 to %(n)d in block %(block)d of %(time)s, so nobody can be shown a "
        "shorter list."
    ) % {"n": found.sealed.count, "block": found.sealed.block_number, "time": date_format(at, "j F Y, H:i")}
    later = found.count - found.sealed.count
    if not later:
        return said
    more = ngettext(
        "%(m)d newer entry will be in its next count.", "%(m)d newer entries will be in its next count.", later
    )
    return f"{said} {more % {'m': later}}"


def _compared(found: Completeness) -> str:
    if found.anchored_to_block is None:
        return _("The newest entries are on their way to the shared ledger.")
    if found.anchored_count == found.count:
        return _("Checked just now against block %(n)d.") % {"n": found.anchored_to_block}
    waiting = found.count - found.anchored_count
    return ngettext(
        "Checked just now against block %(n)d; the newest entry is on its way.",
        "Checked just now against block %(n)d; the %(m)d newest entries are on their way.",
        waiting,
    ) % {"n": found.anchored_to_block, "m": waiting}


def of_hospital(check: AuditCheck | None) -> dict[str, Any]:
    """What the last regular check of a whole log found."""
    if check is None:
        return {"kind": "info", "icon": "clock", "sentence": _("This log has not been checked yet."), "detail": ""}
    at = date_format(timezone.localtime(check.checked_at), "j F Y, H:i")
    if check.is_complete:
        detail = _("Compared with every entry on the shared ledger on %(time)s.") % {"time": at}
        if check.anchored_to_block is not None:
            detail = _("Compared with every entry on the shared ledger, up to block %(n)d, on %(time)s.") % {
                "n": check.anchored_to_block,
                "time": at,
            }
        return {
            "kind": "ok",
            "icon": "shield",
            "sentence": _("Entries 1 to %(n)d, none missing.") % {"n": check.count},
            "detail": detail,
        }
    words = " ".join(WORDS[fault["kind"]].format(n=fault["number"]) for fault in check.faults[:3])
    return {
        "kind": "stop",
        "icon": "warn",
        "sentence": _("The log is not as it was written: %(words)s") % {"words": words},
        "detail": _("Found on %(time)s. The operator and the regulator were told.") % {"time": at},
    }
