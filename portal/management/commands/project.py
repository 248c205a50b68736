"""Applies final chain events to people, organisations and records, for ever or once."""

import logging
import signal
import threading

from django.core.management.base import BaseCommand
from django.db import OperationalError, close_old_connections

from chain.errors import ChainError
from chain.heartbeats import Pulse
from hospitals import projector as hospitals_projector
from records import projector as records_projector

log = logging.getLogger(__name__)
PAUSE_SECONDS = 0.5


class Command(BaseCommand):
    help = "Pull final chain events into the tables of hospitals and records."

    def add_arguments(self, parser):
        parser.add_argument("--once", action="store_true", help="stop when no event is left")

    def handle(self, *, once, **options):
        stop = threading.Event()
        if not once:
            for sign in (signal.SIGTERM, signal.SIGINT):
                signal.signal(sign, lambda *_: stop.set())
        pulse = Pulse("projector")
        while not stop.is_set():
            close_old_connections()
            try:
                hospitals_projector.project()
                records_projector.project_all()
                pulse.beat()
            except (ChainError, OperationalError) as error:
                if once:
                    raise
                # Nothing is lost: the cursor stands where the last event was applied.
                log.warning("projection waits: %s", type(error).__name__)
                pulse.beat(type(error).__name__)
                stop.wait(5)
            if once:
                return
            stop.wait(PAUSE_SECONDS)
