"""Everything is killed at once, then started again on the same state directory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from portal.demo_client import Visitor
from portal.demo_files import ecg_png
from portal.management.commands.demo_check import free_ports
from portal.processes import start_time

API = "/api/v1/h/northwick"


@pytest.fixture
def portal(tmp_path):
    """Starts `manage.py demo --people` on free ports, as often as it is called."""
    web, sup, med = free_ports(3)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "DJANGO_"))}
    ports = {"PORTAL_WEB_PORT": web, "PORTAL_SUP_PORT": sup, "PORTAL_MED_PORT": med}
    environment |= {name: str(port) for name, port in ports.items()} | {"PORTAL_STATE": str(tmp_path / "state")}
    started = []

    def start(seconds=180):
        with open(tmp_path / "out", "wb") as out:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--people"],
                cwd=settings.BASE_DIR,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        deadline = time.monotonic() + seconds
        while "things to try" not in (tmp_path / "out").read_text():
            assert process.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline, (tmp_path / "out").read_text()
            time.sleep(0.3)
        return process, f"http://localhost:{web}", tmp_path / "state"

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def children(state):
    return {int(pid): began for pid, began in json.loads((state / "run" / "children.json").read_text()).items()}


def until(is_true, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := is_true():
            return found
        time.sleep(0.5)
    raise AssertionError("it did not happen in time")


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.chain
@pytest.mark.timeout(480)
def test_nothing_is_lost_when_everything_is_killed(portal):
    process, url, state = portal()
    alice = json.loads((state / "demo.json").read_text())
    alice = next(row for row in alice if row["key"] == "alice")
    content = ecg_png()
    with Visitor(url).sign_in(alice) as doctor:
        patient = doctor.call("GET", f"{API}/patients/", params={"q": "Morgan"}).json()[0]["id"]
        fields = {"category": "vitals", "title": "Resting ECG", "care_on": "2026-11-02", "chains": "BOTH"}
        answer = doctor.call(
            "POST", f"{API}/patients/{patient}/uploads/", data=fields, files={"file": ("e.png", content)}
        )
        assert answer.status_code == 202, answer.text
        upload = answer.json()["id"]
    # Accepted a moment ago, so it is anywhere between the staging area and the chains now.
    left = children(state)
    for pid in (process.pid, *left):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert until(lambda: all(start_time(pid) != began for pid, began in left.items()), 20)

    process, url, state = portal()
    with Visitor(url).sign_in(alice) as doctor:
        row = until(lambda: (row := doctor.call("GET", f"{API}/uploads/{upload}/").json())["state"] == "sealed" and row)
        record = f"{API}/records/{row['record']}/"
        view = until(lambda: (view := doctor.call("GET", record).json())["state"] == "final" and view)
        assert {anchor["chain"] for anchor in view["anchors"]} == {"SUP", "MED"}
        assert doctor.call("GET", f"{record}content/").content == content

    left = children(state)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert all(start_time(pid) != began for pid, began in left.items())
    assert not Path(state / "redis.sock").exists()
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{url}/health/", trust_env=False)
