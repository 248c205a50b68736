"""The whole story on a fresh portal on free ports, without a person. Exit code 0 only if every fact holds."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal import env
from portal.demo_story import Story
from portal.management.commands.up import stop_on_signals
from portal.processes import last_line, tie_to

START_SECONDS = 180


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Command(BaseCommand):
    help = "Start the portal on free ports, live through the demo's story, write facts to $DEMO_REPORT, stop."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--keep", action="store_true", help="keep the state directory, to look into it")

    def handle(self, *, keep, **options):
        stop_on_signals()
        begun = time.monotonic()
        self.state = Path(tempfile.mkdtemp(prefix="portal-check-"))
        web, sup, med = free_ports(3)
        self.environment = env.child(
            PORTAL_STATE=str(self.state),
            PORTAL_WEB_PORT=str(web),
            PORTAL_SUP_PORT=str(sup),
            PORTAL_MED_PORT=str(med),
            PORTAL_DATABASE_URL=None,
            PORTAL_REDIS_URL=None,
            PORTAL_COUNCIL_DELAY_SECONDS="20",
        )
        base_url = f"http://localhost:{web}"
        self.up = None
        facts, holds = [], False
        try:
            self.start()
            self.stdout.write(f"  started after {time.monotonic() - begun:.0f} s")
            accounts = {row["key"]: row for row in json.loads((self.state / "demo.json").read_text())}
            rpc_urls = [f"http://127.0.0.1:{port}" for port in (sup, med)]
            story = Story(base_url, self.state, accounts, rpc_urls, self.stdout.write, self.environment)
            holds, facts = story.tell(), story.facts
        finally:
            self.stop()
            seconds = round(time.monotonic() - begun, 1)
            if report := env.text("DEMO_REPORT", ""):
                body = {"holds": holds, "seconds": seconds, "facts": facts}
                Path(report).write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
            if keep:
                self.stdout.write(f"  state kept in {self.state}")
            else:
                shutil.rmtree(self.state, ignore_errors=True)
        wrong = sum(not fact["holds"] for fact in facts)
        if not holds:
            raise CommandError(f"{wrong} of {len(facts)} facts do not hold ({seconds} s).")
        self.stdout.write(f"all {len(facts)} facts hold ({seconds} s)")

    def start(self):
        command = [sys.executable, "manage.py", "demo", "--people"]
        self.log = open(self.state / "up.log", "wb")  # noqa: SIM115 (closed in stop)
        self.up = subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            env=self.environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            preexec_fn=tie_to(os.getpid()),
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while not (self.state / "demo.json").exists():
            if self.up.poll() is not None:
                raise CommandError(f"The portal did not start: {last_line(self.state / 'up.log')}")
            if time.monotonic() > deadline:
                raise CommandError(f"The portal was not ready within {START_SECONDS} seconds.")
            time.sleep(0.2)

    def stop(self):
        if self.up is None:
            return
        if self.up.poll() is None:
            self.up.terminate()
            try:
                self.up.wait(60)
            except subprocess.TimeoutExpired:
                self.up.kill()
                self.up.wait()
        self.log.close()
