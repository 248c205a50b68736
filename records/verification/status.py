"""What became of a record since its receipt was issued, asked by a leaf that only its holder knows."""

from hospitals.tenancy import all_tenants
from records.models import Epoch, RecordStatus, VersionState


def status_of_leaf(leaf: bytes) -> str:
    """current, superseded, withdrawn, erased, or unknown."""
    with all_tenants("a public check of a receipt"):
        epoch = Epoch.objects.filter(leaf=leaf).select_related("version__record").first()
        if epoch is None:
            return "unknown"
        version, record = epoch.version, epoch.version.record
    if RecordStatus.ERASED in (record.status, version.state):
        return "erased"
    if RecordStatus.WITHDRAWN in (record.status, version.state):
        return "withdrawn"
    if version.state == VersionState.SUPERSEDED or version.number < record.current_version:
        return "superseded"
    return "current"
