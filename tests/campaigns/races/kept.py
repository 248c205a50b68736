"""What a reader may have kept before the revoke, tried on everything that is stored afterwards."""

import hashlib
from dataclasses import dataclass

from chain.models import OutboxItem
from hospitals import keyring
from hospitals.errors import KeyUnavailable
from hospitals.tenancy import all_tenants
from records import crypto, keys, receipts
from records.models import AccessGrant, Epoch, GrantState, RecordVersion, Wrap
from records.storage import blob_store
from records.verification.nightly import hospital_verify
from tests.campaigns.races.arena import Broken, Violation


@dataclass(frozen=True)
class Kept:
    """A data key and the wrap it came in, from the time when both were the reader's by right."""

    grant_id: object
    kid: bytes
    wrap: bytes
    dek: bytes


def keep(grant):
    """Everything that this grantee can open now."""
    found = []
    with all_tenants("races"):
        for wrap in Wrap.objects.filter(grant=grant).select_related("epoch__version__record"):
            version = wrap.epoch.version
            place = keys.place_of(version.record, version.number, wrap.epoch.number)
            kid, blob = bytes(wrap.recipient_kid), bytes(wrap.blob)
            found.append(Kept(grant.pk, kid, blob, keyring.unwrap(kid, blob, place.wrap_info(kid, grant.pk))))
    return found


def wraps_check(grants):
    """No wrap outlives its grant, and what the grantee could open has a newer key or waits for one."""
    with all_tenants("races"):
        left = Wrap.objects.filter(grant__in=grants).exclude(grant__state=GrantState.ACTIVE).count()
    if left:
        raise Violation(f"{left} wraps of stopped consents are still there")


def store_check(kept, hospital):
    """Tries every kept key and wrap on every stored byte, under the name of every epoch there ever was."""
    with all_tenants("races"):
        epochs = list(Epoch.objects.select_related("version__record").order_by("created_at"))
        places = [keys.place_of(e.version.record, e.version.number, e.number) for e in epochs]
        metas = [bytes(e.meta_sealed) for e in epochs if e.meta_sealed]
        _wraps_open_nothing_new(kept, [e for e in epochs if e.payload_blob])
        blobs = [address for address, _ in blob_store().addresses()]
        if not kept or not blobs or not metas:
            raise Broken("there was nothing to try")
        for address in blobs:
            _try(kept, places, crypto.PAYLOAD, address, _payload_opens)
        for meta in metas:
            _try(kept, places, crypto.META, meta, _meta_opens)
        _signatures_check(hospital)
    return len(kept) * (len(blobs) + len(metas)) * len(places)


def _try(kept, places, part, sealed, opens):
    for one in kept:
        for place in places:
            if opens(one.dek, place.context(part), sealed):
                raise Violation(f"a data key kept from before the revoke opens {part.decode()} of epoch {place.epoch}")


def _payload_opens(dek, context, address):
    blob = blob_store().open(address)
    try:
        crypto.RangeReader(blob.read_at, blob.size, crypto.subkey(dek, crypto.PAYLOAD), context)
    except crypto.Unauthentic:
        return False
    finally:
        blob.close()
    return True


def _meta_opens(dek, context, sealed):
    try:
        crypto.meta_open(dek, context, sealed)
    except crypto.Unauthentic:
        return False
    return True


def _wraps_open_nothing_new(kept, living):
    """The wrap itself, opened with the reader's own private key, under the name of every epoch that has bytes."""
    for one in kept:
        for epoch in living:
            place = keys.place_of(epoch.version.record, epoch.version.number, epoch.number)
            try:
                keyring.unwrap(one.kid, one.wrap, place.wrap_info(one.kid, one.grant_id))
            except KeyUnavailable:
                continue
            raise Violation(f"a wrap kept from before the revoke opens epoch {epoch.number}")


def _signatures_check(hospital):
    """The clinician's and the hospital's signatures hold, by one library and by the other."""
    second = hospital_verify(hospital)
    if second.faults or not second.checked:
        raise Violation(f"the second library disagrees: {second.faults[:2]}")
    for version in RecordVersion.objects.filter(hospital=hospital):
        if not receipts.manifests_verify(version, Epoch.objects.get(version=version, number=version.epoch)):
            raise Violation("a signature no longer verifies")


def contents_check(contents):
    """Content and the author's commitment are what they were before any new key: {version: plaintext}."""
    with all_tenants("races"):
        for pk, content in contents.items():
            version = RecordVersion.objects.select_related("record", "hospital").get(pk=pk)
            epoch = Epoch.objects.get(version=version, number=version.epoch)
            place = keys.place_of(version.record, version.number, epoch.number)
            dek = keys.dek_open(epoch, place, version.hospital)
            meta = crypto.meta_open(dek, place.context(crypto.META), bytes(epoch.meta_sealed))
            commitment = crypto.plaintext_commitment(bytes.fromhex(meta["salt32"]), hashlib.sha256(content).digest())
            if crypto.manifest_load(version.authored_manifest.encode())["pt_commit"] != commitment.hex():
                raise Violation("what the author signed is no longer the content")
            blob = blob_store().open(epoch.payload_blob)
            try:
                reader = crypto.RangeReader(
                    blob.read_at, blob.size, crypto.subkey(dek, crypto.PAYLOAD), place.context(crypto.PAYLOAD)
                )
                if reader.read(0, reader.size) != content:
                    raise Violation("the content changed on its way to a new key")
            finally:
                blob.close()


def stand_again(grants):
    """The same consents as if never stopped; the contract was not told of it."""
    with all_tenants("races"):
        AccessGrant.objects.filter(pk__in=grants).update(
            state=GrantState.ACTIVE, revoked_at=None, revoke_ref="", wrapped_at=None
        )
        OutboxItem.objects.filter(ref__in=[f"revoke:{pk.hex}" for pk in grants]).delete()
