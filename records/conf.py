"""The knobs of this app, from the RECORDS setting. Unknown keys raise."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

GIB = 1 << 30


@dataclass(frozen=True)
class Conf:
    blob_dir: Path
    upload_max_bytes: int = 5 * GIB
    hospital_quota_bytes: int = 500 * GIB
    # A name longer than this cannot be kept by any file system the patient may export to.
    name_max_bytes: int = 255
    # A worker renews its claim while it seals; what a killed one left is taken over after this time.
    claim_seconds: int = 45
    attempts_max: int = 5
    orphan_minutes: int = 60
    # How often every row's file is looked for, and how long an upload may wait for a worker before somebody is told.
    blob_check_seconds: int = 600
    upload_wait_seconds: int = 600
    quarantine_days: int = 30
    share_days_default: int = 30
    share_days_max: int = 366
    # With MEDchain silent, own patients' records stay readable from the last final index for this long.
    stale_index_seconds: int = 24 * 3600
    # A running download looks again whether its grant still stands after this many bytes or this long ...
    recheck_bytes: int = 8 << 20
    recheck_seconds: float = 1.0
    # ... and asks the whole question again, the contract's part too; a chain that is silent then is borne this long.
    reask_seconds: float = 10.0
    reask_seconds_max: float = 30.0
    # Records up to this size may also leave their anchor envelope in RecordStore on MEDchain.
    record_store_max_bytes: int = 64 << 10
    is_record_store_enabled: bool = False
    inflate_ratio_max: int = 100
    inflate_bytes_max: int = 1 * GIB
    inflate_entries_max: int = 10_000
    pixels_max: int = 200_000_000


def conf() -> Conf:
    return _build(settings.PORTAL_STATE, tuple(sorted(settings.RECORDS.items())))


@lru_cache(maxsize=8)
def _build(state: Path, items: tuple) -> Conf:
    unknown = {name for name, _ in items} - {field.name for field in fields(Conf)}
    if unknown:
        raise ImproperlyConfigured(f"RECORDS has unknown keys: {', '.join(sorted(unknown))}.")
    values = dict(items)
    values["blob_dir"] = Path(values.get("blob_dir", Path(state) / "blobs"))
    return Conf(**values)
