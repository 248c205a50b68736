"""Misconfiguration found before the first request. Each check has an id and says what to do."""

import sys

from django.conf import settings
from django.core.checks import Error, Tags, register
from eth_keys.backends import CoinCurveECCBackend, get_backend_class

SEALING_HANDLER = "records.ingest.SealingUploadHandler"


@register(Tags.security)
def uploads_are_sealed(app_configs, **kwargs):
    if settings.FILE_UPLOAD_HANDLERS == [SEALING_HANDLER]:
        return []
    hint = f"FILE_UPLOAD_HANDLERS must hold {SEALING_HANDLER} and nothing else."
    return [Error("Uploads could reach the disk unsealed.", hint=hint, id="portal.E001")]


@register(Tags.compatibility)
def python_is_supported(app_configs, **kwargs):
    if sys.version_info[:2] == (3, 11):
        return []
    return [Error("The packages are pinned for Python 3.11.", hint="Run with Python 3.11.", id="portal.E002")]


@register(Tags.security)
def signer_is_native(app_configs, **kwargs):
    if get_backend_class() is CoinCurveECCBackend:
        return []
    return [Error("Transactions would be signed in pure Python.", hint="Install coincurve.", id="portal.E003")]
