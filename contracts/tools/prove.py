#!/usr/bin/env python3
"""Prove the contracts: all that is claimed of them, found out again. One line for each proof, exit 1 if one fails.

A proof that had nothing to do fails as well: no runs, no statements, no findings in what was planted to be found.
slither and halmos have their own environment under .run, pinned in analysis.txt: they and the portal need different
versions of web3.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import artefacts
import mutants
import natspec
import recorded
import roles
from artefacts import CONTRACTS, BuildError, forge

ROOT = CONTRACTS.parent
TOOLS = CONTRACTS / "tools"
RUN = ROOT / ".run"
ANALYSIS = RUN / "analysis"
WORKSPACE = RUN / "contracts"
PLANTED = "Planted.sol"
FUZZ_RUNS = 25_600  # a hundred times the local ones, as foundry.toml has it
LONG = {"FOUNDRY_PROFILE": "ci"}
SAMPLED_MUTANTS = 40


class NotProven(Exception):
    """What did not hold."""


def require(holds: bool, text: str) -> None:
    if not holds:
        raise NotProven(text)


# ------------------------------------------------------------------ what is written down


def prove_recorded() -> str:
    """Artefacts, role table, code hashes, storage layouts and gas are what the sources give."""
    require(artefacts.main(["--check"]) == 0, "contracts/build is stale")
    require(roles.main(["--check"]) == 0, "the role table is stale or has gaps")
    require(not (names := recorded.stale()), f"code or storage of {', '.join(names)} is not what is recorded")
    # Not with --json: forge then compares nothing.
    output = forge("test", "--match-contract", "^GasBench$", settings={"FORGE_SNAPSHOT_CHECK": "true"})
    require((count := output.count("[PASS]")) > 0, "no gas was measured")
    return f"{len(artefacts.NAMES)} contracts and {count} gas figures are as recorded"


def prove_explained() -> str:
    count, silent = natspec.check()
    require(count > 0 and not silent, f"no @notice for {', '.join(silent)}")
    return f"{count} declarations of the interfaces are explained"


# ------------------------------------------------------------------------- forge


def tests(*arguments: str, **settings: str) -> list[tuple[str, dict]]:
    """Every test that forge ran, by name; raises with the reason of each that failed."""
    problem = None
    try:
        output = forge("test", "--json", *arguments, settings=settings)
    except BuildError as error:
        problem = output = str(error)
    require("{" in output, output[-2000:])
    suites, _ = json.JSONDecoder().raw_decode(output[output.index("{") :])
    found = [
        (f"{suite}:{name}", result)
        for suite, results in suites.items()
        for name, result in results["test_results"].items()
    ]
    failed = [f"{name}: {result.get('reason')}" for name, result in found if result["status"] != "Success"]
    require(not failed, "\n".join(failed))
    require(problem is None, f"forge stopped: {(problem or '')[-2000:]}")
    return found


def prove_tested() -> str:
    """Unit tests, fuzz tests a hundred times as long as locally, and invariants."""
    found = tests("--no-match-contract", "^GasBench$", **LONG)
    kinds = [next(iter(result["kind"].items())) for _, result in found]
    fuzz = [details["runs"] for kind, details in kinds if kind == "Fuzz"]
    calls = [details["calls"] for kind, details in kinds if kind == "Invariant"]
    require(bool(fuzz) and min(fuzz) >= FUZZ_RUNS, f"a fuzz test ran {min(fuzz, default=0)} times only")
    require(bool(calls) and min(calls) > 0, "an invariant was tried on nothing")
    return (
        f"{len(found)} tests; {len(fuzz)} fuzz tests with {sum(fuzz):,} runs, "
        f"{len(calls)} invariant campaigns with {sum(calls):,} calls"
    )


# ------------------------------------------------------------- analysis from outside


def analysis_environment() -> Path:
    """Installs slither and halmos where they are not yet, or not from this very list."""
    pins = TOOLS / "analysis.txt"
    stamp, wanted = ANALYSIS / "installed", hashlib.sha256(pins.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(ANALYSIS, ignore_errors=True)
        uv = ROOT / ".venv" / "bin" / "uv"
        for arguments in (
            ("venv", "--quiet", "--python", sys.executable, ANALYSIS),
            ("pip", "install", "--quiet", "--python", ANALYSIS / "bin" / "python", "--require-hashes", "-r", pins),
        ):
            done = subprocess.run([uv, *arguments], capture_output=True, text=True)
            require(done.returncode == 0, f"slither and halmos could not be installed:\n{done.stderr}")
        stamp.write_text(wanted)
    return ANALYSIS / "bin"


def analysis_workspace() -> None:
    """Sources with their libraries inside one folder, as both tools want it, and something wrong to be found."""
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    WORKSPACE.mkdir(parents=True)
    shutil.copytree(CONTRACTS / "src", WORKSPACE / "src")
    shutil.copytree(CONTRACTS / "test" / "proofs", WORKSPACE / "test" / "proofs")
    shutil.copytree(CONTRACTS / "test" / "support", WORKSPACE / "test" / "support")
    shutil.copy(TOOLS / "planted" / PLANTED, WORKSPACE / "src")
    shutil.copy(TOOLS / "planted" / "PlantedProof.t.sol", WORKSPACE / "test" / "proofs")
    library = Path("node_modules", "@openzeppelin", "contracts")
    shutil.copytree(ROOT / library, WORKSPACE / library)
    settings = (CONTRACTS / "foundry.toml").read_text().replace("../node_modules", "node_modules")
    settings = settings.replace('"./tools/solc"', f'"{TOOLS / "solc"}"')
    settings = re.sub(r"^dynamic_test_linking = true$", "", settings, flags=re.MULTILINE)
    (WORKSPACE / "foundry.toml").write_text(settings)


def analyse(*command: str, **environment: str) -> str:
    binaries = analysis_environment()
    forge_folder = next(artefacts.PLATFORM_PACKAGES.glob("forge-*/bin"))
    path = os.pathsep.join((str(binaries), str(forge_folder), os.environ["PATH"]))
    done = subprocess.run(
        [binaries / command[0], *command[1:]],
        cwd=WORKSPACE,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def prove_by_slither() -> str:
    """Nothing above low in the contracts, and the planted fault is seen."""
    report = WORKSPACE / "slither.json"
    log = analyse(
        "slither", ".", "--filter-paths", "node_modules|test", "--fail-none", "--warn-unused-ignores", "--json", report
    )
    require(report.exists(), f"slither gave no report:\n{log[-2000:]}")
    require("ERROR" not in log, f"slither could not read everything:\n{log[-2000:]}")
    unused = [line for line in log.splitlines() if line.startswith("Unused slither-disable") and "/src/" in line]
    require(not unused, "\n".join(unused))
    results = json.loads(report.read_text())
    require(results["success"], str(results["error"]))
    grave = [item for item in results["results"]["detectors"] if item["impact"] in ("High", "Medium")]
    places = [item["elements"][0]["source_mapping"]["filename_relative"] for item in grave]
    planted = [place for place in places if place.endswith(PLANTED)]
    require(bool(planted), "slither did not see the planted fault")
    real = [item["description"] for item, place in zip(grave, places, strict=True) if place not in planted]
    require(not real, "".join(real))
    analysed = re.search(r"analyzed \((\d+) contracts with (\d+) detectors\)", log)
    require(analysed is not None, "slither did not say what it analysed")
    return f"{analysed[2]} detectors of slither find nothing above low; they find what was planted"


def prove_by_halmos() -> str:
    """Every statement holds for all values, and the planted false ones are refuted."""
    report = WORKSPACE / "halmos.json"
    log = analyse(
        "halmos", "--forge-build-out", "out/proofs", "--function", "check_", "--solver-timeout-assertion", "0",
        "--json-output", report,
        FOUNDRY_PROFILE="proofs",
    )  # fmt: skip
    require(report.exists(), f"halmos gave no report:\n{log[-2000:]}")
    checks = [check for found in json.loads(report.read_text())["test_results"].values() for check in found]
    declared = sum(
        path.read_text().count("    function check_") for path in (WORKSPACE / "test" / "proofs").glob("*.sol")
    )
    require(len(checks) == declared, f"halmos tried {len(checks)} of {declared} statements")
    planted = [check for check in checks if check["name"].startswith("check_Planted")]
    require(bool(planted), "there was no planted statement")
    believed = [check["name"] for check in planted if not check["num_models"]]
    require(not believed, f"halmos did not refute {', '.join(believed)}")
    real = [check for check in checks if check not in planted]
    open_ones = [check["name"] for check in real if check["exitcode"] or check["num_bounded_loops"]]
    require(bool(real) and not open_ones, f"not proved: {', '.join(open_ones)}\n{log[-2000:]}")
    return f"{len(real)} statements hold for all values; {len(planted)} planted ones are refuted"


# ------------------------------------------------------------------------ mutants


def prove_by_mutants() -> str:
    """The tests notice when the sources are broken."""
    lines: list[str] = []
    chosen = mutants.sample(SAMPLED_MUTANTS)
    survivors = mutants.run(chosen, jobs=2, say=lines.append)
    alive = [line for line in lines if "ALIVE" in line]
    require(not survivors, "\n".join(alive))
    require(len(lines) == len(chosen) >= 30, f"{len(lines)} mutants were tried")
    places = {mutants.MUTANTS[number][0] for number in chosen}
    return f"{len(lines)} mutants in {len(places)} sources killed, of {len(mutants.MUTANTS)} known"


PROOFS: dict[str, Callable[[], str]] = {
    "recorded": prove_recorded,
    "explained": prove_explained,
    "forge": prove_tested,
    "slither": prove_by_slither,
    "halmos": prove_by_halmos,
    "mutants": prove_by_mutants,
}


def attempt(name: str) -> bool:
    begun = time.monotonic()
    try:
        text, holds = PROOFS[name](), True
    except (NotProven, BuildError) as error:
        text, holds = str(error), False
    word = "proven" if holds else "FAILED"
    print(f"{word} {name:9} {time.monotonic() - begun:4.0f} s  {text}", flush=True)
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PROOFS, action="append", help="one proof; may be given again")
    chosen = parser.parse_args().only or list(PROOFS)
    begun = time.monotonic()
    results = [attempt(name) for name in ("recorded", "explained") if name in chosen]
    outside = [name for name in ("slither", "halmos") if name in chosen]
    if outside:
        analysis_workspace()
    # Two at a time: forge's long run beside the tools from outside, then the mutants, which are two at a time.
    with ThreadPoolExecutor(2) as pool:
        long_run = pool.submit(lambda: [attempt(name) for name in ("forge",) if name in chosen])
        results += [attempt(name) for name in outside]
        results += long_run.result()
    results += [attempt(name) for name in ("mutants",) if name in chosen]
    print(f"{sum(results)} of {len(results)} proofs hold, {time.monotonic() - begun:.0f} s")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
