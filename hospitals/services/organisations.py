"""Organisations: application, admission by the regulator, suspension, settings."""

import hashlib
import uuid
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from chain import services as chain_services
from chain.artefacts import deployment
from chain.gateway import gateway
from hospitals import audit, keyring, projector, roles, sealing
from hospitals.actors import Actor
from hospitals.conf import conf
from hospitals.errors import HospitalsError, Invalid, Refused
from hospitals.models import Membership, Organisation, random32
from hospitals.roles import Permission
from hospitals.services.accounts import activation_create, user_create
from hospitals.types import KIND_ON_CHAIN, MembershipStatus, OrganisationKind, OrganisationStatus, Role

CHAINS = ("SUP", "MED")
ACTIVE_ON_CHAIN = 1  # in the order of IRegistry.Status
COLOURS = ("teal", "indigo", "plum", "rust", "olive", "slate", "forest", "navy")
RESERVED_SLUGS = {"regulator", "api", "admin", "accounts", "new"}
REASON_LETTERS = 10


def organisation_apply(
    *,
    name: str,
    kind: str,
    contact_name: str,
    contact_email: str,
    website: str = "",
    statement: str = "",
    evidence_name: str = "",
    evidence: bytes = b"",
) -> Organisation:
    """An application with its evidence sealed. The applicant becomes administrator once the regulator admits it."""
    fields = {}
    if len(name.strip()) < 3:
        fields["name"] = "Enter the organisation's full name."
    if kind not in set(OrganisationKind) - {OrganisationKind.REGULATOR}:
        fields["kind"] = "Choose what kind of organisation this is."
    if len(evidence) > conf().evidence_bytes_max:
        fields["evidence"] = f"The file is too large; up to {conf().evidence_bytes_max // 2**20} MB are accepted."
    if fields:
        raise Invalid(fields)
    with transaction.atomic():
        user, is_new = user_create(email=contact_email, name=contact_name)
        organisation = Organisation(
            name=name.strip()[:120],
            slug=_free_slug(name),
            initials=_initials(name),
            kind=kind,
            colour=COLOURS[Organisation.objects.count() % len(COLOURS)],
            contact_name=contact_name.strip(),
            contact_email=user.email,
            website=website,
            statement=statement.strip(),
        )
        organisation.save(force_insert=True)
        keyring.organisation_keys_create(organisation)
        if evidence:
            _evidence_attach(organisation, evidence_name, evidence)
            organisation.save()
        Membership.objects.create(user=user, hospital=organisation, role=Role.ADMIN)
        _regulator_log(Actor(user), "organisations.applied", organisation)
        if is_new:
            activation_create(user=user)
    return organisation


def organisation_admit(
    *, actor: Actor, organisation: Organisation, evidence_name: str = "", evidence: bytes = b""
) -> Organisation:
    """Admit with evidence attached. Active once both registries say so in final blocks."""
    regulator = _regulator_act(actor, Permission.APPLICATION_DECIDE, organisation)
    if evidence:
        _evidence_attach(organisation, evidence_name, evidence)
    if organisation.evidence_digest is None:
        raise Invalid({"evidence": "Attach the evidence on which you admit this organisation."})
    organisation.decided_at, organisation.decided_by = timezone.now(), actor.user
    with transaction.atomic():
        _move(organisation, {OrganisationStatus.APPLIED}, OrganisationStatus.ADMITTING)
        organisation.save()
        refs = _fund(regulator, organisation)
        refs += _call(
            regulator,
            "admitOrganisation",
            organisation,
            [organisation.account_address, KIND_ON_CHAIN[organisation.kind], organisation.evidence_digest],
        )
        _log(actor, regulator, "organisations.admitted", organisation, refs=refs)
    return organisation


def organisation_refuse(*, actor: Actor, organisation: Organisation, reason: str) -> Organisation:
    regulator = _regulator_act(actor, Permission.APPLICATION_DECIDE, organisation)
    organisation.refusal_reason = _reason(reason)
    organisation.decided_at, organisation.decided_by = timezone.now(), actor.user
    with transaction.atomic():
        _move(organisation, {OrganisationStatus.APPLIED}, OrganisationStatus.REFUSED)
        organisation.save()
        _log(actor, regulator, "organisations.refused", organisation)
    return organisation


