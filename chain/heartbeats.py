"""Signs of life in the database, where they outlive the process, the broker and the cache that they are about."""

import logging
import socket
import time
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.db.models import Max
from django.db.models.functions import Now
from django.utils import timezone

from chain.conf import conf
from chain.models import Heartbeat
from chain.types import Alarm

log = logging.getLogger(__name__)
STANDS_BY, STOPPED = "waits for the lease", "stopped for safety"  # notes that are not the name of an error
KEPT = timedelta(days=1)  # a place that has been silent for longer is not coming back


class Pulse:
    """Called at every turn of a loop; writes every few seconds, and at once when the note changes."""

    def __init__(self, part: str, instance: str = "") -> None:
        self.part = part
        self.instance = instance or socket.gethostname()[:80]
        self._due = 0.0
        self._note = ""

    def beat(self, note: str = "") -> None:
        """`note` names what keeps the part from its work, by a type and never by a content."""
        if time.monotonic() < self._due and note == self._note:
            return
        try:
            heartbeat_write(part=self.part, instance=self.instance, note=note)
        except DatabaseError as error:  # the work itself will say so louder
            log.warning("no heartbeat part=%s: %s", self.part, type(error).__name__)
            return
        self._due, self._note = time.monotonic() + conf().beat_seconds, note


def heartbeat_write(*, part: str, instance: str, note: str = "") -> None:
    # The database's clock: machines with different clocks must not look dead to each other.
    Heartbeat.objects.bulk_create(
        [Heartbeat(part=part, instance=instance, at=Now(), note=note[:60])],
        update_conflicts=True,
        unique_fields=["part", "instance"],
        update_fields=["at", "note"],
    )


def heartbeats_forget() -> int:
    """Drops places that are gone for good, so that a host that was taken down is not listed for ever."""
    return Heartbeat.objects.filter(at__lt=timezone.now() - KEPT).delete()[0]


def last_beats() -> dict[str, datetime]:
    """The newest sign of life of every part, wherever it runs."""
    return dict(Heartbeat.objects.order_by().values_list("part").annotate(Max("at")))


def is_alive(part: str) -> bool:
    return Heartbeat.objects.filter(part=part, at__gte=timezone.now() - timedelta(seconds=conf().dead_seconds)).exists()


def part_alarms(parts: dict[str, str]) -> list[Alarm]:
    """`{part: code}`: an alarm for each part that nobody has heard of lately. One living place is enough."""
    beats, now = last_beats(), timezone.now()
    found = []
    for part, code in parts.items():
        name, _, chain = part.partition(":")
        at = beats.get(part)
        if at is None:
            found.append(Alarm(code, chain, f"The {name} has never been at work."))
        elif now - at > timedelta(seconds=conf().dead_seconds):
            found.append(Alarm(code, chain, f"The {name} was last at work at {at:%H:%M:%S} UTC on {at:%d.%m.%Y}."))
    return found
