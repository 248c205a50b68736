"""What a person should look at in records: uploads that nobody works on, files that are not where they belong."""

from datetime import timedelta

from django.db.models import Min
from django.utils import timezone

from chain.types import Alarm
from hospitals.tenancy import all_tenants
from records.conf import conf
from records.errors import BlobMissing
from records.models import Epoch, Upload, UploadState
from records.storage import BlobStore, blob_store

NAMED = 3


def alarms() -> list[Alarm]:
    """What the database knows."""
    old = timezone.now() - timedelta(seconds=conf().upload_wait_seconds)
    with all_tenants("count uploads that wait"):
        waiting = Upload.objects.filter(state__in=[UploadState.RECEIVED, UploadState.SEALING], created_at__lte=old)
        count, oldest = waiting.count(), waiting.aggregate(at=Min("created_at"))["at"]
    if not count:
        return []
    return [
        Alarm(
            "uploads_waiting",
            "",
            f"Uploads that are not sealed: {count}, the oldest since {oldest:%d.%m.%Y %H:%M} UTC.",
        )
    ]


def blob_alarms() -> list[Alarm]:
    """Looks for the file of every row that names one; its content is checked when it is opened and every night."""
    store, count, wrong = blob_store(), 0, []
    with all_tenants("look for the file of every row"):
        rows = Epoch.objects.exclude(payload_blob="").order_by("created_at")
        for address, size in rows.values_list("payload_blob", "ciphertext_size").iterator():
            count += 1
            if not _is_there(store, address, size):
                wrong.append(address)
    if wrong and (wrong := _still_wrong(store, wrong)):
        names = ", ".join(wrong[:NAMED]) + (" …" if len(wrong) > NAMED else "")
        return [
            Alarm("blobs_missing", "", f"Sealed files that are missing or cut short: {len(wrong)} of {count}: {names}")
        ]
    return []


def _is_there(store: BlobStore, address: str, size: int) -> bool:
    try:
        blob = store.open(address)
    except BlobMissing:
        return False
    try:
        return blob.size == size
    finally:
        blob.close()


def _still_wrong(store: BlobStore, addresses: list[str]) -> list[str]:
    """A re-key may have retired a file while we looked."""
    with all_tenants("look again"):
        rows = Epoch.objects.filter(payload_blob__in=addresses[:1000]).values_list("payload_blob", "ciphertext_size")
        return [address for address, size in rows if not _is_there(store, address, size)]
