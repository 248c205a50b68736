"""Makes the regulator's organisation on the account that deployed the contracts, and its first person."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chain.deploying import deployer_key
from chain.errors import ChainError
from hospitals import services


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the authority")
        parser.add_argument("email", help="of the person")
        parser.add_argument("officer", help="the person's name")

    def handle(self, *, name: str, email: str, officer: str, **options: Any) -> None:
        try:
            row = services.regulator_bootstrap(name=name, email=email, account_key=deployer_key(), officer_name=officer)
        except ChainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{row.name}: {row.get_status_display().lower()}")
