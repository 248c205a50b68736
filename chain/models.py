"""What the two chains said, and what we asked of them. Nothing here knows a patient."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from chain.fields import AddressField, Bytes32Field


class ChainName(models.TextChoices):
    SUP = "SUP", "SUPchain"
    MED = "MED", "MEDchain"


class Lane(models.TextChoices):
    ANCHOR = "anchor", "Anchor"
    ACCESS = "access", "Access log"
    CONSENT = "consent", "Consent"
    CALL = "call", "Call"
    TRANSFER = "transfer", "Transfer"


class ItemState(models.TextChoices):
    QUEUED = "queued", "Queued"
    BROADCAST = "broadcast", "Broadcast"
    MINED = "mined", "Mined"
    FINAL = "final", "Final"
    FAILED = "failed", "Failed"


class TransactionState(models.TextChoices):
    BROADCAST = "broadcast", "Broadcast"
    MINED = "mined", "Mined"
    FINAL = "final", "Final"
    FAILED = "failed", "Reverted"
    DROPPED = "dropped", "Dropped"


def _chain_field() -> models.CharField:
    return models.CharField(max_length=8, choices=ChainName.choices)


class ChainState(models.Model):
    """Where the index of one chain stands; the cursor moves only together with the events."""

    name = models.CharField(max_length=8, choices=ChainName.choices, primary_key=True)
    chain_id = models.BigIntegerField()
    genesis_hash = Bytes32Field()
    head = models.BigIntegerField(default=0)
    finalized = models.BigIntegerField(default=-1)
    cursor_number = models.BigIntegerField(default=-1)
    cursor_hash = Bytes32Field(null=True, blank=True)
    fence = models.BigIntegerField(default=0)
    halted_reason = models.TextField(blank=True, default="")
    gaps = models.JSONField(default=list, blank=True)
    last_fork_number = models.BigIntegerField(null=True, blank=True)
    last_fork_depth = models.IntegerField(null=True, blank=True)
    last_fork_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} at {self.cursor_number}"


class Block(models.Model):
    """A header by its hash. Two blocks may share a number; only one of them is canonical."""

    chain = _chain_field()
    hash = Bytes32Field()
    number = models.BigIntegerField()
    parent_hash = Bytes32Field()
    timestamp = models.DateTimeField()
    is_canonical = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain", "hash"], name="chain_block_hash"),
            models.UniqueConstraint(
                fields=["chain", "number"],
                condition=Q(is_canonical=True),
                name="chain_block_canonical_number",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.chain} {self.number}"


class ChainEvent(models.Model):
    """A decoded log. Never deleted: a block that left the chain only loses `is_canonical`."""

    chain = _chain_field()
    block_hash = Bytes32Field()
    block_number = models.BigIntegerField()
    block_time = models.DateTimeField()
    tx_hash = Bytes32Field()
    log_index = models.IntegerField()
    address = AddressField()
    contract = models.CharField(max_length=40)
    name = models.CharField(max_length=60)
    args = models.JSONField()
    is_canonical = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain", "block_hash", "log_index"], name="chain_event_place"),
        ]
        indexes = [
            models.Index(
                fields=["chain", "block_number", "log_index"],
                condition=Q(is_canonical=True),
                name="chain_event_canonical",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.contract}.{self.name} {self.chain} {self.block_number}/{self.log_index}"


class ProjectorCursor(models.Model):
    """The last final event one projector has applied."""

    name = models.CharField(max_length=60)
    chain = _chain_field()
    block_number = models.BigIntegerField(default=-1)
    log_index = models.IntegerField(default=-1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "chain"], name="chain_projector")]

    def __str__(self) -> str:
        return f"{self.name} {self.chain} {self.block_number}/{self.log_index}"


class Lease(models.Model):
    """Who may do a job now. The fence grows with every new holder, so a late one is refused."""

    name = models.CharField(max_length=60, primary_key=True)
    holder = models.CharField(max_length=80, blank=True, default="")
    fence = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} #{self.fence}"


class Heartbeat(models.Model):
    """When a part of the portal last said that it is at work. One row for each place where the part runs."""

    part = models.CharField(max_length=40)
    instance = models.CharField(max_length=80)
    at = models.DateTimeField()
    note = models.CharField(max_length=60, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["part", "instance"], name="chain_heartbeat_place")]

    def __str__(self) -> str:
        return f"{self.part} on {self.instance}"


class Account(models.Model):
    """A sending account; its next nonce is taken only in the commit that stores signed bytes."""

    chain = _chain_field()
    address = AddressField()
    next_account_nonce = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain", "address"], name="chain_account_address")]

    def __str__(self) -> str:
        return f"{self.chain} 0x{bytes(self.address).hex()}"


class Transaction(models.Model):
    """One account nonce spent. Its attempts differ only in fees; any of them may be the mined one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    chain = _chain_field()
    sender = AddressField()
    account_nonce = models.BigIntegerField()
    lane = models.CharField(max_length=10, choices=Lane.choices)
    to = AddressField()
    value = models.DecimalField(max_digits=78, decimal_places=0, default=0)
    data = models.BinaryField(default=b"")
    gas_limit = models.BigIntegerField()
    root = Bytes32Field(null=True, blank=True)
    kind = models.CharField(max_length=20, blank=True, default="")
    first_seq = models.BigIntegerField(null=True, blank=True)
    count = models.IntegerField(default=1)
    state = models.CharField(
        max_length=10,
        choices=TransactionState.choices,
        default=TransactionState.BROADCAST,
    )
    mined_attempt = models.ForeignKey(
        "chain.Attempt",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    block_number = models.BigIntegerField(null=True, blank=True)
    block_hash = Bytes32Field(null=True, blank=True)
    block_time = models.DateTimeField(null=True, blank=True)
    is_reverted = models.BooleanField(default=False)
    error = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    final_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chain", "sender", "account_nonce"],
                condition=~Q(state=TransactionState.DROPPED),
                name="chain_transaction_nonce",
            ),
        ]
        indexes = [
            models.Index(
                fields=["chain", "sender", "account_nonce"],
                condition=Q(state__in=["broadcast", "mined"]),
                name="chain_transaction_open",
            ),
            models.Index(fields=["chain", "block_number"], name="chain_transaction_block"),
            models.Index(fields=["chain", "root"], condition=Q(root__isnull=False), name="chain_transaction_root"),
        ]

    def __str__(self) -> str:
        return f"{self.chain} {self.lane} nonce {self.account_nonce}"


