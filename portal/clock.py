"""Signs of life of the Celery parts: the clock at each of its ticks, the worker from a thread of its main process."""

import os
import threading
from typing import Any

from celery import bootsteps
from celery.beat import PersistentScheduler
from django.db import connection

from chain.conf import conf
from chain.heartbeats import Pulse


class BeatingScheduler(PersistentScheduler):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pulse = Pulse("beat")

    def tick(self, *args: Any, **kwargs: Any) -> float:
        self.pulse.beat()
        # The next sign of life must not wait for the next task that is due.
        return min(super().tick(*args, **kwargs), conf().beat_seconds)


# A child that is forked while this process is inside SQLite believes for ever that the database is locked.
_database = threading.Lock()
os.register_at_fork(before=_database.acquire, after_in_parent=_database.release, after_in_child=_database.release)


class WorkerPulse(bootsteps.StartStopStep):
    """A worker whose main process is gone stops beating, whatever its children still do."""

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self.pulse = Pulse("worker", str(worker.hostname))
        self.over = threading.Event()

    def start(self, worker: Any) -> None:
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def stop(self, worker: Any) -> None:
        self.over.set()

    def _run(self) -> None:
        while not self.over.is_set():
            with _database:
                self.pulse.beat()
                connection.close()
            self.over.wait(conf().beat_seconds)
