"""The second verification: every night another library looks again at what was signed, and both must agree."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from hospitals.models import KeyRecord, Organisation
from hospitals.tenancy import tenant
from hospitals.types import OrganisationKind
from records.models import Epoch
from records.verification.verify_receipt import Altered, signature_holds

log = logging.getLogger(__name__)
BATCH = 500


@dataclass(frozen=True)
class Fault:
    """`kind`: signature, link, leaf, or unverifiable (no key, or the two libraries disagree)."""

    epoch_id: str
    layer: str
    kind: str


@dataclass
class Result:
    checked: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.faults


def hospital_verify(hospital: Organisation, *, since: datetime | None = None) -> Result:
    """Both signatures, their link and the leaf of each encryption of this hospital, newest first."""
    result = Result()
    with tenant(hospital):
        rows = Epoch.objects.select_related("version").order_by("-created_at")
        rows = rows.filter(created_at__gte=since) if since else rows
        keys: dict[bytes, bytes] = {}
        for epoch in rows.iterator(chunk_size=BATCH):
            result.checked += 1
            result.faults += _faults(epoch, keys)
    for fault in result.faults:
        log.error("second verification: %s of %s: %s", fault.layer, fault.epoch_id, fault.kind)
    return result


def verify_all(*, since: datetime | None = None) -> Result:
    """Every hospital. Runs each night, and by `manage.py records_verify` when somebody asks."""
    total = Result()
    for hospital in Organisation.objects.filter(kind=OrganisationKind.HOSPITAL).order_by("pk"):
        found = hospital_verify(hospital, since=since)
        total.checked += found.checked
        total.faults += found.faults
    log.info("second verification: %d encryptions, %d faults", total.checked, len(total.faults))
    return total


def _faults(epoch: Epoch, keys: dict[bytes, bytes]) -> Iterator[Fault]:
    version = epoch.version
    authored, sealed = version.authored_manifest.encode(), epoch.manifest.encode()
    layers = (
        ("authored", authored, version.authored_signature, version.author_kid),
        ("epoch", sealed, epoch.signature, epoch.signer_kid),
    )
    for layer, manifest, signature, kid in layers:
        message = b"medportal/sig/v1\0" + layer.encode() + b"\0" + hashlib.sha256(manifest).digest()
        try:
            if not signature_holds(_spki(bytes(kid), keys), message, bytes(signature)):
                yield Fault(str(epoch.pk), layer, "signature")
        except Altered:
            yield Fault(str(epoch.pk), layer, "unverifiable")
    if f'"authored_digest":"{hashlib.sha256(authored).hexdigest()}"' not in epoch.manifest:
        yield Fault(str(epoch.pk), "epoch", "link")
    if epoch.leaf_salt is not None:
        leaf = hashlib.sha256(b"\0" + bytes(epoch.leaf_salt) + hashlib.sha256(sealed).digest()).digest()
        if leaf != bytes(epoch.leaf):
            yield Fault(str(epoch.pk), "epoch", "leaf")


def _spki(kid: bytes, keys: dict[bytes, bytes]) -> bytes:
    """A key that is gone or is not the one its id names verifies nothing."""
    if kid not in keys:
        spki = bytes(KeyRecord.objects.filter(pk=kid).values_list("public_key", flat=True).first() or b"")
        keys[kid] = spki if hashlib.sha256(spki).digest() == kid else b""
    return keys[kid]