class Attempt(models.Model):
    """Signed bytes, stored before their first send; a fee bump adds one, never changes one."""

    transaction = models.ForeignKey(Transaction, on_delete=models.PROTECT, related_name="attempts")
    tx_hash = Bytes32Field(unique=True)
    raw = models.BinaryField()
    max_fee = models.DecimalField(max_digits=78, decimal_places=0)
    priority_fee = models.DecimalField(max_digits=78, decimal_places=0, default=0)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"0x{bytes(self.tx_hash).hex()}"


class OutboxItem(models.Model):
    """One wish towards a chain, written in the transaction of whoever wishes it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    chain = _chain_field()
    sender = AddressField()
    lane = models.CharField(max_length=10, choices=Lane.choices)
    ref = models.CharField(max_length=64, unique=True)
    leaf = Bytes32Field(null=True, blank=True)
    payload = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=10, choices=ItemState.choices, default=ItemState.QUEUED)
    transaction = models.ForeignKey(
        Transaction,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="items",
    )
    leaf_index = models.IntegerField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    retry_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["queued", "failed"]) | Q(transaction__isnull=False),
                name="chain_item_in_flight_has_transaction",
            ),
            models.UniqueConstraint(fields=["transaction", "leaf_index"], name="chain_item_leaf_index"),
        ]
        indexes = [
            models.Index(
                fields=["chain", "sender", "lane", "created_at"],
                condition=Q(state="queued"),
                name="chain_item_queue",
            ),
            models.Index(fields=["leaf"], condition=Q(lane="anchor"), name="chain_item_leaf"),
        ]

    def __str__(self) -> str:
        return f"{self.chain} {self.lane} {self.state}"


class Finding(models.Model):
    """A contradiction between the chains, or between a chain and our books. Closed when it is gone, never deleted."""

    code = models.CharField(max_length=30)
    chain = _chain_field()
    ref = models.CharField(max_length=64)
    text = models.TextField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["code", "chain", "ref"], name="chain_finding_place")]
        indexes = [
            models.Index(fields=["chain", "code"], condition=Q(cleared_at__isnull=True), name="chain_finding_open"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.chain} {self.ref}"


class CouncilReason(models.Model):
    """The words of which the chain holds only a salted digest: why a change was proposed, or stopped."""

    digest = Bytes32Field(primary_key=True)
    salt = Bytes32Field()
    text = models.CharField(max_length=1000)
    chain = _chain_field()
    proposal = Bytes32Field(null=True, blank=True)  # of a cancellation; a proposal itself carries the digest
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chain", "proposal"], condition=Q(proposal__isnull=False), name="chain_reason_proposal"
            )
        ]

    def __str__(self) -> str:
        return f"{self.chain} {self.text[:40]}"