def organisation_suspend(*, actor: Actor, organisation: Organisation, reason: str) -> Organisation:
    """Counts here at once, and for everybody else when final."""
    regulator = _regulator_act(actor, Permission.ORGANISATION_SUPERVISE, organisation)
    organisation.suspension_reason = _reason(reason)
    organisation.suspended_at = timezone.now()
    with transaction.atomic():
        _move(organisation, {OrganisationStatus.ACTIVE}, OrganisationStatus.SUSPENDED)
        organisation.save()
        refs = _call(regulator, "suspendOrganisation", organisation, [organisation.account_address])
        _log(actor, regulator, "organisations.suspended", organisation, refs=refs)
    return organisation


def organisation_reinstate(*, actor: Actor, organisation: Organisation) -> Organisation:
    """Stays suspended until the registries' events are final."""
    regulator = _regulator_act(actor, Permission.ORGANISATION_SUPERVISE, organisation)
    with transaction.atomic():
        changed = Organisation.objects.filter(
            pk=organisation.pk, status=OrganisationStatus.SUSPENDED, suspended_at__isnull=False
        ).update(suspended_at=None, suspension_reason="")
        if changed != 1:
            raise HospitalsError("This organisation is not suspended, or lifting is already on its way.")
        organisation.refresh_from_db()
        refs = _call(regulator, "reinstateOrganisation", organisation, [organisation.account_address])
        _log(actor, regulator, "organisations.reinstated", organisation, refs=refs)
    return organisation


def organisation_expel(*, actor: Actor, organisation: Organisation, reason: str) -> Organisation:
    """For good: no way leads back."""
    regulator = _regulator_act(actor, Permission.ORGANISATION_SUPERVISE, organisation)
    organisation.suspension_reason = _reason(reason)
    with transaction.atomic():
        _move(
            organisation,
            {OrganisationStatus.ACTIVE, OrganisationStatus.SUSPENDED},
            OrganisationStatus.EXPELLED,
        )
        organisation.save()
        refs = _call(regulator, "expelOrganisation", organisation, [organisation.account_address])
        _log(actor, regulator, "organisations.expelled", organisation, refs=refs)
    return organisation


def organisation_settings_update(
    *, actor: Actor, hospital: Organisation, default_chains: str, special_categories: list[str]
) -> Organisation:
    roles.require(actor, Permission.ORGANISATION_SETTINGS, hospital=hospital)
    if default_chains not in ("SUP", "MED", "BOTH"):
        raise Invalid({"default_chains": "Choose SUP, MED or both."})
    hospital.default_chains, hospital.special_categories = default_chains, sorted(set(special_categories))
    with transaction.atomic():
        hospital.save(update_fields=["default_chains", "special_categories"])
        audit.append(
            hospital=hospital,
            actor=actor,
            action="organisations.settings_changed",
            target=hospital,
            detail={"default_chains": default_chains, "special_categories": hospital.special_categories},
        )
    return hospital


def regulator_bootstrap(
    *, name: str, email: str, account_key: bytes, officer_name: str = "Regulator", slug: str = "regulator"
) -> Organisation:
    """The regulator's own organisation on the account that deployed the contracts, which admitted it. Safe to run
    again, and to be run again as long as the admission is not final."""
    with transaction.atomic():
        existing = Organisation.objects.filter(kind=OrganisationKind.REGULATOR).first()
        if existing:
            regulator_founded(organisation=existing)
            return existing
        organisation = Organisation(
            name=name,
            slug=slug,
            initials=_initials(name),
            kind=OrganisationKind.REGULATOR,
            colour="navy",
            contact_email=email,
            status=OrganisationStatus.ADMITTING,
            evidence_salt=random32(),
        )
        organisation.evidence_digest = hashlib.sha256(b"\0" + organisation.evidence_salt + name.encode()).digest()
        organisation.save(force_insert=True)
        keyring.organisation_chain_key_import(organisation, account_key)
        keyring.organisation_keys_create(organisation)
        user, is_new = user_create(email=email, name=officer_name)
        Membership.objects.create(user=user, hospital=organisation, role=Role.REGULATOR, status=MembershipStatus.ACTIVE)
        regulator_founded(organisation=organisation)
        if is_new:
            activation_create(user=user)
    return organisation


