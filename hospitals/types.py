"""The words of this app: kinds, states, roles. No Django models here."""

from django.db.models import TextChoices


class OrganisationKind(TextChoices):
    HOSPITAL = "hospital", "Hospital"
    RESEARCH_INSTITUTE = "research_institute", "Research institute"
    INSURER = "insurer", "Insurer"
    MANUFACTURER = "manufacturer", "Manufacturer"
    REGULATOR = "regulator", "Regulator"


# The order of IRegistry.Kind; 0 is None there.
KIND_ON_CHAIN = {
    OrganisationKind.HOSPITAL: 1,
    OrganisationKind.RESEARCH_INSTITUTE: 2,
    OrganisationKind.INSURER: 3,
    OrganisationKind.MANUFACTURER: 4,
    OrganisationKind.REGULATOR: 5,
}


class OrganisationStatus(TextChoices):
    APPLIED = "applied", "Waiting for review"
    ADMITTING = "admitting", "Being admitted"
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    EXPELLED = "expelled", "Expelled"
    REFUSED = "refused", "Refused"


class Role(TextChoices):
    ADMIN = "admin", "Administrator"
    PRIVACY = "privacy", "Privacy officer"
    DOCTOR = "doctor", "Doctor"
    NURSE = "nurse", "Nurse"
    CLERK = "clerk", "Clerk"
    REGULATOR = "regulator", "Regulator"
    RESEARCHER = "researcher", "Researcher"
    INSURER = "insurer", "Insurance officer"


# The order of IRegistry.Role. Every other role exists only in the portal.
ROLE_ON_CHAIN = {Role.DOCTOR: 1, Role.NURSE: 2}


class MembershipStatus(TextChoices):
    PENDING = "pending", "Waiting for the registry"
    ACTIVE = "active", "Active"
    ENDED = "ended", "Ended"


class PatientStatus(TextChoices):
    PENDING = "pending", "Waiting for the registry"
    ACTIVE = "active", "Active"


class Sex(TextChoices):
    FEMALE = "female", "Female"
    MALE = "male", "Male"
    OTHER = "other", "Other"
    UNKNOWN = "unknown", "Not stated"


class ClaimStatus(TextChoices):
    WAITING = "waiting", "Waiting for the desk"
    CHECKED = "checked", "Identity checked"
    CONFIRMED = "confirmed", "Confirmed"
    REFUSED = "refused", "Refused"


class OwnerType(TextChoices):
    ORGANISATION = "organisation", "Organisation"
    USER = "user", "Person"
    MEMBERSHIP = "membership", "Membership"
    PATIENT = "patient", "Patient registration"
    WORKER = "worker", "Worker"


class KeyPurpose(TextChoices):
    WRAP = "wrap", "Key wrap"
    SIGN = "sign", "Signature"
    CHAIN = "chain", "Chain account"
    IDENTITY = "identity", "Consent identity"


class Channel(TextChoices):
    PAGE = "page", "Page"
    API = "api", "API"
    TASK = "task", "Worker"
    COMMAND = "command", "Command"


# What a personal access token may be allowed to do; never more than its owner's role.
TOKEN_SCOPES = {
    "records:read": "List and open records",
    "records:write": "Upload records",
    "grants:read": "See sharing",
    "grants:write": "Start and stop sharing",
    "log:read": "Read the access log",
    "patients:read": "Find patients",
    "patients:write": "Register patients",
    "organisations:read": "See organisations",
}
