"""Memory and speed of one large file up and down over HTTP (`python -m bench.stream`).

What grows is measured: the largest resident size of each process of the portal before and after.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import django
import httpx

from bench import measure
from bench.portal import doctor_with_token, running_portal

MEBIBYTES = 1024
WAIT_SECONDS = 600


def main() -> None:
    with running_portal() as portal:
        figures = portal.run("bench.stream")
    figures["summary"] = [
        f"{MEBIBYTES} MiB up: {MEBIBYTES / figures['upload_seconds']:.0f} MiB/s, answer after "
        f"{figures['upload_seconds']:.1f} s, sealed after {figures['sealed_seconds']:.1f} s",
        f"{MEBIBYTES} MiB down: {MEBIBYTES / figures['download_seconds']:.0f} MiB/s, first byte after "
        f"{figures['first_byte_ms']:.0f} ms, one MiB of it after {figures['range_ms']:.0f} ms",
        "largest growth of a process: " + ", ".join(f"{n} {b / 1e6:.0f} MB" for n, b in figures["growth"].items()),
    ]
    measure.keep("stream", figures)


def peaks(state: str) -> dict[str, int]:
    """Largest resident size so far of every process under the supervisor, by pid."""
    found = {}
    for pid in json.loads((Path(state) / "run" / "children.json").read_text()):
        for number in [pid, *_children(pid)]:
            try:
                status = Path(f"/proc/{number}/status").read_text()
                name = Path(f"/proc/{number}/cmdline").read_text()
            except OSError:
                continue
            if "anvil" in name or "redis" in name:
                continue
            found[number] = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return found


def _children(pid: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def run(web: int) -> dict:
    django.setup()
    from django.conf import settings

    from hospitals.tenancy import all_tenants
    from records.models import RecordVersion

    token, path = doctor_with_token()
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{web}",
        headers={"Authorization": f"Token {token}"},
        timeout=WAIT_SECONDS,
        trust_env=False,
    )
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        digest = hashlib.sha256()
        for _number in range(MEBIBYTES):
            piece = b"time,value\n" + (os.urandom(1 << 19).hex().encode() + b"\n")[: (1 << 20) - 11]
            digest.update(piece)
            file.write(piece)
        file.flush()
        before = peaks(str(settings.PORTAL_STATE))
        file.seek(0)
        begun = time.monotonic()
        fields = {"category": "vitals", "title": "Long recording", "chains": "SUP", "care_on": "2026-01-02"}
        answer = client.post(path, data=fields, files={"file": ("recording.csv", file, "text/csv")})
        upload_seconds = time.monotonic() - begun
    if answer.status_code not in (200, 201, 202):
        raise SystemExit(f"upload answered {answer.status_code}: {answer.text[:300]}")
    deadline = time.monotonic() + WAIT_SECONDS
    with all_tenants("bench"):
        while not (version := RecordVersion.objects.first()):
            if time.monotonic() > deadline:
                raise SystemExit("the file was not sealed")
            time.sleep(0.2)
    sealed_seconds = time.monotonic() - begun
    content = f"/api/v1/h/northwick/records/{version.record_id}/content/"
    begun, first, back = time.monotonic(), 0.0, hashlib.sha256()
    with client.stream("GET", content) as response:
        for piece in response.iter_bytes(1 << 20):
            first = first or time.monotonic() - begun
            back.update(piece)
    download_seconds = time.monotonic() - begun
    if back.digest() != digest.digest():
        raise SystemExit(f"what came back differs ({response.status_code})")
    begun = time.monotonic()
    middle = MEBIBYTES << 19
    client.get(content, headers={"Range": f"bytes={middle}-{middle + (1 << 20) - 1}"})
    range_seconds = time.monotonic() - begun
    after = peaks(str(settings.PORTAL_STATE))
    growth = sorted((after[pid] - before[pid] for pid in after if pid in before), reverse=True)[:3]
    return {
        "mebibytes": MEBIBYTES,
        "upload_seconds": upload_seconds,
        "sealed_seconds": sealed_seconds,
        "download_seconds": download_seconds,
        "first_byte_ms": first * 1000,
        "range_ms": range_seconds * 1000,
        "growth": {f"#{number}": value for number, value in enumerate(growth, 1)},
        "peaks": after,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(run(int(sys.argv[2]))))
    else:
        main()
