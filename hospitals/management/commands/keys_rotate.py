"""Rotates the keys of one organisation; with --kek, seals every private key under a new key-encryption key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hospitals import audit, keyring, services
from hospitals.actors import system_actor
from hospitals.models import Organisation
from hospitals.types import Channel


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organisation", help="the organisation's short name in addresses")
        parser.add_argument("--kek", action="store_true", help="a new key-encryption key; keys themselves stay")
        parser.add_argument("--resume", action="store_true", help="with --kek: go on with a rotation that was cut off")

    def handle(self, *, organisation: str, kek: bool, resume: bool, **options: Any) -> None:
        row = Organisation.objects.filter(slug=organisation).first()
        if row is None:
            raise CommandError(f"There is no organisation {organisation!r}.")
        actor = system_actor(Channel.COMMAND)
        if kek:
            count = keyring.kek_rotate(row, is_resumed=resume)
            audit.append(hospital=row, actor=actor, action="keys.resealed", detail={"count": count})
            self.stdout.write(f"{count} keys sealed under the new key-encryption key.")
            return
        for kid in services.organisation_keys_rotate(actor=actor, organisation=row):
            self.stdout.write(f"new key {kid}")
