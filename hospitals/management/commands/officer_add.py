"""Gives a person of the regulator an account in the council: an own wallet's, or one that the portal signs for."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError
from eth_utils import is_hex_address

from chain.gateway import checksum
from hospitals import services
from hospitals.errors import HospitalsError


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("name")
        account = parser.add_mutually_exclusive_group(required=True)
        account.add_argument("--address", help="of the officer's own wallet; the portal never sees its key")
        account.add_argument("--key-file", type=Path, help="64 hex digits; the portal seals the key and signs with it")

    def handle(self, *, email: str, name: str, address: str | None, key_file: Path | None, **options: Any) -> None:
        key = self._key(key_file) if key_file else None
        if address and not is_hex_address(address):
            raise CommandError("An address is 0x and 40 hex digits.")
        given = bytes.fromhex(address.removeprefix("0x")) if address else None
        try:
            member, is_added = services.officer_add(email=email, name=name, key=key, address=given)
        except HospitalsError as error:
            raise CommandError(error.user_message) from error
        except IntegrityError:
            raise CommandError("This account belongs to somebody else already.") from None
        self.stdout.write(f"{'added' if is_added else 'there already'}: {checksum(bytes(member.chain_address))}")

    def _key(self, path: Path) -> bytes:
        try:
            key = bytes.fromhex(path.read_text().strip().removeprefix("0x"))
        except (OSError, ValueError):
            raise CommandError(f"{path.name} cannot be read as 64 hex digits.") from None
        if len(key) != 32:
            raise CommandError(f"{path.name} does not hold 64 hex digits.")
        return key
