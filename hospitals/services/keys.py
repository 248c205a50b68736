"""Rotation of an organisation's keys."""

from django.db import transaction

from hospitals import audit, keyring
from hospitals.actors import Actor
from hospitals.models import Organisation
from hospitals.types import KeyPurpose


def organisation_keys_rotate(*, actor: Actor, organisation: Organisation) -> list[str]:
    """New wrap and sign keys, published with the end of the old ones; their kids. The chain account stays."""
    with transaction.atomic():
        pairs = [keyring.key_rotate(organisation, purpose) for purpose in (KeyPurpose.WRAP, KeyPurpose.SIGN)]
        if organisation.is_active:
            keyring.directory_end(organisation, [old for old, _ in pairs])
            keyring.directory_publish(organisation)
        kids = [bytes(new.kid).hex() for _, new in pairs]
        audit.append(hospital=organisation, actor=actor, action="keys.rotated", detail={"kids": kids})
    return kids
