"""The watch: a process of its own that asks broker, nodes and disks, and still speaks when what it watches is dead."""

import logging
import time
from collections.abc import Iterable

from chain import health as chain_health
from chain.conf import conf
from chain.heartbeats import Pulse, heartbeats_forget
from chain.types import Alarm
from portal import alarms, broker
from records import health as records_health
from records.conf import conf as records_conf

log = logging.getLogger(__name__)


class Watch:
    """`turn` at a steady pace. Comparing every file with its row is done only every few minutes."""

    def __init__(self) -> None:
        self.pulse = Pulse("watch")
        self._files: list[Alarm] = []
        self._files_due = 0.0

    def turn(self) -> list[Alarm]:
        # First of all: this round may take a while when a node lets us wait.
        self.pulse.beat()
        asked = [*alarms.collect("broker", broker.alarms), *self._nodes(), *self._disk()]
        found = alarms.alarms_record(asked)
        heartbeats_forget()
        return found

    def _nodes(self) -> Iterable[Alarm]:
        for chain in conf().chains:
            yield from alarms.collect(chain, lambda chain=chain: chain_health.alarms_asked(chain))
            self.pulse.beat()

    def _disk(self) -> list[Alarm]:
        if time.monotonic() >= self._files_due:
            self._files = alarms.collect("files", records_health.blob_alarms)
            self._files_due = time.monotonic() + records_conf().blob_check_seconds
        return self._files
