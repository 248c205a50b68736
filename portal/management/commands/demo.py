"""The whole portal on this machine with two hospitals, their people and real files."""

import time

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from portal.demo import accounts
from portal.management.commands.up import stop_on_signals
from portal.processes import StackError
from portal.stack import Stack

TO_TRY = (
    "As Alice, open Pat Morgan and upload a file to MEDchain or both; watch it go from Received to Confirmed.",
    "As Pat, open “Who looked”, then share your laboratory results with Dr Dora Klein; as Dora, read one.",
    "As Pat, stop sharing; as Dora, reload: the page is closed at once. Both steps stand in Pat's log.",
    "As Reg, admit Linden Hospital, look at the chains' health, and suspend a hospital.",
    "Download a record and its receipt, open “Verify a file”, then change one byte and try again.",
)


class Command(BaseCommand):
    help = "Start everything with demo data; Ctrl-C stops it, the next start finds all data again."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--people", action="store_true", help="people only, no files")

    def handle(self, *, people=False, **options):
        begun = time.monotonic()
        stop_on_signals()
        self.stdout.write("Starting Redis, two chains, web, workers, sender and indexer ...")
        stack = Stack(say=self.stdout.write)
        try:
            with stack:
                self.stdout.write("Adding people and files ...")
                call_command("seed", people=people, stdout=self.stdout)
                self.welcome(time.monotonic() - begun)
                stack.wait()
        except StackError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            self.stdout.write("\nStopped. All data is kept; `make clean` removes it.")

    def welcome(self, seconds):
        rows = list(accounts().values())
        address = f"http://localhost:{settings.WEB_PORT}/"
        out = self.stdout.write
        out("")
        out(f"  The portal is ready after {seconds:.0f} s:  {address}")
        out(f"  API {address}api/docs/   operators {address}admin/   logs {settings.PORTAL_STATE / 'logs'}")
        out("")
        out(f"  Everybody's password: {rows[0]['password']}")
        out("  One-time codes: .venv/bin/python manage.py demo_code alice, or the secret in an authenticator app")
        out("")
        out(f"  {'who':45} {'sign in as':26} secret of the one-time codes")
        for row in rows:
            out(f"  {row['name'] + ', ' + row['role']:45.45} {row['email']:26} {row['secret'] or '-'}")
        out("")
        out("  Five things to try")
        for number, text in enumerate(TO_TRY, 1):
            out(f"  {number}. {text}")
        out("")
        out("  Ctrl-C stops everything and keeps all data.")
