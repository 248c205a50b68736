"""Runs commands in turn, A B A B, and keeps what the kernel says of each finished process."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Run:
    """One finished process: seconds of CPU and of wall clock, and its largest resident size in bytes."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


def run_once(command: list[str]) -> Run:
    """Raises CalledProcessError when the command fails: a failed run is not a measurement."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Run(usage.ru_utime + usage.ru_stime, time.perf_counter() - started, usage.ru_maxrss * 1024)


def side_by_side(commands: dict[str, list[str]], *, rounds: int) -> dict[str, list[Run]]:
    """One uncounted round to warm the page cache, then `rounds` rounds of every command in turn."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            finished = run_once(command)
            if number:
                runs[name].append(finished)
                print(f"  {number}/{rounds} {name}: {finished.cpu_seconds:.2f} CPU s", file=sys.stderr)
    return runs


def median(runs: list[Run], field: str) -> float:
    return statistics.median(getattr(run, field) for run in runs)


def keep(name: str, figures: dict) -> None:
    """Writes the raw figures beside the machine they were taken on, and prints the summary."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "bench": name,
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        **figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2, default=asdict) + "\n")
    for line in figures.get("summary", []):
        print(line)
