"""`make bench` runs them all; `python -m bench gas seal` runs those two."""

import subprocess
import sys

NAMES = ("gas", "check", "seal", "stream", "pipeline", "gate")


def main() -> None:
    for name in sys.argv[1:] or NAMES:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)


if __name__ == "__main__":
    main()
