"""The supervisor's handling of processes, with real ones."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portal.processes import Fork, StackError, port_is_free, start_time, tie_to
from portal.settings.base import redis_socket
from portal.stack import Stack


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def state(tmp_path, settings):
    settings.PORTAL_STATE = tmp_path
    settings.EMBEDDED_CHAIN_PORTS = {"SUP": None, "MED": None}
    return tmp_path


def gone(pid, seconds=5):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if start_time(pid) is None:
            return True
        time.sleep(0.02)
    return False


def test_a_busy_port_is_named_with_the_way_out(state, settings):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings.WEB_PORT = other.getsockname()[1]
        assert not port_is_free(settings.WEB_PORT)
        with pytest.raises(StackError, match=rf"Port {settings.WEB_PORT}, wanted for the web page, .*PORTAL_WEB_PORT="):
            Stack()._check_ports()


def test_two_supervisors_do_not_share_a_state_directory(state):
    first, second = Stack(), Stack()
    first._claim()
    with pytest.raises(StackError, match="already runs"):
        second._claim()
    first.lock.close()
    second.lock.close()


def test_what_a_killed_supervisor_left_is_ended(state, sleeper):
    (state / "run").mkdir()
    (state / "run" / "children.json").write_text(json.dumps({sleeper.pid: start_time(sleeper.pid)}))
    stack = Stack()
    stack._claim()
    assert gone(sleeper.pid)
    stack.lock.close()


def test_a_stranger_with_a_reused_id_is_left_alone(state, sleeper):
    (state / "run").mkdir()
    (state / "run" / "children.json").write_text(json.dumps({sleeper.pid: start_time(sleeper.pid) - 1}))
    stack = Stack()
    stack._claim()
    assert sleeper.poll() is None
    stack.lock.close()


def test_a_missing_tool_is_one_sentence(state, settings, tmp_path):
    settings.BASE_DIR = tmp_path
    settings.EMBEDDED_CHAIN_PORTS = {"SUP": 1, "MED": None}
    with pytest.raises(StackError, match="make install"):
        Stack()._anvil("SUP", 1)


@pytest.mark.parametrize(("run", "code"), [(lambda: None, 0), (lambda: sys.exit(3), 3), (lambda: 1 / 0, 1)])
def test_a_fork_tells_how_its_function_ended(tmp_path, run, code):
    with open(tmp_path / "log", "wb") as log:
        child = Fork(run, log, lambda: None)
        assert child.wait(10) == code
        assert child.poll() == code


def test_a_fork_can_be_stopped(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        child = Fork(lambda: time.sleep(60), log, lambda: None)
        assert child.poll() is None
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM


def test_children_die_with_their_parent(tmp_path):
    with open(tmp_path / "log", "wb") as log:

        def parent():
            child = subprocess.Popen(["sleep", "60"], preexec_fn=tie_to(os.getpid()), start_new_session=True)
            (tmp_path / "pid").write_text(str(child.pid))
            time.sleep(60)

        middle = Fork(parent, log, lambda: None)
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        child = int((tmp_path / "pid").read_text())
        assert start_time(child)
        middle.kill()
        middle.wait(5)
        assert gone(child)


def test_a_deep_state_directory_gets_a_short_socket():
    assert redis_socket(Path("/srv/portal")) == Path("/srv/portal/redis.sock")
    deep = redis_socket(Path("/srv") / ("x" * 120))
    assert len(bytes(deep)) < 108
    assert deep != redis_socket(Path("/srv") / ("y" * 120))
