import uuid

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import chain.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("tx_hash", chain.fields.Bytes32Field(unique=True)),
                ("raw", models.BinaryField()),
                ("max_fee", models.DecimalField(decimal_places=0, max_digits=78)),
                (
                    "priority_fee",
                    models.DecimalField(decimal_places=0, default=0, max_digits=78),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="ChainState",
            fields=[
                (
                    "name",
                    models.CharField(
                        choices=[("SUP", "SUPchain"), ("MED", "MEDchain")],
                        max_length=8,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("chain_id", models.BigIntegerField()),
                ("genesis_hash", chain.fields.Bytes32Field()),
                ("head", models.BigIntegerField(default=0)),
                ("finalized", models.BigIntegerField(default=-1)),
                ("cursor_number", models.BigIntegerField(default=-1)),
                ("cursor_hash", chain.fields.Bytes32Field(blank=True, null=True)),
                ("fence", models.BigIntegerField(default=0)),
                ("halted_reason", models.TextField(blank=True, default="")),
                ("gaps", models.JSONField(blank=True, default=list)),
                ("last_fork_number", models.BigIntegerField(blank=True, null=True)),
                ("last_fork_depth", models.IntegerField(blank=True, null=True)),
                ("last_fork_at", models.DateTimeField(blank=True, null=True)),
                ("checked_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Lease",
            fields=[
                (
                    "name",
                    models.CharField(max_length=60, primary_key=True, serialize=False),
                ),
                ("holder", models.CharField(blank=True, default="", max_length=80)),
                ("fence", models.BigIntegerField(default=0)),
                ("expires_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Account",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "chain",
                    models.CharField(choices=[("SUP", "SUPchain"), ("MED", "MEDchain")], max_length=8),
                ),
                ("address", chain.fields.AddressField()),
                ("next_account_nonce", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("chain", "address"), name="chain_account_address")],
            },
        ),
        migrations.CreateModel(
            name="Block",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "chain",
                    models.CharField(choices=[("SUP", "SUPchain"), ("MED", "MEDchain")], max_length=8),
                ),
                ("hash", chain.fields.Bytes32Field()),
                ("number", models.BigIntegerField()),
                ("parent_hash", chain.fields.Bytes32Field()),
                ("timestamp", models.DateTimeField()),
                ("is_canonical", models.BooleanField(default=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("chain", "hash"), name="chain_block_hash"),
                    models.UniqueConstraint(
                        condition=models.Q(("is_canonical", True)),
                        fields=("chain", "number"),
                        name="chain_block_canonical_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ChainEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "chain",
                    models.CharField(choices=[("SUP", "SUPchain"), ("MED", "MEDchain")], max_length=8),
                ),
                ("block_hash", chain.fields.Bytes32Field()),
                ("block_number", models.BigIntegerField()),
                ("block_time", models.DateTimeField()),
                ("tx_hash", chain.fields.Bytes32Field()),
                ("log_index", models.IntegerField()),
                ("address", chain.fields.AddressField()),
                ("contract", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=60)),
                ("args", models.JSONField()),
                ("is_canonical", models.BooleanField(default=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("is_canonical", True)),
                        fields=["chain", "block_number", "log_index"],
                        name="chain_event_canonical",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("chain", "block_hash", "log_index"),
                        name="chain_event_place",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ProjectorCursor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("name", models.CharField(max_length=60)),
                (
                    "chain",
                    models.CharField(choices=[("SUP", "SUPchain"), ("MED", "MEDchain")], max_length=8),
                ),
                ("block_number", models.BigIntegerField(default=-1)),
                ("log_index", models.IntegerField(default=-1)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("name", "chain"), name="chain_projector")],
            },
        ),
        migrations.CreateModel(
            name="Transaction",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "chain",
                    models.CharField(choices=[("SUP", "SUPchain"), ("MED", "MEDchain")], max_length=8),
                ),
                ("sender", chain.fields.AddressField()),
                ("account_nonce", models.BigIntegerField()),
                (
                    "lane",
                    models.CharField(
                        choices=[
                            ("anchor", "Anchor"),
                            ("access", "Access log"),
                            ("consent", "Consent"),
                            ("call", "Call"),
                            ("transfer", "Transfer"),
                        ],
                        max_length=10,
                    ),
                ),
                ("to", chain.fields.AddressField()),
                (
                    "value",
                    models.DecimalField(decimal_places=0, default=0, max_digits=78),
                ),
                ("data", models.BinaryField(default=b"")),
                ("gas_limit", models.BigIntegerField()),
                ("root", chain.fields.Bytes32Field(blank=True, null=True)),
                ("kind", models.CharField(blank=True, default="", max_length=20)),
                ("first_seq", models.BigIntegerField(blank=True, null=True)),
                ("count", models.IntegerField(default=1)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("broadcast", "Broadcast"),
                            ("mined", "Mined"),
                            ("final", "Final"),
                            ("failed", "Reverted"),
                            ("dropped", "Dropped"),
                        ],
                        default="broadcast",
                        max_length=10,
                    ),
                ),
                ("block_number", models.BigIntegerField(blank=True, null=True)),
                ("block_hash", chain.fields.Bytes32Field(blank=True, null=True)),
                ("block_time", models.DateTimeField(blank=True, null=True)),
                ("is_reverted", models.BooleanField(default=False)),
                ("error", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("final_at", models.DateTimeField(blank=True, null=True)),
                (
                    "mined_attempt",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="chain.attempt",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["broadcast", "mined"])),
                        fields=["chain", "sender", "account_nonce"],
                        name="chain_transaction_open",
                    ),
                    models.Index(fields=["chain", "block_number"], name="chain_transaction_block"),
                    models.Index(
                        condition=models.Q(("root__isnull", False)),
                        fields=["chain", "root"],
                        name="chain_transaction_root",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "dropped"), _negated=True),
                        fields=("chain", "sender", "account_nonce"),
                        name="chain_transaction_nonce",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OutboxItem",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "chain",
                    models.CharField(choices=[("SUP", "SUPchain"), ("MED", "MEDchain")], max_length=8),
                ),
                ("sender", chain.fields.AddressField()),
                (
                    "lane",
                    models.CharField(
                        choices=[
                            ("anchor", "Anchor"),
                            ("access", "Access log"),
                            ("consent", "Consent"),
                            ("call", "Call"),
                            ("transfer", "Transfer"),
                        ],
                        max_length=10,
                    ),
                ),
                ("ref", models.CharField(max_length=64, unique=True)),
                ("leaf", chain.fields.Bytes32Field(blank=True, null=True)),
                ("payload", models.JSONField(blank=True, default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("broadcast", "Broadcast"),
                            ("mined", "Mined"),
                            ("final", "Final"),
                            ("failed", "Failed"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("leaf_index", models.IntegerField(blank=True, null=True)),
                ("error", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("retry_at", models.DateTimeField(blank=True, null=True)),
                (
                    "transaction",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="items",
                        to="chain.transaction",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "queued")),
                        fields=["chain", "sender", "lane", "created_at"],
                        name="chain_item_queue",
                    ),
                    models.Index(condition=models.Q(("lane", "anchor")), fields=["leaf"], name="chain_item_leaf"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["queued", "failed"]),
                            ("transaction__isnull", False),
                            _connector="OR",
                        ),
                        name="chain_item_in_flight_has_transaction",
                    ),
                    models.UniqueConstraint(fields=("transaction", "leaf_index"), name="chain_item_leaf_index"),
                ],
            },
        ),
        migrations.AddField(
            model_name="attempt",
            name="transaction",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="attempts",
                to="chain.transaction",
            ),
        ),
    ]
