"""Organisations, people, their roles and registrations, keys, and the access log."""

import secrets
import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac

from chain.fields import AddressField, Bytes32Field
from hospitals import types
from hospitals.audit_models import AuditCheck, AuditLine, AuditMap  # noqa: F401  (models of this app)
from hospitals.tenancy import TenantModel


def random32() -> bytes:
    return secrets.token_bytes(32)


def _id_field() -> models.UUIDField:
    return models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


def _special_categories() -> list[str]:
    return ["psychiatry"]


class UserManager(BaseUserManager):
    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        user = self.model(email=self.normalise(email), **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, email: str) -> "User":
        return self.get(email=self.normalise(email))

    @staticmethod
    def normalise(email: str) -> str:
        return email.strip().lower()


class User(AbstractBaseUser, PermissionsMixin):
    """A person's account. What the person may do comes from memberships and patient registrations."""

    id = _id_field()
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("operator", default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Part of every session's fingerprint: one more, and all sessions of this person are over.
    session_epoch = models.PositiveIntegerField(default=0, editable=False)

    objects = UserManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["name"]

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="hospitals_user_email_any_case")]

    def __str__(self) -> str:
        return self.name or self.email

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        return salted_hmac(
            "hospitals.models.User.session", f"{self.password}|{self.session_epoch}", secret=secret, algorithm="sha256"
        ).hexdigest()

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name


class Organisation(models.Model):
    """A tenant, or the regulator. Its account sends its transactions on both chains."""

    id = _id_field()
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    initials = models.CharField(max_length=3)
    kind = models.CharField(max_length=20, choices=types.OrganisationKind.choices)
    colour = models.CharField(max_length=12, default="teal")
    status = models.CharField(
        max_length=10, choices=types.OrganisationStatus.choices, default=types.OrganisationStatus.APPLIED
    )
    # What the registry of each chain last said: {"SUP": "active", "MED": "suspended"}.
    chain_status = models.JSONField(default=dict, blank=True)
    account_address = AddressField(null=True, blank=True, unique=True)
    contact_name = models.CharField(max_length=120, blank=True, default="")
    contact_email = models.EmailField()
    website = models.URLField(blank=True, default="")
    statement = models.TextField(blank=True, default="")
    evidence_name = models.CharField(max_length=200, blank=True, default="")
    evidence_sealed = models.BinaryField(null=True, blank=True)
    evidence_salt = Bytes32Field(null=True, blank=True)
    evidence_digest = Bytes32Field(null=True, blank=True)
    applied_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    refusal_reason = models.TextField(blank=True, default="")
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspension_reason = models.TextField(blank=True, default="")
    # Where new records go: SUP, MED or BOTH; the special categories go to MED.
    default_chains = models.CharField(max_length=4, default="SUP")
    special_categories = models.JSONField(default=_special_categories, blank=True)

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["status", "applied_at"], name="hospitals_org_queue")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        return self.status == types.OrganisationStatus.ACTIVE


class Membership(models.Model):
    """One role of one person in one organisation. Ended ones stay; a return is a new row with a new address."""

    id = _id_field()
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    hospital = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=12, choices=types.Role.choices)
    title = models.CharField(max_length=80, blank=True, default="")
    chain_address = AddressField(null=True, blank=True, unique=True)
    status = models.CharField(
        max_length=10, choices=types.MembershipStatus.choices, default=types.MembershipStatus.PENDING
    )
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    chain_ref = models.CharField(max_length=64, blank=True, default="")
    end_ref = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ["user__name"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "hospital"], condition=~Q(status="ended"), name="hospitals_membership_one_live"
            )
        ]
        indexes = [models.Index(fields=["hospital", "status", "role"], name="hospitals_membership_list")]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()}, {self.hospital})"


class Patient(TenantModel):
    """A person's registration at one hospital. Two hospitals' rows share nothing that a chain could link."""

    id = _id_field()
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="patients")
    mrn = models.CharField("patient number", max_length=20)
    given_name = models.CharField(max_length=80)
    family_name = models.CharField(max_length=80)
    birth_date = models.DateField()
    sex = models.CharField(max_length=8, choices=types.Sex.choices, default=types.Sex.UNKNOWN)
    phone = models.CharField(max_length=30, blank=True, default="")
    email = models.EmailField(blank=True, default="")
    patient_key = Bytes32Field(unique=True, default=random32)
    identity_address = AddressField(unique=True)
    identity_salt = Bytes32Field(default=random32)
    identity_kid = Bytes32Field(null=True, blank=True)
    rotation_secret_sealed = models.BinaryField(null=True, blank=True)
    registered_by = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+")
    chain_ref = models.CharField(max_length=64, blank=True, default="")
    status = models.CharField(max_length=8, choices=types.PatientStatus.choices, default=types.PatientStatus.PENDING)
    registered_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantModel.Meta):
        ordering = ["family_name", "given_name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["hospital", "mrn"], name="hospitals_patient_mrn"),
            models.UniqueConstraint(
                fields=["hospital", "user"], condition=Q(user__isnull=False), name="hospitals_patient_user"
            ),
        ]
        indexes = [
            models.Index(fields=["hospital", "family_name", "given_name"], name="hospitals_patient_name"),
            models.Index(fields=["hospital", "birth_date"], name="hospitals_patient_birth"),
            models.Index(fields=["hospital", "registered_at"], name="hospitals_patient_since"),
        ]

    def __str__(self) -> str:
        return self.full_name

    @property
    def full_name(self) -> str:
        return f"{self.given_name} {self.family_name}"


