"""Staff: registered by the organisation's administrator, on chain where the role treats patients."""

import uuid

from django.db import IntegrityError, transaction
from django.utils import timezone

from chain import services as chain_services
from hospitals import audit, keyring, roles
from hospitals.actors import Actor
from hospitals.errors import HospitalsError, Invalid, NotFound
from hospitals.models import AccessToken, KeyRecord, Membership, Organisation
from hospitals.roles import Permission
from hospitals.services.accounts import activation_create, sessions_end, user_create
from hospitals.types import ROLE_ON_CHAIN, KeyPurpose, MembershipStatus, OrganisationKind, OwnerType, Role

CHAIN = "MED"
ROLES_OF_KIND: dict[str, tuple[str, ...]] = {
    OrganisationKind.HOSPITAL: (Role.DOCTOR, Role.NURSE, Role.CLERK, Role.ADMIN, Role.PRIVACY),
    OrganisationKind.RESEARCH_INSTITUTE: (Role.RESEARCHER, Role.ADMIN, Role.PRIVACY),
    OrganisationKind.INSURER: (Role.INSURER, Role.ADMIN, Role.PRIVACY),
    OrganisationKind.MANUFACTURER: (Role.ADMIN,),
    OrganisationKind.REGULATOR: (Role.REGULATOR,),
}


def staff_register(
    *, actor: Actor, hospital: Organisation, email: str, name: str, role: str, title: str = ""
) -> Membership:
    """A role for a person, new or known. Doctors and nurses are pending until the registry's event is final."""
    roles.require(actor, Permission.STAFF_MANAGE, hospital=hospital)
    if role not in ROLES_OF_KIND.get(hospital.kind, ()):
        raise Invalid({"role": "Choose one of the roles of this organisation."})
    with transaction.atomic():
        user, is_new = user_create(email=email, name=name)
        membership = Membership(user=user, hospital=hospital, role=role, title=title.strip())
        is_on_chain = role in ROLE_ON_CHAIN
        if not is_on_chain:
            membership.status = MembershipStatus.ACTIVE
        try:
            with transaction.atomic():
                membership.save(force_insert=True)
        except IntegrityError:
            raise Invalid({"email": "This person already has a role here. End it first to give another."}) from None
        membership.chain_address = keyring.membership_chain_key_create(membership)
        if is_on_chain:
            membership.chain_ref = f"staff:{membership.pk.hex}"
            chain_services.call_enqueue(
                chain=CHAIN,
                sender=bytes(hospital.account_address),
                contract="Registry",
                function="registerPractitioner",
                args=[membership.chain_address, ROLE_ON_CHAIN[role]],
                ref=membership.chain_ref,
            )
        membership.save(update_fields=["chain_address", "chain_ref"])
        keyring.directory_publish(hospital, owners=[user, membership])
        audit.append(
            hospital=hospital, actor=actor, action="staff.registered", target=membership, detail={"role": str(role)}
        )
        if is_new:
            activation_create(user=user)
    return membership


def staff_end(*, actor: Actor, hospital: Organisation, membership_id: uuid.UUID) -> Membership:
    """End a role. Sessions and tokens are cut in this transaction; the registry follows."""
    roles.require(actor, Permission.STAFF_MANAGE, hospital=hospital)
    membership = (
        Membership.objects.filter(pk=membership_id, hospital=hospital).select_related("user", "hospital").first()
    )
    if membership is None:
        raise NotFound()
    now = timezone.now()
    with transaction.atomic():
        # The organisation's row is the lock: two administrators who end each other at once must not both succeed.
        Organisation.objects.select_for_update().get(pk=hospital.pk)
        if membership.role == Role.ADMIN and not _has_another_admin(membership):
            raise HospitalsError("The last administrator cannot be removed. Register another one first.")
        changed = (
            Membership.objects.filter(pk=membership.pk)
            .exclude(status=MembershipStatus.ENDED)
            .update(status=MembershipStatus.ENDED, ended_at=now)
        )
        if changed != 1:
            raise HospitalsError("This role has already ended.")
        membership.status, membership.ended_at = MembershipStatus.ENDED, now
        AccessToken.objects.filter(membership=membership, revoked_at=None).update(revoked_at=now)
        keys = KeyRecord.objects.filter(
            owner_type=OwnerType.MEMBERSHIP, owner_id=membership.pk, purpose=KeyPurpose.CHAIN
        )
        keys.filter(retired_at=None).update(retired_at=now, not_after=now)
        keyring.directory_end(hospital, keys)
        sessions_end(user=membership.user)
        if membership.chain_ref:
            membership.end_ref = f"staff-end:{membership.pk.hex}"
            membership.save(update_fields=["end_ref"])
            chain_services.call_enqueue(
                chain=CHAIN,
                sender=bytes(hospital.account_address),
                contract="Registry",
                function="removePractitioner",
                args=[bytes(membership.chain_address)],
                ref=membership.end_ref,
            )
        audit.append(
            hospital=hospital,
            actor=actor,
            action="staff.ended",
            target=membership,
            detail={"role": str(membership.role)},
        )
    return membership


def _has_another_admin(membership: Membership) -> bool:
    return (
        Membership.objects.filter(
            hospital_id=membership.hospital_id, role=Role.ADMIN, status=MembershipStatus.ACTIVE, user__is_active=True
        )
        .exclude(pk=membership.pk)
        .exists()
    )
