"""Looking is an act too: what a page shows of people goes to the log before it is shown."""

from collections.abc import Sequence

from django.db import transaction

from hospitals import audit
from hospitals.actors import Actor
from hospitals.models import Organisation, Patient

BASES = {"doctor": "treatment", "nurse": "treatment"}


def patients_listed(*, actor: Actor, hospital: Organisation, patients: Sequence[Patient]) -> None:
    """One entry for each person that a search or list shows."""
    _append(actor, hospital, "patients.listed", patients)


def patient_opened(*, actor: Actor, patient: Patient) -> None:
    """Name and numbers were shown, no list of records."""
    _append(actor, patient.hospital, "patients.opened", [patient])


def records_listed(*, actor: Actor, patient: Patient, count: int, basis: str = "") -> None:
    """The titles of a patient's records were shown."""
    draft = audit.Draft("records.listed", patient, patient, basis or "treatment", "TREAT", detail={"count": count})
    with transaction.atomic():
        audit.append_many(hospital=patient.hospital, actor=actor, drafts=[draft])


def log_opened(*, actor: Actor, hospital: Organisation, patient: Patient | None = None) -> None:
    """Reading the log is itself in the log."""
    with transaction.atomic():
        audit.append(
            hospital=hospital,
            actor=actor,
            action="log.opened",
            patient=patient,
            basis=BASES.get(actor.role, "administration"),
        )


def _append(actor: Actor, hospital: Organisation, action: str, patients: Sequence[Patient]) -> None:
    basis = BASES.get(actor.role, "administration")
    purpose = "TREAT" if basis == "treatment" else "HOPERAT"
    drafts = [audit.Draft(action, patient, patient, basis, purpose) for patient in patients]
    with transaction.atomic():
        audit.append_many(hospital=hospital, actor=actor, drafts=drafts)
