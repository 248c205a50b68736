"""How stored states, roles and categories look and read: one table, used by every page."""

from typing import NamedTuple

from django.utils.translation import gettext_lazy as _


class Look(NamedTuple):
    kind: str  # "", ok, wait, info, warn, stop: the chip's colour only repeats the word
    icon: str
    label: str


UNKNOWN = Look("", "info", _("Unknown"))

# Words fixed by the design. Never "Confirmed" from a block that is not final.
STATES: dict[str, dict[str, Look]] = {
    "record": {
        "received": Look("", "doc", _("Received")),
        "sealing": Look("", "doc", _("Received")),
        "sealed": Look("", "lock", _("Encrypted")),
        "queued": Look("wait", "clock", _("Anchoring")),
        "broadcast": Look("wait", "clock", _("Anchoring")),
        "mined": Look("info", "chain", _("Anchored")),
        "anchored": Look("info", "chain", _("Anchored")),
        "final": Look("ok", "okay", _("Confirmed")),
        "quarantined": Look("warn", "warn", _("Held for checking")),
        "failed": Look("warn", "warn", _("Needs attention")),
        "discarded": Look("", "refused", _("Discarded")),
        "superseded": Look("", "history", _("Superseded")),
        "withdrawn": Look("warn", "refused", _("Entered in error")),
        "erased": Look("", "trash", _("Erased")),
        "active": Look("ok", "okay", _("Active")),
    },
    "grant": {
        "pending": Look("wait", "clock", _("Pending")),
        "active": Look("ok", "okay", _("Active")),
        "revoking": Look("wait", "clock", _("Stopping")),
        "revoked": Look("", "stop", _("Stopped")),
        "expired": Look("", "clock", _("Ended")),
        "failed": Look("warn", "warn", _("Could not be recorded")),
    },
    "organisation": {
        "applied": Look("wait", "clock", _("Applied")),
        "admitting": Look("wait", "clock", _("Being admitted")),
        "active": Look("ok", "okay", _("Admitted")),
        "suspended": Look("warn", "warn", _("Suspended")),
        "expelled": Look("", "refused", _("Expelled")),
        "refused": Look("", "refused", _("Refused")),
    },
    "member": {
        "pending": Look("wait", "clock", _("Being registered")),
        "active": Look("ok", "okay", _("Active")),
        "ended": Look("", "out", _("Ended")),
    },
    "proof": {
        "authentic": Look("ok", "okay", _("Unchanged")),
        "pending": Look("wait", "clock", _("Not yet anchored")),
        "altered": Look("stop", "warn", _("Changed")),
        "superseded": Look("", "history", _("Superseded")),
        "erased": Look("", "trash", _("Erased")),
        "unknown": Look("", "cloud", _("Cannot check now")),
    },
    "chain": {
        "ok": Look("ok", "okay", _("Up to date")),
        "behind": Look("wait", "clock", _("Catching up")),
        "down": Look("warn", "cloud", _("Not answering")),
        "halted": Look("stop", "bolt", _("Stopped")),
        "match": Look("ok", "okay", _("Matches")),
        "unannounced": Look("wait", "clock", _("Not announced on the chain")),
        "mismatch": Look("stop", "warn", _("Does not match")),
    },
    "release": {
        "proposed": Look("wait", "clock", _("Waits for approval")),
        "scheduled": Look("info", "clock", _("Approved, waiting time")),
        "ready": Look("info", "check", _("Can take effect")),
        "executed": Look("ok", "okay", _("In effect")),
        "cancelled": Look("", "refused", _("Stopped")),
        "lapsed": Look("", "clock", _("Run out")),
    },
    "access": {
        "treatment": Look("ok", "okay", _("Treatment")),
        "care": Look("ok", "okay", _("Treatment")),
        "author": Look("ok", "okay", _("Author")),
        "consent": Look("info", "share", _("Your consent")),
        "grant": Look("info", "share", _("Your consent")),
        "administration": Look("", "doc", _("Administration")),
        "own": Look("", "person", _("Own access")),
        "self": Look("", "person", _("Own access")),
        "emergency": Look("stop", "bolt", _("Emergency")),
        "refused": Look("", "refused", _("Refused")),
        "system": Look("", "auto", _("Automatic")),
    },
}

PROOFS: dict[str, Look] = {
    "authentic": Look("ok", "shield", _("Unchanged.")),
    "pending": Look("wait", "clock", _("Not yet anchored. The proof is on its way.")),
    "altered": Look("stop", "warn", _("Changed. This is not what was sealed.")),
    "superseded": Look("mute", "history", _("Replaced by a newer version.")),
    "erased": Look("mute", "trash", _("Erased. Only the fact that it existed remains.")),
    "unknown": Look("mute", "cloud", _("Cannot check now. This says nothing about the record.")),
}

CATEGORIES: dict[str, tuple[str, str]] = {  # category: (icon, label)
    "laboratory": ("flask", _("Laboratory")),
    "imaging": ("image", _("Imaging")),
    "medications": ("pill", _("Medicines")),
    "allergies": ("allergy", _("Allergies")),
    "diagnoses": ("stetho", _("Diagnoses")),
    "procedures": ("tools", _("Procedures")),
    "letters": ("mail", _("Letters")),
    "notes": ("chat", _("Notes")),
    "vaccinations": ("syringe", _("Vaccinations")),
    "vitals": ("pulse", _("Vital signs")),
    "psychiatry": ("mind", _("Psychiatry")),
    "other": ("doc", _("Other")),
}

NOTE_ICONS = {"info": "info", "ok": "okay", "wait": "clock", "warn": "warn", "stop": "bolt"}

# The only colours a hospital may choose; each passes 4.5:1 with white text.
TENANT_COLOURS = ("indigo", "plum", "olive", "teal", "rust", "slate", "forest", "navy")


def status_look(domain: str, state: str, n: str | int = "", m: str | int = "") -> Look:
    look = STATES.get(domain, {}).get(str(state), UNKNOWN)
    if state in ("mined", "anchored") and n != "" and m != "":
        label = _("Anchored, %(n)s of %(m)s blocks") % {"n": n, "m": m}
        return look._replace(label=label)
    return look
