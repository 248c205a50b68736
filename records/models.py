"""Uploads, sealed record versions, their anchors and who may read them. Every row stands in a hospital."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from chain.fields import Bytes32Field
from hospitals.tenancy import TenantModel


class Category(models.TextChoices):
    LABORATORY = "laboratory", "Laboratory"
    IMAGING = "imaging", "Imaging"
    MEDICATIONS = "medications", "Medications"
    ALLERGIES = "allergies", "Allergies"
    DIAGNOSES = "diagnoses", "Diagnoses"
    PROCEDURES = "procedures", "Procedures"
    LETTERS = "letters", "Letters"
    NOTES = "notes", "Notes"
    VACCINATIONS = "vaccinations", "Vaccinations"
    VITALS = "vitals", "Vital signs"
    PSYCHIATRY = "psychiatry", "Psychiatry"
    OTHER = "other", "Other"


class Chains(models.TextChoices):
    SUP = "SUP", "SUPchain"
    MED = "MED", "MEDchain"
    BOTH = "BOTH", "Both chains"

    @classmethod
    def of(cls, value: str) -> list[str]:
        return ["SUP", "MED"] if value == cls.BOTH else [value]


class UploadState(models.TextChoices):
    RECEIVED = "received", "Received"
    SEALING = "sealing", "Being encrypted"
    SEALED = "sealed", "Encrypted"
    QUARANTINED = "quarantined", "Held back"
    FAILED = "failed", "Failed"
    DISCARDED = "discarded", "Discarded"


class RecordStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    WITHDRAWN = "withdrawn", "Entered in error"
    ERASED = "erased", "Erased"


class VersionState(models.TextChoices):
    SEALED = "sealed", "Encrypted"
    ANCHORED = "anchored", "Waiting for confirmation"
    FINAL = "final", "Confirmed"
    SUPERSEDED = "superseded", "Replaced by a newer version"
    WITHDRAWN = "withdrawn", "Entered in error"
    ERASED = "erased", "Erased"


class AnchorState(models.TextChoices):
    QUEUED = "queued", "Queued"
    BROADCAST = "broadcast", "Sent"
    MINED = "mined", "In a block"
    FINAL = "final", "Confirmed"
    FAILED = "failed", "Failed"


class GrantState(models.TextChoices):
    PENDING = "pending", "Waiting for confirmation"
    ACTIVE = "active", "Active"
    REVOKING = "revoking", "Stopped, being recorded"
    REVOKED = "revoked", "Stopped"
    EXPIRED = "expired", "Ended"
    FAILED = "failed", "Could not be recorded"


class ScopeType(models.TextChoices):
    ALL = "all", "Everything"
    CATEGORY = "category", "One kind of record"
    RECORD = "record", "One record"


class Purpose(models.TextChoices):
    """HL7 ActReason codes, as the consent contract compares them."""

    TREATMENT = "TREAT", "Treatment"
    PAYMENT = "HPAYMT", "Payment"
    RESEARCH = "HRESCH", "Research"
    PATIENT_REQUEST = "PATRQT", "At the patient's request"
    OPERATIONS = "HOPERAT", "Running the hospital"


class Upload(TenantModel):
    """A file on its way in, or turned away with a reason. Its bytes are sealed from the first chunk on."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    patient = models.ForeignKey("hospitals.Patient", on_delete=models.PROTECT, related_name="uploads")
    uploader = models.ForeignKey("hospitals.Membership", on_delete=models.PROTECT, related_name="+")
    chains = models.CharField(max_length=4, choices=Chains.choices)
    category = models.CharField(max_length=20, choices=Category.choices)
    care_on = models.DateField(null=True, blank=True)
    name_sealed = models.BinaryField()
    title_sealed = models.BinaryField()
    size = models.BigIntegerField()
    state = models.CharField(max_length=12, choices=UploadState.choices, default=UploadState.RECEIVED)
    staging_blob = models.CharField(max_length=32, blank=True, default="")
    staging_key_wrapped = models.BinaryField(null=True, blank=True)
    # The record this becomes; its id exists before encryption, because the seal is bound to it.
    record_ref = models.UUIDField(default=uuid.uuid4)
    target = models.ForeignKey("records.Record", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    base_version = models.IntegerField(null=True, blank=True)
    record = models.ForeignKey(
        "records.Record", null=True, blank=True, on_delete=models.PROTECT, related_name="uploads"
    )
    reason_code = models.CharField(max_length=40, blank=True, default="")
    reason_text = models.CharField(max_length=400, blank=True, default="")
    claimed_by = models.UUIDField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    attempts = models.IntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(size__gt=0), name="records_upload_not_empty"),
            models.CheckConstraint(
                condition=~Q(state="sealed") | Q(record__isnull=False), name="records_upload_sealed_has_record"
            ),
        ]
        indexes = [
            models.Index(fields=["hospital", "-created_at"], name="records_upload_recent"),
            models.Index(
                fields=["created_at"], condition=Q(state__in=["received", "sealing"]), name="records_upload_open"
            ),
        ]

    def __str__(self) -> str:
        return f"upload {self.id}"


