"""Decisions of the Control Module a second, on one core with both chains up (`python -m bench.gate`).

Named peer in the same run: the one contract question that a consent decision must ask (`eth_call` of isAuthorised),
so the ratio says what the rest of the gate costs.
"""

from __future__ import annotations

import re
import subprocess
import sys

from bench import measure


def main() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "bench/gate_case.py", "-q", "-s", "-p", "no:cacheprovider"],
        cwd=measure.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    rows = re.findall(r"^GATE (\S+) (\d+) ([\d.]+) ([\d.]+)$", found.stdout, re.MULTILINE)
    if found.returncode or not rows:
        raise SystemExit(found.stdout[-2000:] + found.stderr[-2000:])
    figures = {
        name: {"decisions": int(count), "seconds": float(seconds), "p99_ms": float(p99)}
        for name, count, seconds, p99 in rows
    }
    summary = [
        f"{name}: {row['decisions'] / row['seconds']:,.0f}/s, p99 {row['p99_ms']:.1f} ms"
        for name, row in figures.items()
    ]
    measure.keep("gate", {"figures": figures, "summary": summary})


if __name__ == "__main__":
    main()
