"""Child processes: how they are started, told apart from others, and tied to the life of their parent."""

import ctypes
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management import CommandError

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


class StackError(Exception):
    """One clear sentence for the person at the terminal."""


@dataclass(frozen=True)
class Part:
    name: str
    stage: int  # stopped from the highest to the lowest
    command: list = field(default_factory=list)  # a program, or
    run: Callable | None = None  # a function of this one
    stop_seconds: int = 10


class Fork:
    """A child that runs one function of ours; looks like subprocess.Popen as far as the supervisor asks."""

    def __init__(self, run, log, is_in_child):
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                is_in_child()
                os.setsid()
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                run()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)  # noqa: T201 (the child's log)
            except Exception as error:
                logging.getLogger(__name__).exception("a part stopped")
                if isinstance(error, CommandError):
                    print(error, file=sys.stderr)  # noqa: T201 (the child's log)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        deadline = time.monotonic() + (timeout or 3600)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"part {self.pid}", timeout)
            time.sleep(0.02)
        return self.returncode

    def send(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send(signal.SIGTERM)

    def kill(self):
        self.send(signal.SIGKILL)


def port_is_free(port):
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except PermissionError:
            raise StackError(f"Port {port} needs more rights than you have; choose one above 1023.") from None
        except OSError as error:
            if error.errno == 98:  # in use; other errors mean that this address family is absent
                return False
    return True


def start_time(pid):
    """When a process began, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] == "Z" else int(after_name[19])


def tie_to(parent):
    """Runs in the child before it becomes another program."""

    def tie():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.umask(0o077)

    return tie


def last_line(path):
    try:
        lines = path.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][:200] if lines else "no message"
