"""Merkle trees: building, proving, checking, beside the bare hashing (`python -m bench.chain_proofs`)."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable

from bench import measure
from chain import merkle

BATCHES = (1024, 4096, 65_536)
ROUNDS = 9


def seconds(step: Callable[[], object]) -> float:
    times = []
    for _number in range(ROUNDS):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    figures: dict = {"batches": {}, "summary": []}
    for count in BATCHES:
        leaves = [os.urandom(32) for _leaf in range(count)]
        root, index = merkle.root(leaves), count // 3
        proof = merkle.inclusion_proof(leaves, index)

        def bare(count: int = count) -> None:
            """The hashing that any tree of this size needs, and nothing else."""
            pair, sha256 = bytes(65), hashlib.sha256
            for _node in range(count - 1):
                sha256(pair).digest()

        def check(root=root, leaf=leaves[index], index=index, count=count, proof=proof) -> None:
            if not merkle.verify(root=root, leaf=leaf, index=index, count=count, proof=proof):
                raise SystemExit("a proof does not hold")

        found = {
            "build_seconds": seconds(lambda leaves=leaves: merkle.root(leaves)),
            "bare_hashing_seconds": seconds(bare),
            "proof_seconds": seconds(lambda leaves=leaves, index=index: merkle.inclusion_proof(leaves, index)),
            "verify_seconds": seconds(check),
            "proof_hashes": len(proof),
        }
        figures["batches"][count] = found
        figures["summary"].append(
            f"tree of {count:>6,}: built in {found['build_seconds'] * 1000:.1f} ms "
            f"({found['build_seconds'] / found['bare_hashing_seconds']:.1f} times the bare hashing), a proof in "
            f"{found['proof_seconds'] * 1000:.1f} ms, checked in {found['verify_seconds'] * 1e6:.0f} µs"
        )
    measure.keep("chain_proofs", figures)


if __name__ == "__main__":
    main()
