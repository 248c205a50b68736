"""Runs the whole portal on this machine until Ctrl-C."""

import signal

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.processes import StackError
from portal.stack import Stack


def stop_on_signals():
    """SIGTERM stops as Ctrl-C does; either is honoured at any moment of the start."""

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)


class Command(BaseCommand):
    help = "Start Redis, two chains, web, workers, sender and indexer; Ctrl-C stops them all. Data stays."
    requires_system_checks = []

    def handle(self, **options):
        stop_on_signals()
        stack = Stack(say=self.stdout.write)
        try:
            with stack:
                self.stdout.write(f"The portal is at http://localhost:{settings.WEB_PORT}/ (Ctrl-C stops it)")
                stack.wait()
        except StackError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            self.stdout.write("\nStopped. All data is kept.")