class Record(TenantModel):
    """One document of one patient; what it says stands in its versions."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    patient = models.ForeignKey("hospitals.Patient", on_delete=models.PROTECT, related_name="records")
    category = models.CharField(max_length=20, choices=Category.choices)
    title_sealed = models.BinaryField()
    care_on = models.DateField(null=True, blank=True)
    # What a consent for this one record names on chain: random, so it tells nothing.
    record_key = Bytes32Field(unique=True)
    current_version = models.IntegerField(default=1)
    created_by = models.ForeignKey("hospitals.Membership", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    status = models.CharField(max_length=10, choices=RecordStatus.choices, default=RecordStatus.ACTIVE)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        "hospitals.Membership", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    erased_at = models.DateTimeField(null=True, blank=True)
    erased_ground = models.CharField(max_length=200, blank=True, default="")

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["patient", "-created_at"], name="records_record_timeline"),
            models.Index(fields=["hospital", "-created_at"], name="records_record_recent"),
        ]

    def __str__(self) -> str:
        return f"record {self.id}"


class RecordVersion(TenantModel):
    """What an author signed. Never changed: a re-key adds an epoch, a correction adds a version."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    record = models.ForeignKey(Record, on_delete=models.PROTECT, related_name="versions")
    number = models.IntegerField()
    author = models.ForeignKey("hospitals.Membership", on_delete=models.PROTECT, related_name="+")
    author_kid = Bytes32Field()
    authored_manifest = models.TextField()
    authored_signature = models.BinaryField()
    authored_digest = Bytes32Field()
    chains = models.CharField(max_length=4, choices=Chains.choices)
    epoch = models.IntegerField(default=1)
    size = models.BigIntegerField()
    state = models.CharField(max_length=12, choices=VersionState.choices, default=VersionState.SEALED)
    created_at = models.DateTimeField(default=timezone.now)
    final_at = models.DateTimeField(null=True, blank=True)
    superseded_at = models.DateTimeField(null=True, blank=True)
    # Set when the anchor envelope also goes to RecordStore on MEDchain.
    store_ref = models.CharField(max_length=64, blank=True, default="")
    # A revoke asks for a new data key; the row remembers until a worker has made one.
    rekey_requested_at = models.DateTimeField(null=True, blank=True)
    rekey_claimed_by = models.UUIDField(null=True, blank=True)
    rekey_claimed_until = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["record", "number"], name="records_version_number")]
        indexes = [
            models.Index(
                fields=["rekey_requested_at"],
                condition=Q(rekey_requested_at__isnull=False),
                name="records_version_rekey",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.record_id} v{self.number}"


class Epoch(TenantModel):
    """One encryption of a version under one data key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(RecordVersion, on_delete=models.PROTECT, related_name="epochs")
    number = models.IntegerField()
    suite = models.SmallIntegerField(default=1)
    payload_blob = models.CharField(max_length=64, blank=True, default="")
    meta_sealed = models.BinaryField(null=True, blank=True)
    header = models.BinaryField()
    ciphertext_digest = Bytes32Field()
    ciphertext_size = models.BigIntegerField()
    manifest = models.TextField()
    signature = models.BinaryField()
    signer_kid = Bytes32Field()
    leaf_salt = Bytes32Field(null=True, blank=True)
    leaf = Bytes32Field(db_index=True)
    reason = models.CharField(max_length=20, default="sealed")
    created_at = models.DateTimeField(default=timezone.now)
    # When the bytes of an older epoch were destroyed.
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["version", "number"], name="records_epoch_number")]
        indexes = [models.Index(fields=["payload_blob"], name="records_epoch_blob")]

    def __str__(self) -> str:
        return f"{self.version_id} e{self.number}"


class Anchor(TenantModel):
    """The leaf of an epoch on one chain."""

    epoch = models.ForeignKey(Epoch, on_delete=models.PROTECT, related_name="anchors")
    chain = models.CharField(max_length=8, choices=[("SUP", "SUPchain"), ("MED", "MEDchain")])
    ref = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=10, choices=AnchorState.choices, default=AnchorState.QUEUED)
    tx_hash = Bytes32Field(null=True, blank=True)
    block_number = models.BigIntegerField(null=True, blank=True)
    block_time = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["epoch", "chain"], name="records_anchor_chain")]
        indexes = [
            models.Index(fields=["chain", "created_at"], condition=~Q(state="final"), name="records_anchor_open"),
        ]

    def __str__(self) -> str:
        return f"{self.epoch_id} {self.chain} {self.state}"


class AccessGrant(TenantModel):
    """A patient's consent: signed terms, recorded on MEDchain as a digest that tells nothing."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    patient = models.ForeignKey("hospitals.Patient", on_delete=models.PROTECT, related_name="grants")
    grantee_membership = models.ForeignKey(
        "hospitals.Membership", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    grantee_organisation = models.ForeignKey("hospitals.Organisation", on_delete=models.PROTECT, related_name="+")
    scope_type = models.CharField(max_length=10, choices=ScopeType.choices)
    # A category name, or the id of a record; empty for everything.
    scope_value = models.CharField(max_length=40, blank=True, default="")
    purpose = models.CharField(max_length=10, choices=Purpose.choices)
    not_before = models.DateTimeField()
    expires_at = models.DateTimeField()
    statement_sealed = models.BinaryField()
    opening_sealed = models.BinaryField()
    digest = Bytes32Field(unique=True)
    signature = models.BinaryField()
    revocation_lock = models.BinaryField()
    revocation_secret_sealed = models.BinaryField()
    state = models.CharField(max_length=10, choices=GrantState.choices, default=GrantState.PENDING)
    record_ref = models.CharField(max_length=64, unique=True)
    revoke_ref = models.CharField(max_length=64, blank=True, default="")
    recorded_tx_hash = Bytes32Field(null=True, blank=True)
    revoked_tx_hash = Bytes32Field(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    active_at = models.DateTimeField(null=True, blank=True)
    # When every record in scope had its key wrapped for the grantee.
    wrapped_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(expires_at__gt=F("not_before")), name="records_grant_period"),
            models.CheckConstraint(
                condition=Q(scope_type="all", scope_value="") | (~Q(scope_type="all") & ~Q(scope_value="")),
                name="records_grant_scope",
            ),
        ]
        indexes = [
            models.Index(fields=["patient", "-created_at"], name="records_grant_patient"),
            models.Index(fields=["grantee_membership", "state"], name="records_grant_member"),
            models.Index(fields=["grantee_organisation", "state"], name="records_grant_org"),
        ]

    def __str__(self) -> str:
        return f"grant {self.id}"


class Wrap(TenantModel):
    """The data key of one epoch, sealed to one reader's public key."""

    epoch = models.ForeignKey(Epoch, on_delete=models.CASCADE, related_name="wraps")
    recipient_kid = Bytes32Field()
    grant = models.ForeignKey(AccessGrant, null=True, blank=True, on_delete=models.PROTECT, related_name="wraps")
    blob = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["epoch", "recipient_kid", "grant"], name="records_wrap_grant"),
            models.UniqueConstraint(
                fields=["epoch", "recipient_kid"], condition=Q(grant__isnull=True), name="records_wrap_own"
            ),
        ]

    def __str__(self) -> str:
        return f"wrap {self.pk}"


class Restriction(TenantModel):
    """What a patient hides from the hospital's own staff. Nobody but the patient can see that it exists."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    patient = models.ForeignKey("hospitals.Patient", on_delete=models.PROTECT, related_name="restrictions")
    scope_type = models.CharField(max_length=10, choices=ScopeType.choices)
    scope_value = models.CharField(max_length=40, blank=True, default="")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["patient"], condition=Q(lifted_at__isnull=True), name="records_restriction_live")
        ]

    def __str__(self) -> str:
        return f"restriction {self.id}"


class StorageUsage(TenantModel):
    """Bytes a hospital keeps; one row, so that parallel uploads cannot pass the quota together."""

    used_bytes = models.BigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["hospital"], name="records_usage_hospital")]

    def __str__(self) -> str:
        return f"{self.used_bytes} bytes"
