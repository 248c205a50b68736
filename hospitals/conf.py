"""Settings of this app, from the HOSPITALS dict."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True)
class Conf:
    root: str = "file"  # file | env
    root_key_file: Path | None = None
    root_key: str = ""
    activation_seconds: int = 7 * 86400
    token_days: int = 90
    token_days_max: int = 365
    # Sent to an admitted organisation's account on a chain where gas costs something.
    funding_wei: int = 5 * 10**18
    funding_minimum_wei: int = 10**18
    evidence_bytes_max: int = 10 * 1024 * 1024
    registration_deadline_seconds: int = 7 * 86400
    search_rows_max: int = 25
    # How often a hospital's log is looked over, and how often the ends of all patients' lines are anchored.
    log_check_seconds: int = 900
    log_map_seconds: int = 600
    # A demo on one machine may let the regulator in with a one-time code.
    regulator_needs_passkey: bool = True

    @property
    def root_path(self) -> Path:
        return self.root_key_file or Path(settings.PORTAL_STATE) / "keys" / "root.key"


_cache: tuple[int, Conf] | None = None


def conf() -> Conf:
    """Built once for each settings dict; an override in a test gives a new one."""
    global _cache
    values: dict[str, Any] = settings.HOSPITALS
    if _cache is None or _cache[0] != id(values):
        unknown = set(values) - {field.name for field in fields(Conf)}
        if unknown:
            raise ImproperlyConfigured(f"HOSPITALS has unknown keys: {', '.join(sorted(unknown))}")
        _cache = (id(values), Conf(**values))
    return _cache[1]
