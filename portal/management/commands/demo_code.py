"""The one-time code of a demo account, for people without an authenticator app at hand."""

import time

from django.core.management.base import BaseCommand, CommandError

from portal.demo import accounts
from portal.demo_client import PERIOD_SECONDS, one_time_code


class Command(BaseCommand):
    help = "Print the current one-time code of a demo account: manage.py demo_code alice"
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("who", help="a short name (alice) or an e-mail address")

    def handle(self, *, who, **options):
        known = accounts()
        account = known.get(who) or next((row for row in known.values() if row["email"] == who), None)
        if account is None:
            raise CommandError(f"There is no demo account “{who}”. Known: {', '.join(known) or 'none; run make demo'}.")
        if not account["secret"]:
            raise CommandError(f"{account['name']} signs in with the password alone.")
        self.stdout.write(one_time_code(account["secret"]))
        self.stderr.write(f"valid for {PERIOD_SECONDS - int(time.time()) % PERIOD_SECONDS} more seconds")
