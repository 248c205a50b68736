"""manage.py watch: raises and ends alarms, for ever or once."""

import logging
import signal
import threading

from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections

from chain.conf import conf
from portal.watch import Watch

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Looks after every part, both chains and the files; writes down which alarm began and which ended."

    def add_arguments(self, parser):
        parser.add_argument("--once", action="store_true", help="one round; print what needs attention")

    def handle(self, *, once, **options):
        watch, stop = Watch(), threading.Event()
        if once:
            for alarm in watch.turn():
                self.stdout.write(f"{alarm.code} {alarm.chain or '-'}: {alarm.message}")
            return
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: stop.set())
        # After a start of everything the other parts need a moment before their first sign of life.
        stop.wait(conf().beat_seconds)
        while not stop.is_set():
            close_old_connections()
            try:
                watch.turn()
            except DatabaseError as error:
                log.warning("the watch waits: %s", type(error).__name__)
            stop.wait(conf().beat_seconds)
