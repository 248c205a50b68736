"""What the long-running commands share: checks at the start, signals, threads."""

import signal
import threading

from django.core.management.base import BaseCommand, CommandError

from chain.conf import conf
from chain.errors import ChainError, ChainMismatch
from chain.identity import verify_deployment
from chain.runner import run_until_idle, serve


class ServingCommand(BaseCommand):
    job = ""
    stepping: type

    def add_arguments(self, parser):
        parser.add_argument("--chain", choices=sorted(conf().chains), help="only this chain")
        parser.add_argument("--once", action="store_true", help="do what can be done now, then stop")

    def handle(self, *args, chain=None, once=False, **options):
        chains = [chain] if chain else list(conf().chains)
        for name in chains:
            self._verify(name)
        if once:
            for name in chains:
                try:
                    run_until_idle(self.job, name, self.stepping)
                except ChainError as error:
                    raise CommandError(str(error)) from error
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        serve(self.job, chains, self.stepping, stop)

    def _verify(self, name):
        """A wrong chain refuses the start; one that cannot be reached is waited for."""
        try:
            verify_deployment(name)
        except ChainMismatch as error:
            raise CommandError(str(error)) from error
        except ChainError as error:
            self.stderr.write(f"{name}: {error}; waiting for it")