def regulator_founded(*, organisation: Organisation) -> bool:
    """The event of the founding is older than this row, so the registries are asked; a later one finds the row."""
    organisation.refresh_from_db(fields=["status", "chain_status"])
    if organisation.status != OrganisationStatus.ADMITTING:
        return organisation.status == OrganisationStatus.ACTIVE
    for chain in CHAINS:
        node = gateway(chain)
        final = node.finalized()
        if final < deployment(chain)["Registry"].block_number:
            continue
        _, standing = node.call("Registry", "organisationStatus", bytes(organisation.account_address), block=final)
        if standing == ACTIVE_ON_CHAIN:
            organisation.chain_status = {**organisation.chain_status, chain: str(OrganisationStatus.ACTIVE)}
    if all(organisation.chain_status.get(chain) == OrganisationStatus.ACTIVE for chain in CHAINS):
        organisation.status = OrganisationStatus.ACTIVE
    organisation.save(update_fields=["chain_status", "status"])
    if organisation.status == OrganisationStatus.ACTIVE:
        projector.opened(organisation)
    return organisation.status == OrganisationStatus.ACTIVE


def _regulator_act(actor: Actor, permission: Permission, organisation: Organisation) -> Organisation:
    """The acting regulator; nobody decides about an organisation they belong to."""
    roles.require(actor, permission)
    own = Membership.objects.filter(user=actor.user, hospital=organisation).exclude(status=MembershipStatus.ENDED)
    if own.exists():
        raise Refused("You belong to this organisation: another officer has to decide.")
    return actor.membership.hospital


def _move(organisation: Organisation, before: set[str], after: str) -> None:
    """Compare and set, so that of two officers only the first decides."""
    if Organisation.objects.filter(pk=organisation.pk, status__in=before).update(status=after) != 1:
        raise HospitalsError("This was already decided. Reload the page to see the present state.")
    organisation.status = after


def _call(regulator: Organisation, function: str, organisation: Organisation, args: list[Any]) -> list[str]:
    refs = []
    act = uuid.uuid4().hex[:12]
    for chain in CHAINS:
        ref = f"org:{organisation.pk.hex}:{act}:{chain}"
        chain_services.call_enqueue(
            chain=chain,
            sender=bytes(regulator.account_address),
            contract="Registry",
            function=function,
            args=args,
            ref=ref,
        )
        refs.append(ref)
    return refs


def _fund(regulator: Organisation, organisation: Organisation) -> list[str]:
    """Where gas costs something, the new account gets enough to begin with."""
    refs = []
    for chain in CHAINS:
        if settings.CHAIN["chains"][chain].get("gas_price_wei") == 0:
            continue
        ref = f"fund:{organisation.pk.hex}:{chain}"
        chain_services.transfer_enqueue(
            chain=chain,
            sender=bytes(regulator.account_address),
            to=bytes(organisation.account_address),
            value=conf().funding_wei,
            ref=ref,
        )
        refs.append(ref)
    return refs


def _evidence_attach(organisation: Organisation, name: str, content: bytes) -> None:
    """The file stays sealed here; the chain gets a salted digest of it."""
    organisation.evidence_name = name.rsplit("/", 1)[-1].rsplit("\\", 1)[-1][:200]
    organisation.evidence_salt = random32()
    organisation.evidence_digest = hashlib.sha256(
        b"\0" + organisation.evidence_salt + hashlib.sha256(content).digest()
    ).digest()
    organisation.evidence_sealed = sealing.seal_blob(organisation.pk, "evidence", organisation.pk, content)


def evidence_open(*, actor: Actor, organisation: Organisation) -> bytes:
    """The regulator reads what was handed in."""
    roles.require(actor, Permission.APPLICATION_DECIDE)
    return sealing.open_blob(organisation.pk, "evidence", organisation.pk, organisation.evidence_sealed)


def _log(actor: Actor, regulator: Organisation, action: str, target: Organisation, refs: list[str] = ()) -> None:
    audit.append(hospital=regulator, actor=actor, action=action, target=target, detail={"refs": list(refs)})


def _regulator_log(actor: Actor, action: str, target: Organisation) -> None:
    regulator = Organisation.objects.filter(kind=OrganisationKind.REGULATOR).first()
    if regulator:
        _log(actor, regulator, action, target)


def _reason(text: str) -> str:
    if len(text.strip()) < REASON_LETTERS:
        raise Invalid({"reason": f"Give the reason in at least {REASON_LETTERS} characters."})
    return text.strip()


def _free_slug(name: str) -> str:
    base = slugify(name)[:32].strip("-") or "organisation"
    slug, number = base, 2
    while slug in RESERVED_SLUGS or Organisation.objects.filter(slug=slug).exists():
        slug, number = f"{base}-{number}", number + 1
    return slug


def _initials(name: str) -> str:
    words = [word for word in name.split() if word[:1].isalpha()]
    return ("".join(word[0] for word in words[:2]) or name[:2]).upper()
