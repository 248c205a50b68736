"""Final registry events become states here. Replayable from the start: each event sets, none adds."""

from typing import Any

from django.db.models import Q

from chain import projection
from chain.failpoints import fp
from hospitals import audit, keyring
from hospitals.models import Membership, Organisation, Patient
from hospitals.tenancy import all_tenants
from hospitals.types import ROLE_ON_CHAIN, MembershipStatus, OrganisationStatus, PatientStatus

NAME = "hospitals"
CHAINS = ("SUP", "MED")
# People and patients are registered on the consortium chain only.
PEOPLE_CHAIN = "MED"

ORGANISATION_EVENTS = {
    "OrganisationAdmitted": OrganisationStatus.ACTIVE,
    "OrganisationSuspended": OrganisationStatus.SUSPENDED,
    "OrganisationReinstated": OrganisationStatus.ACTIVE,
    "OrganisationExpelled": OrganisationStatus.EXPELLED,
}


def project() -> int:
    """Apply what became final since the last time; the number of events applied."""
    return sum(projection.run(NAME, chain, handle) for chain in CHAINS)


def handle(event: Any) -> None:
    """One final event, inside the transaction that moves the cursor."""
    if event.contract != "Registry":
        return
    if event.name in ORGANISATION_EVENTS:
        _organisation(event)
    elif event.chain != PEOPLE_CHAIN:
        return
    elif event.name == "PractitionerRegistered":
        Membership.objects.filter(
            chain_address=_bytes(event.args["practitioner"]), status=MembershipStatus.PENDING
        ).update(status=MembershipStatus.ACTIVE, started_at=event.block_time)
    elif event.name == "PractitionerRemoved":
        Membership.objects.filter(chain_address=_bytes(event.args["practitioner"])).exclude(
            status=MembershipStatus.ENDED
        ).update(status=MembershipStatus.ENDED, ended_at=event.block_time)
    elif event.name == "PatientRegistered":
        with all_tenants("projector: the event names a patient key, not a hospital's row"):
            Patient.objects.filter(patient_key=_bytes(event.args["patientKey"]), status=PatientStatus.PENDING).update(
                status=PatientStatus.ACTIVE
            )
        fp("project.patient_active")


def _organisation(event: Any) -> None:
    organisation = (
        Organisation.objects.select_for_update().filter(account_address=_bytes(event.args["organisation"])).first()
    )
    if organisation is None:  # admitted by other means than this portal
        return
    organisation.chain_status = {**organisation.chain_status, event.chain: str(ORGANISATION_EVENTS[event.name])}
    before, organisation.status = organisation.status, _status(organisation)
    organisation.save(update_fields=["chain_status", "status"])
    if before == OrganisationStatus.ADMITTING and organisation.status == OrganisationStatus.ACTIVE:
        opened(organisation)


def _status(organisation: Organisation) -> str:
    """What both registries and our own decision say together; the strictest wins."""
    said = set(organisation.chain_status.values())
    if OrganisationStatus.EXPELLED in said or organisation.status == OrganisationStatus.EXPELLED:
        return OrganisationStatus.EXPELLED
    if OrganisationStatus.SUSPENDED in said or organisation.suspended_at:
        return OrganisationStatus.SUSPENDED
    if all(organisation.chain_status.get(chain) == OrganisationStatus.ACTIVE for chain in CHAINS):
        return OrganisationStatus.ACTIVE
    return organisation.status


def opened(organisation: Organisation) -> None:
    """Just admitted: roles without a place on chain begin, keys enter the directory, early log entries follow."""
    Membership.objects.filter(
        ~Q(role__in=list(ROLE_ON_CHAIN)), hospital=organisation, status=MembershipStatus.PENDING
    ).update(status=MembershipStatus.ACTIVE)
    users = [row.user for row in organisation.memberships.select_related("user")]
    keyring.directory_publish(organisation)
    keyring.directory_publish(organisation, owners=users)
    audit.publish_waiting(organisation)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
