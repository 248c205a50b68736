"""Sealing a large file against a plain copy and age, in CPU-seconds.

`python -m bench.seal [MEBIBYTES ROUNDS]` measures; with a step (copy, seal, seal-hashed, open), FROM and TO it is
one of the measured processes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import measure
from records import crypto

PIECE_BYTES = 1 << 16
KEY = bytes(range(32))  # a bench key: the time does not depend on its bytes
CONTEXT = b"bench\0"


def copy(source: Path, target: Path) -> None:
    buffer = bytearray(PIECE_BYTES)
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        while count := reader.readinto(buffer):
            writer.write(memoryview(buffer)[:count])


def seal(source: Path, target: Path, *, is_hashed: bool) -> None:
    buffer = bytearray(PIECE_BYTES)
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        stream = crypto.SealStream(KEY, CONTEXT, writer.write, is_hashed=is_hashed)
        while count := reader.readinto(buffer):
            stream.update(memoryview(buffer)[:count])
        stream.finalize()


def unseal(source: Path, target: Path) -> None:
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        read_at = lambda offset, length: os.pread(reader.fileno(), length, offset)  # noqa: E731
        opened = crypto.RangeReader(read_at, source.stat().st_size, KEY, CONTEXT)
        for piece in opened.chunks():
            writer.write(piece)


STEPS = {
    "copy": copy,
    "seal": lambda source, target: seal(source, target, is_hashed=False),
    "seal-hashed": lambda source, target: seal(source, target, is_hashed=True),
    "open": unseal,
}


def main() -> None:
    if len(sys.argv) == 4:
        STEPS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
        return
    mebibytes, rounds = (int(value) for value in (sys.argv[1:3] or (1024, 5)))
    with tempfile.TemporaryDirectory(prefix="bench-seal-") as folder:
        plain, sealed, out = (Path(folder) / name for name in ("plain", "sealed", "out"))
        with plain.open("wb") as writer:
            for _ in range(mebibytes):
                writer.write(os.urandom(1 << 20))
        seal(plain, sealed, is_hashed=False)
        step = [sys.executable, "-m", "bench.seal"]
        commands = {
            "copy": [*step, "copy", str(plain), str(out)],
            "seal": [*step, "seal", str(plain), str(out)],
            "seal and hash": [*step, "seal-hashed", str(plain), str(out)],
            "open": [*step, "open", str(sealed), str(out)],
        }
        if age := shutil.which("age"):
            identity = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True)
            recipient = identity.stderr.rsplit(maxsplit=1)[-1]
            commands["age"] = [age, "-r", recipient, "-o", str(out), str(plain)]
        runs = measure.side_by_side(commands, rounds=rounds)
        # The interpreter's own start is in every step of ours but not in what it does: measured and taken off.
        empty = Path(folder) / "empty"
        empty.touch()
        start = measure.median(
            [measure.run_once([*step, "copy", str(empty), str(out)]) for _ in range(5)], "cpu_seconds"
        )
    cpu = {name: measure.median(found, "cpu_seconds") - (0 if name == "age" else start) for name, found in runs.items()}
    summary = [
        f"{name}: {cpu[name]:.2f} CPU s/GiB x{mebibytes / 1024:g}, {cpu['copy'] / cpu[name]:.0%} of the copy's speed, "
        f"peak {measure.median(found, 'peak_bytes') / 1e6:.0f} MB"
        for name, found in runs.items()
    ]
    if "age" not in runs:
        summary.append("age: not installed here, so not measured")
    measure.keep("seal", {"mebibytes": mebibytes, "start_cpu_seconds": start, "runs": runs, "summary": summary})


if __name__ == "__main__":
    main()
