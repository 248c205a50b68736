"""The portal as it runs, every part a real process: on PostgreSQL, with Redis and two chains, under its supervisor."""

import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psycopg
from django.conf import settings

from portal import env
from portal.management.commands.demo_check import free_ports
from portal.processes import last_line, start_time
from tests.campaigns.crash.chainside import Chain
from tests.campaigns.crash.checker import Facts, check
from tests.campaigns.crash.reading import Node
from tests.campaigns.processes.postgres import Postgres

START_SECONDS = 300
SETTLE_SECONDS = 180


class Stand:
    def __init__(self):
        self.state = Path(tempfile.mkdtemp(prefix="portal-kills-"))
        self.web, self.sup, self.med = free_ports(3)
        self.postgres = Postgres()
        self.environment = env.child(
            DJANGO_SETTINGS_MODULE="portal.settings.dev",
            PORTAL_STATE=str(self.state),
            PORTAL_WEB_PORT=str(self.web),
            PORTAL_SUP_PORT=str(self.sup),
            PORTAL_MED_PORT=str(self.med),
            PORTAL_DATABASE_URL=self.postgres.url,
            PORTAL_REDIS_URL=None,
        )
        self.journal, self.frozen = [], []
        self.supervisor = self.database = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self):
        with open(self.state / "supervisor.log", "ab") as output:
            self.supervisor = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--people"],
                cwd=settings.BASE_DIR,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_for("the portal to start", lambda: (self.state / "demo.json").exists(), START_SECONDS)
        found = self.inside("ways")
        self.token, self.path = found["token"], found["path"]
        self.wrap_keys = {hospital: bytes.fromhex(key) for hospital, key in found["wrap_keys"].items()}
        (Path(self.state) / "demo.json").unlink()  # passwords of the demo's people; the checker looks for such things

    def stop(self):
        self.thaw()
        if self.database is not None:
            self.database.close()
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.terminate()
            try:
                self.supervisor.wait(60)
            except subprocess.TimeoutExpired:
                self.supervisor.kill()
                self.supervisor.wait()
        self.postgres.stop()
        shutil.rmtree(self.state, ignore_errors=True)

    def inside(self, what):
        done = subprocess.run(
            [sys.executable, "-m", "tests.campaigns.processes.inside", what],
            cwd=settings.BASE_DIR,
            env=self.environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return json.loads(done.stdout)

    def wait_for(self, what, is_there, seconds):
        deadline = time.monotonic() + seconds
        while not is_there():
            if self.supervisor.poll() is not None:
                raise AssertionError(f"the supervisor ended: {last_line(self.state / 'supervisor.log')}")
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s for {what}")
            time.sleep(0.02)

    # -- the parts ----------------------------------------------------------------------------------------------------

    def parts(self):
        """{name: pid} of what the supervisor runs now; a part is known by the file that it writes its log to."""
        found = {}
        with suppress(OSError, ValueError):
            for pid, began in json.loads((self.state / "run" / "children.json").read_text()).items():
                if start_time(int(pid)) == began:
                    with suppress(OSError):
                        found[Path(os.readlink(f"/proc/{pid}/fd/1")).stem] = int(pid)
        return found

    @staticmethod
    def children(pid):
        with suppress(OSError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def part(self, name):
        self.wait_for(f"{name} to run", lambda: name in self.parts(), 60)
        return self.parts()[name]

    def kill(self, pid):
        """kill -9 of one process that this stand started, directly or through its supervisor."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def freeze(self, name):
        pid = self.part(name)
        os.kill(pid, signal.SIGSTOP)
        self.frozen.append(pid)

    def thaw(self):
        for pid in self.frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen.clear()

    # -- clients ------------------------------------------------------------------------------------------------------

    def upload(self, size, pause=None):
        """One file over HTTP, in its own thread; `pause` is set in the middle of the body, which then waits for it."""
        return Upload(self, size, pause)

    # -- looking ------------------------------------------------------------------------------------------------------

    def rows(self, statement, *values):
        """Read beside the portal, as the owner of the database; the server may have been killed meanwhile."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.database is None or self.database.closed:
                    self.database = psycopg.connect(self.postgres.owner_url, autocommit=True)
                return self.database.execute(statement, values).fetchall()
            except psycopg.OperationalError:
                self.database = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def count(self, statement, *values):
        return self.rows(f"SELECT count(*) FROM {statement}", *values)[0][0]

    def is_waiting(self):
        """What is still on its way, in words."""
        found = {
            "uploads": self.count("records_upload WHERE state IN ('received', 'sealing')"),
            "anchors": self.count("records_anchor WHERE state <> 'final'"),
            "versions": self.count("records_recordversion WHERE state NOT IN ('final', 'superseded')"),
        }
        return {name: number for name, number in found.items() if number}

    def settle(self):
        """Until every accepted file is final; then nothing new is begun and both chains stand still."""
        begun = time.monotonic()
        self.wait_for("every upload to be final", lambda: not self.is_waiting(), SETTLE_SECONDS)
        took = time.monotonic() - begun
        self.freeze("beat")
        open_wishes = "chain_outboxitem WHERE state <> 'final'"
        open_sent = "chain_transaction WHERE state IN ('broadcast', 'mined')"
        self.wait_for(
            "every wish to be final", lambda: not self.count(open_wishes) and not self.count(open_sent), SETTLE_SECONDS
        )
        nodes = {"SUP": Node(f"http://127.0.0.1:{self.sup}"), "MED": Node(f"http://127.0.0.1:{self.med}")}
        for node in nodes.values():
            node("evm_setIntervalMining", 0)
        self.wait_for("the index", lambda: all(self._is_indexed(name, node.head) for name, node in nodes.items()), 60)
        self.inside("scrub")
        return nodes, took

    def _is_indexed(self, chain, head):
        found = self.rows("SELECT cursor_number FROM chain_chainstate WHERE name = %s", chain)
        last = "chain_chainevent WHERE chain = %s AND is_canonical AND block_number > %s"
        behind = "SELECT min(block_number) FROM chain_projectorcursor WHERE chain = %s"
        ends = [row[0] for row in self.rows(behind, chain)]
        return found == [(head,)] and not any(self.count(last, chain, end) for end in ends)

    def check(self):
        """The checker of the crash campaign, on what this portal left: it knows rows, files and chains only."""
        nodes, took = self.settle()
        records = self.state / "deployments"
        chains = {
            name: Chain(node, next(path for path in records.glob("*.json") if path.stem in (str(number), name)))
            for (name, node), number in zip(nodes.items(), (31337, 31338), strict=True)
        }
        verdict = check(
            Facts(
                database=self.postgres.owner_url,
                blobs=self.state / "blobs",
                chains=chains,
                journal=self.journal,
                wrap_keys=self.wrap_keys,
                needles=[b"CANARY-"],
                scanned=[self.state / "redis", self.state / "logs", self.state / "mail"],
            )
        )
        for node in nodes.values():
            node("evm_setIntervalMining", 1)
            node.close()
        self.thaw()
        return verdict, took


class Upload(threading.Thread):
    """A doctor's file. What the client was told stands in the journal."""

    def __init__(self, stand, size, pause):
        super().__init__(daemon=True)
        self.stand, self.pause = stand, pause
        self.is_half_way, self.status, self.upload_id = threading.Event(), None, None
        self.body = (b"CANARY-" + secrets.token_hex(8).encode() + b" ") + secrets.token_hex(size // 2).encode()
        self.start()

    def run(self):
        boundary = "x" + secrets.token_hex(12)
        fields = {"category": "laboratory", "title": "Result", "chains": "BOTH", "care_on": "2026-01-02"}
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="result.txt"\r\n'
        head += "Content-Type: text/plain\r\n\r\n"
        body = head.encode() + self.body + f"\r\n--{boundary}--\r\n".encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.stand.web, timeout=60)
        try:
            connection.putrequest("POST", self.stand.path)
            connection.putheader("Authorization", f"Token {self.stand.token}")
            connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body[: len(body) // 2])
            self.is_half_way.set()
            if self.pause is not None:
                self.pause.wait(30)
            connection.send(body[len(body) // 2 :])
            answer = connection.getresponse()
            self.status, text = answer.status, answer.read()
            if self.status == 202:
                self.upload_id = json.loads(text)["id"].replace("-", "")
                self.stand.journal.append(
                    {"kind": "accepted", "upload": self.upload_id, "sha256": hashlib.sha256(self.body).hexdigest()}
                )
        except (http.client.HTTPException, OSError) as error:
            self.status = type(error).__name__
        finally:
            self.is_half_way.set()
            connection.close()
