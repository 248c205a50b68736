"""The loop around a step: lease, pace, back-off. One thread for each chain, so that one that hangs stops no other."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

from django.db import OperationalError, close_old_connections, connection, transaction

from chain.conf import conf
from chain.errors import ChainError, ChainHalted, ChainMismatch, LeaseLost
from chain.heartbeats import STANDS_BY, STOPPED, Pulse
from chain.leases import Held, holder_name, lease_hold, lease_release, lease_take
from chain.sending import Sent

log = logging.getLogger(__name__)
PAUSE_MAX_SECONDS = 15.0


class Stepping(Protocol):
    def step(self): ...


class Worker:
    """Runs one job for one chain while it holds the lease; `stop` ends it after the current step."""

    def __init__(self, job: str, chain: str, make: Callable[[str, Held], Stepping], stop: threading.Event) -> None:
        self.name = f"{job}:{chain}"
        self.chain = chain
        self.make = make
        self.stop = stop
        self.failures = 0
        self.holder = holder_name()
        self.said = ""
        self.pulse = Pulse(self.name)

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                pause = self.turn()
                if pause:
                    self.stop.wait(pause)
        finally:
            connection.close()

    def turn(self) -> float:
        """Takes the lease and steps until something goes wrong; returns how long to stay away."""
        held = None
        try:
            close_old_connections()
            held = lease_take(name=self.name, holder=self.holder, seconds=conf().lease_seconds)
            if held is None:
                self.pulse.beat(STANDS_BY)
                return conf().lease_seconds / 6
            self._steps(held)
            return 0
        except LeaseLost:
            log.warning("lease lost job=%s", self.name)
            return 1
        except (ChainHalted, ChainMismatch) as error:
            self._say(logging.CRITICAL, str(error))
            return PAUSE_MAX_SECONDS
        except (ChainError, OperationalError) as error:
            self._say(logging.WARNING, f"{type(error).__name__}: {error}")
            return self._pause()
        except Exception:
            # A supervisor would restart us into the same error at once; slower is kinder to database and node.
            log.exception("step failed job=%s", self.name)
            return self._pause()
        finally:
            if held is not None:
                self._release(held)

    def _steps(self, held: Held) -> None:
        stepping = self.make(self.chain, held)
        # A slow chain need not be looked at four times a second.
        pace = max(conf().poll_seconds, min(5.0, conf().chain(self.chain).block_time_seconds / 4))
        renewed = time.monotonic()
        while not self.stop.is_set():
            done = stepping.step()
            self.pulse.beat()
            if time.monotonic() - renewed > conf().lease_seconds / 3:
                with transaction.atomic(durable=True):
                    lease_hold(held, seconds=conf().lease_seconds)
                renewed = time.monotonic()
            if self.failures:
                log.info("working again job=%s", self.name)
            self.failures, self.said = 0, ""
            if done.is_idle:
                self.stop.wait(conf().poll_seconds if isinstance(done, Sent) else pace)
            elif isinstance(done, Sent) and done.waiting and not done.prepared.transactions:
                self.stop.wait(pace)  # something is under way and only a new block can change it

    def _pause(self) -> float:
        self.failures += 1
        return min(PAUSE_MAX_SECONDS, 0.5 * 2 ** min(self.failures, 6)) * (0.75 + random.random() / 2)  # noqa: S311

    def _say(self, level: int, text: str) -> None:
        """Once for each reason, not once for each attempt."""
        if text != self.said:
            log.log(level, "%s: %s", self.name, text)
            self.said = text
        self.pulse.beat(text.partition(":")[0] if level == logging.WARNING else STOPPED)

    @staticmethod
    def _release(held: Held) -> None:
        try:
            lease_release(held)
        except OperationalError:
            log.warning("lease not released job=%s", held.name)


def serve(job: str, chains: list[str], make: Callable[[str, Held], Stepping], stop: threading.Event) -> None:
    """Works on all chains until `stop` is set."""
    threads = [
        threading.Thread(target=Worker(job, chain, make, stop).run, name=f"{job}-{chain}", daemon=True)
        for chain in chains
    ]
    for thread in threads:
        thread.start()
    while not stop.wait(0.5):
        if not any(thread.is_alive() for thread in threads):
            return
    for thread in threads:
        thread.join(conf().lease_seconds)


def run_until_idle(job: str, chain: str, make: Callable[[str, Held], Stepping], *, most: int = 10_000) -> int:
    """For `--once` and tools: steps until nothing is left to do now. Returns the number of steps."""
    held = lease_take(name=f"{job}:{chain}", holder=holder_name(), seconds=conf().lease_seconds)
    if held is None:
        raise LeaseLost(f"{chain}: another {job} is at work")
    try:
        stepping = make(chain, held)
        for count in range(1, most + 1):
            done = stepping.step()
            if done.is_idle or (isinstance(done, Sent) and not (done.prepared.transactions or done.mined)):
                return count
        return most
    finally:
        lease_release(held)
