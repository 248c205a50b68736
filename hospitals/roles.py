"""One table: which role may do what. Pages, API and services ask here and nowhere else."""

from dataclasses import dataclass
from enum import StrEnum

from hospitals.actors import Actor, is_live
from hospitals.errors import Refused
from hospitals.types import OrganisationStatus, Role

__all__ = ["Decision", "Permission", "ROLE_PERMISSIONS", "Role", "decide", "require", "roles_with"]


class Permission(StrEnum):
    HOME = "home:read"
    ORGANISATION_SETTINGS = "organisation:settings"
    STAFF_LIST = "staff:list"
    STAFF_MANAGE = "staff:manage"
    PATIENT_SEARCH = "patient:search"
    PATIENT_READ = "patient:read"
    PATIENT_REGISTER = "patient:register"
    CLAIM_CHECK = "claim:check"
    RECORD_LIST = "record:list"
    RECORD_READ = "record:read"
    RECORD_UPLOAD = "record:upload"
    RECORD_AUTHOR = "record:author"
    RECORD_WITHDRAW = "record:withdraw"
    UPLOAD_STATES = "upload:states"
    SHARED_READ = "shared:read"
    AUDIT_READ = "audit:read"
    TOKEN_MANAGE = "token:manage"  # noqa: S105
    APPLICATION_DECIDE = "application:decide"
    ORGANISATION_SUPERVISE = "organisation:supervise"
    STATISTICS_READ = "statistics:read"
    RECORD_QUERY = "record:query"
    CHAIN_HEALTH = "chain:health"
    RELEASE_GOVERN = "release:govern"


P = Permission
_CLINICAL = {
    P.HOME,
    P.STAFF_LIST,
    P.PATIENT_SEARCH,
    P.PATIENT_READ,
    P.RECORD_LIST,
    P.RECORD_READ,
    P.RECORD_UPLOAD,
    P.RECORD_AUTHOR,
    P.UPLOAD_STATES,
    P.SHARED_READ,
    P.TOKEN_MANAGE,
}
_PRIVACY = {P.HOME, P.STAFF_LIST, P.PATIENT_SEARCH, P.PATIENT_READ, P.AUDIT_READ, P.TOKEN_MANAGE}

ROLE_PERMISSIONS: dict[str, frozenset[Permission]] = {
    Role.DOCTOR: frozenset(_CLINICAL | {P.PATIENT_REGISTER, P.RECORD_WITHDRAW, P.CLAIM_CHECK}),
    Role.NURSE: frozenset(_CLINICAL),
    Role.CLERK: frozenset(
        {
            P.HOME,
            P.STAFF_LIST,
            P.PATIENT_SEARCH,
            P.PATIENT_READ,
            P.CLAIM_CHECK,
            P.RECORD_UPLOAD,
            P.UPLOAD_STATES,
            P.TOKEN_MANAGE,
        }
    ),
    Role.PRIVACY: frozenset(_PRIVACY),
    Role.ADMIN: frozenset(_PRIVACY | {P.STAFF_MANAGE, P.ORGANISATION_SETTINGS, P.CLAIM_CHECK, P.UPLOAD_STATES}),
    Role.REGULATOR: frozenset(
        {
            P.HOME,
            P.APPLICATION_DECIDE,
            P.ORGANISATION_SUPERVISE,
            P.STATISTICS_READ,
            P.RECORD_QUERY,
            P.CHAIN_HEALTH,
            P.RELEASE_GOVERN,
            P.AUDIT_READ,
            P.TOKEN_MANAGE,
        }
    ),
    Role.RESEARCHER: frozenset({P.HOME, P.STAFF_LIST, P.SHARED_READ, P.TOKEN_MANAGE}),
    Role.INSURER: frozenset({P.HOME, P.STAFF_LIST, P.SHARED_READ, P.TOKEN_MANAGE}),
}

# What a suspended organisation loses at once; its own patients are still cared for (H7).
NEEDS_ACTIVE_HOSPITAL = frozenset({P.PATIENT_REGISTER, P.STAFF_MANAGE, P.SHARED_READ, P.CLAIM_CHECK})


@dataclass(frozen=True)
class Decision:
    allowed: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


_REASONS = {
    "no_membership": "This step belongs to staff of a hospital.",
    "pending": "Your registration is not confirmed yet. This takes a few seconds; then try again.",
    "ended": "Your role at this organisation has ended.",
    "role": "Your role does not include this step.",
    "suspended": "Your organisation is suspended: this step is closed until the regulator lifts it.",
    "not_admitted": "Your organisation is not admitted yet.",
}


def decide(actor: Actor, permission: Permission) -> Decision:
    """Whether the actor's role in their organisation includes the permission now, and if not why."""
    membership = actor.membership
    if membership is None:
        return Decision(False, "no_membership")
    if not is_live(membership):
        return Decision(False, "pending" if membership.status == "pending" else "ended")
    if permission not in ROLE_PERMISSIONS.get(membership.role, frozenset()):
        return Decision(False, "role")
    status = membership.hospital.status
    if status == OrganisationStatus.SUSPENDED and permission in NEEDS_ACTIVE_HOSPITAL:
        return Decision(False, "suspended")
    is_open = status in (OrganisationStatus.ACTIVE, OrganisationStatus.SUSPENDED)
    if not is_open and membership.role != Role.REGULATOR and permission != P.HOME:
        return Decision(False, "not_admitted")
    return Decision(True)


def reason_text(reason: str) -> str:
    return _REASONS.get(reason, _REASONS["role"])


def require(actor: Actor, permission: Permission, *, hospital: object = None) -> None:
    """Raise unless allowed; with `hospital`, the actor's role must be in that very organisation."""
    if hospital is not None and actor.hospital_id != getattr(hospital, "pk", hospital):
        raise Refused()
    decision = decide(actor, permission)
    if not decision:
        raise Refused(reason_text(decision.reason), code=decision.reason)


def roles_with(permission: Permission) -> list[str]:
    return [role for role, permissions in ROLE_PERMISSIONS.items() if permission in permissions]
