"""Operators look at chain tables; nobody changes them by hand."""

from django.contrib import admin

from chain.models import (
    Account,
    Attempt,
    Block,
    ChainEvent,
    ChainState,
    Lease,
    OutboxItem,
    ProjectorCursor,
    Transaction,
)


class ReadOnlyAdmin(admin.ModelAdmin):
    show_full_result_count = False

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


class HexAdmin(ReadOnlyAdmin):
    """Shows binary columns as 0x text."""

    hex_fields: tuple[str, ...] = ()

    def get_fields(self, request, obj=None):
        plain = [f.name for f in self.model._meta.fields if f.get_internal_type() != "BinaryField"]
        return [*plain, *(f"{name}_hex" for name in self.hex_fields)]

    def get_readonly_fields(self, request, obj=None):
        return self.get_fields(request, obj)


def hex_column(name: str):
    @admin.display(description=name.replace("_", " "))
    def column(self, obj):
        value = getattr(obj, name)
        return "-" if value is None else "0x" + bytes(value).hex()

    return column


@admin.register(ChainState)
class ChainStateAdmin(HexAdmin):
    list_display = ("name", "chain_id", "head", "finalized", "cursor_number", "halted_reason", "checked_at")
    hex_fields = ("genesis_hash", "cursor_hash")
    genesis_hash_hex = hex_column("genesis_hash")
    cursor_hash_hex = hex_column("cursor_hash")


@admin.register(Block)
class BlockAdmin(HexAdmin):
    list_display = ("chain", "number", "hash_hex", "timestamp", "is_canonical")
    list_filter = ("chain", "is_canonical")
    ordering = ("-number",)
    hex_fields = ("hash", "parent_hash")
    hash_hex = hex_column("hash")
    parent_hash_hex = hex_column("parent_hash")


@admin.register(ChainEvent)
class ChainEventAdmin(HexAdmin):
    list_display = ("chain", "block_number", "log_index", "contract", "name", "is_canonical")
    list_filter = ("chain", "contract", "is_canonical")
    ordering = ("-block_number", "-log_index")
    hex_fields = ("block_hash", "tx_hash", "address")
    block_hash_hex = hex_column("block_hash")
    tx_hash_hex = hex_column("tx_hash")
    address_hex = hex_column("address")


@admin.register(OutboxItem)
class OutboxItemAdmin(HexAdmin):
    list_display = ("created_at", "chain", "lane", "state", "sender_hex", "error")
    list_filter = ("chain", "lane", "state")
    ordering = ("-created_at",)
    hex_fields = ("sender", "leaf")
    sender_hex = hex_column("sender")
    leaf_hex = hex_column("leaf")

    def get_fields(self, request, obj=None):
        # A payload may hold a secret that is public only once it is on chain.
        return [name for name in super().get_fields(request, obj) if name != "payload"]


@admin.register(Transaction)
class TransactionAdmin(HexAdmin):
    list_display = ("created_at", "chain", "lane", "state", "sender_hex", "account_nonce", "block_number", "error")
    list_filter = ("chain", "lane", "state")
    ordering = ("-created_at",)
    hex_fields = ("sender", "to", "root", "block_hash")
    sender_hex = hex_column("sender")
    to_hex = hex_column("to")
    root_hex = hex_column("root")
    block_hash_hex = hex_column("block_hash")


@admin.register(Attempt)
class AttemptAdmin(HexAdmin):
    list_display = ("created_at", "tx_hash_hex", "max_fee", "sent_at")
    hex_fields = ("tx_hash",)
    tx_hash_hex = hex_column("tx_hash")


@admin.register(Account)
class AccountAdmin(HexAdmin):
    list_display = ("chain", "address_hex", "next_account_nonce")
    hex_fields = ("address",)
    address_hex = hex_column("address")


admin.site.register(Lease, ReadOnlyAdmin)
admin.site.register(ProjectorCursor, ReadOnlyAdmin)
