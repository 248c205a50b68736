#!/usr/bin/env python3
"""Break the contracts in one place at a time and see that the tests notice. One line for each, exit 1 if one survives.

Each mutant of mutations.py is an exact text and what takes its place; a text that is not there (any more) is an error,
so the list cannot rot. First the tests of that contract alone, then, if they notice nothing, all of them.
"""

import argparse
import queue
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from artefacts import CONTRACTS, BuildError, forge
from mutations import EQUIVALENT, MUTANTS

# Where a fault of a contract shows first.
NEAREST = {
    "Registry": "^(RegistryTest|RolesTest)$",
    "AnchorLog": "^(AnchorLogTest|RolesTest)$",
    "AccessLog": "^(AccessLogTest|RolesTest)$",
    "Consents": "^(ConsentsTest|RolesTest)$",
    "RecordStore": "^(RecordStoreTest|RolesTest)$",
    "Council": "^CouncilTest$",
    "Membership": "^(AnchorLogTest|RolesTest)$",
    "Signatures": "^(RegistryTest|ConsentsTest)$",
}
# The tests hold whatever the optimiser does, and without it and the extras a mutant takes half the time.
FAST = {"FOUNDRY_OPTIMIZER": "false", "FOUNDRY_AST": "false", "FOUNDRY_EXTRA_OUTPUT": "[]"}
NEEDED = ("src", "test", "tools", "snapshots", "foundry.toml", "roles.json")


def workspace(folder: Path) -> Path:
    """A copy beside the same node_modules, compiled."""
    folder.mkdir(parents=True)
    for name in ("node_modules", ".venv"):
        if (CONTRACTS.parent / name).exists():
            (folder / name).symlink_to(CONTRACTS.parent / name)
    copy = folder / "contracts"
    copy.mkdir()
    for name in NEEDED:
        original = CONTRACTS / name
        (shutil.copytree if original.is_dir() else shutil.copy)(original, copy / name)
    return copy


def passes(copy: Path, contracts: str) -> bool:
    """Whether the chosen tests pass; raises if they could not run."""
    chosen = ("--match-contract", contracts) if contracts else ("--no-match-contract", "^GasBench$")
    try:
        forge("test", "--fuzz-runs", "32", "--fail-fast", *chosen, folder=copy, settings=FAST)
    except BuildError as error:
        if "Compiler run failed" in str(error) or "Encountered" not in str(error):
            raise
        return False
    return True


def survives(copy: Path, contract: str, text: str, replacement: str) -> bool:
    path = copy / "src" / f"{contract}.sol"
    original = path.read_text()
    path.write_text(original.replace(text, replacement, 1))
    try:
        return passes(copy, NEAREST[contract]) and passes(copy, "")
    except BuildError as error:
        raise BuildError(f"the mutant of {text!r} in {contract} could not be tried:\n{str(error)[-2000:]}") from None
    finally:
        path.write_text(original)


def sample(count: int) -> list[int]:
    """So many real mutants, spread over the list and so over the contracts."""
    real = [number for number, mutant in enumerate(MUTANTS) if mutant[:2] not in EQUIVALENT]
    return [real[place * len(real) // count] for place in range(min(count, len(real)))]


def check_texts() -> None:
    for contract, text, replacement in MUTANTS:
        if text not in (CONTRACTS / "src" / f"{contract}.sol").read_text():
            raise BuildError(f"{contract}.sol has no longer the text {text!r}")
        if text == replacement:
            raise BuildError(f"{text!r} in {contract} is replaced by itself")


def run(chosen: list[int], *, jobs: int, say=print) -> list[int]:
    """Tries the mutants, so many at a time; gives the numbers of those that survive."""
    check_texts()
    survivors: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        copies: queue.Queue[Path] = queue.Queue()
        first = workspace(Path(folder) / "0")
        if not passes(first, ""):
            raise BuildError("the tests fail without any mutant: nothing could be seen to kill one")
        copies.put(first)
        for job in range(1, jobs):
            copies.put(Path(shutil.copytree(first.parent, Path(folder) / str(job), symlinks=True)) / "contracts")

        def attempt(number: int) -> None:
            contract, text, replacement = MUTANTS[number]
            if (contract, text) in EQUIVALENT:
                say(f"{number:3} same    {contract}: {EQUIVALENT[contract, text]}")
                return
            copy, begun = copies.get(), time.monotonic()
            try:
                is_alive = survives(copy, contract, text, replacement)
            finally:
                copies.put(copy)
            if is_alive:
                survivors.append(number)
            word = "ALIVE" if is_alive else "killed"
            say(f"{number:3} {word:7} {time.monotonic() - begun:4.0f} s  {contract}: {text[:90]!r}")

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(attempt, chosen))
    return sorted(survivors)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, action="append", help="number of a mutant; may be given again")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--sample", type=int, help="so many, spread over the list")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = options.only or list(range(options.first, len(MUTANTS)))
    if options.sample:
        chosen = sample(options.sample)
    try:
        survivors = run(chosen, jobs=options.jobs, say=lambda line: print(line, flush=True))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(chosen)} mutants, alive: {survivors or 'none'}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
