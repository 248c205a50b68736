"""`make bench` and `make bench-chain` run their groups; `python -m bench gas seal` runs those two."""

import subprocess
import sys

GROUPS = {
    "portal": ("gas", "check", "seal", "stream", "pipeline", "gate"),
    "chain": ("chain_index", "chain_anchor", "chain_proofs", "gas", "check"),
}


def main() -> None:
    for wanted in sys.argv[1:] or ["portal"]:
        for name in GROUPS.get(wanted, [wanted]):
            print(f"== {name}", flush=True)
            subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)


if __name__ == "__main__":
    main()