class PatientClaim(TenantModel):
    """A visitor says who they are; the hospital's desk checks it in person before anything opens."""

    id = _id_field()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="claims")
    given_name = models.CharField(max_length=80)
    family_name = models.CharField(max_length=80)
    birth_date = models.DateField()
    sex = models.CharField(max_length=8, choices=types.Sex.choices, default=types.Sex.UNKNOWN)
    phone = models.CharField(max_length=30, blank=True, default="")
    status = models.CharField(max_length=10, choices=types.ClaimStatus.choices, default=types.ClaimStatus.WAITING)
    patient = models.ForeignKey(Patient, null=True, blank=True, on_delete=models.PROTECT, related_name="claims")
    reason = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(Membership, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    class Meta(TenantModel.Meta):
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["hospital", "user"],
                condition=Q(status__in=["waiting", "checked"]),
                name="hospitals_claim_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.given_name} {self.family_name}"


class ActivationCode(models.Model):
    """A one-use code with which an invited person chooses a password. Nobody else ever picks one."""

    id = _id_field()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="activation_codes")
    code_hash = Bytes32Field(unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"Activation of {self.user_id}"


class AccessToken(models.Model):
    """A personal key for programs: shown once, kept as a hash, scoped and expiring."""

    id = _id_field()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_tokens")
    membership = models.ForeignKey(
        Membership, null=True, blank=True, on_delete=models.CASCADE, related_name="access_tokens"
    )
    name = models.CharField(max_length=80)
    scopes = models.JSONField(default=list)
    token_hash = Bytes32Field(unique=True)
    prefix = models.CharField(max_length=12)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class KekVersion(models.Model):
    """A key-encryption key, wrapped by the root. No hospital: the platform's own, for people and workers."""

    id = _id_field()
    hospital = models.ForeignKey(Organisation, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    version = models.PositiveIntegerField()
    wrapped = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["hospital", "version"], name="hospitals_kek_version"),
            models.UniqueConstraint(
                fields=["version"], condition=Q(hospital__isnull=True), name="hospitals_kek_platform_version"
            ),
        ]

    def __str__(self) -> str:
        return f"KEK {self.version} of {self.hospital_id or 'the platform'}"


class KeyRecord(models.Model):
    """A key pair: public part for the directory, private part sealed under a KEK. Retired ones still verify."""

    kid = Bytes32Field(primary_key=True)
    owner_type = models.CharField(max_length=12, choices=types.OwnerType.choices)
    owner_id = models.UUIDField()
    hospital = models.ForeignKey(Organisation, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    purpose = models.CharField(max_length=8, choices=types.KeyPurpose.choices)
    public_key = models.BinaryField()
    address = AddressField(null=True, blank=True, unique=True)
    private_sealed = models.BinaryField()
    kek_version = models.PositiveIntegerField()
    not_before = models.DateTimeField(default=timezone.now)
    not_after = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    # The directory names owners by a random pseudonym; the salt keeps a leaf from being guessed.
    subject = Bytes32Field(default=random32)
    directory_salt = Bytes32Field(default=random32)
    directory_ref = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner_type", "owner_id", "purpose"],
                condition=Q(retired_at__isnull=True),
                name="hospitals_key_one_current",
            )
        ]
        indexes = [models.Index(fields=["hospital", "kek_version"], name="hospitals_key_kek")]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} key of {self.owner_type}"


class AuditHead(TenantModel):
    """The end of a hospital's log. Its row lock puts concurrent entries in one order."""

    id = _id_field()
    seq = models.PositiveBigIntegerField(default=0)
    link = Bytes32Field(default=bytes(32))

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["hospital"], name="hospitals_audit_one_head")]

    def __str__(self) -> str:
        return f"Log head {self.seq}"


class AuditEntry(TenantModel):
    """One act, for ever. Triggers forbid change; links and leaves on the chain show what went round the triggers."""

    id = _id_field()
    seq = models.PositiveBigIntegerField()
    previous_link = Bytes32Field()
    link = Bytes32Field()
    patient = models.ForeignKey(Patient, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    patient_seq = models.PositiveBigIntegerField(null=True, blank=True)
    patient_previous_link = Bytes32Field(null=True, blank=True)
    patient_link = Bytes32Field(null=True, blank=True)
    actor_user = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    actor_membership = models.ForeignKey(Membership, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    actor_role = models.CharField(max_length=12, blank=True, default="")
    channel = models.CharField(max_length=8, choices=types.Channel.choices)
    request_id = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=60)
    basis = models.CharField(max_length=80, blank=True, default="")
    purpose = models.CharField(max_length=40, blank=True, default="")
    target_type = models.CharField(max_length=40, blank=True, default="")
    target_id = models.CharField(max_length=64, blank=True, default="")
    is_refused = models.BooleanField(default=False)
    at = models.DateTimeField()
    detail = models.JSONField(default=dict, blank=True)
    salt = Bytes32Field()
    leaf = Bytes32Field()
    chain_ref = models.CharField(max_length=64, unique=True)

    class Meta(TenantModel.Meta):
        verbose_name_plural = "audit entries"
        ordering = ["-seq"]
        constraints = [
            models.UniqueConstraint(fields=["hospital", "seq"], name="hospitals_audit_seq"),
            models.UniqueConstraint(
                fields=["patient", "patient_seq"],
                condition=Q(patient__isnull=False),
                name="hospitals_audit_patient_seq",
            ),
            models.CheckConstraint(
                condition=Q(patient__isnull=True, patient_seq__isnull=True)
                | Q(patient__isnull=False, patient_seq__isnull=False),
                name="hospitals_audit_patient_counted",
            ),
        ]
        indexes = [
            models.Index(fields=["hospital", "action", "at"], name="hospitals_audit_action"),
            models.Index(fields=["hospital", "actor_membership", "at"], name="hospitals_audit_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.action} #{self.seq}"
