"""Rows beside the access log: each patient's place in the map, the maps, and what the last check found."""

import secrets
import uuid

from django.db import models
from django.utils import timezone

from chain.fields import Bytes32Field
from hospitals.tenancy import TenantModel


def log_key_new() -> bytes:
    return secrets.token_bytes(32)


class AuditLine(TenantModel):
    """One patient's line in the map: its secret place, and where the line ended when the last map was made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    patient = models.OneToOneField("hospitals.Patient", on_delete=models.PROTECT, related_name="+")
    # Known to the patient through every export. Without it nobody can find the line or recognise its end.
    log_key = Bytes32Field(unique=True, default=log_key_new)
    count = models.PositiveBigIntegerField(default=0)
    link = Bytes32Field(default=bytes(32))
    first_map = models.PositiveBigIntegerField(null=True, blank=True)  # the number of the first map that has it

    def __str__(self) -> str:
        return f"Line of {self.count} entries"


class AuditMap(TenantModel):
    """How long each line was at one moment. Its head is anchored on both chains as kind AuditHeads."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveBigIntegerField()
    seq = models.PositiveBigIntegerField()
    link = Bytes32Field()
    lines = models.PositiveIntegerField()
    root = Bytes32Field()
    previous = Bytes32Field(default=bytes(32))
    head = Bytes32Field(unique=True)
    # (index, leaf) pairs in order, 64 bytes each; kept for the newest maps, of which exports carry proofs.
    leaves = models.BinaryField(null=True, blank=True)
    made_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantModel.Meta):
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["hospital", "number"], name="hospitals_auditmap_number")]

    def __str__(self) -> str:
        return f"Map {self.number} of {self.lines} lines"

    def ref(self, chain: str) -> str:
        return f"log-map:{self.pk.hex}:{chain}"


class AuditCheck(TenantModel):
    """What the last look over a hospital's whole log found; the alarm stands until a later look finds it whole."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    checked_at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField(default=0)
    count = models.PositiveBigIntegerField(default=0)
    is_complete = models.BooleanField(default=True)
    first_missing = models.PositiveBigIntegerField(null=True, blank=True)
    # The first of them: [{"number": 7, "kind": "changed"}]
    faults = models.JSONField(default=list, blank=True)
    anchored_count = models.PositiveBigIntegerField(default=0)
    anchored_to_block = models.BigIntegerField(null=True, blank=True)
    failed_since = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["hospital"], name="hospitals_auditcheck_one")]

    def __str__(self) -> str:
        return f"Check of {self.count} entries"
