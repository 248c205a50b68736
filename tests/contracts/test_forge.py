"""The contracts' own tests, run by forge, and what is committed about them: artefacts, role table, gas."""

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
FORGE = next(iter(sorted(CONTRACTS.parent.glob("node_modules/@foundry-rs/forge-*/bin/forge"))), None)

pytestmark = [
    pytest.mark.chain,
    pytest.mark.slow,
    pytest.mark.timeout(600),  # the compiler is WebAssembly: most of a minute on a busy machine
    pytest.mark.skipif(FORGE is None, reason="forge is not installed: run `make install`"),
]

# Scenario -> the forge tests that show its on-chain half. The role table is part of each: it tries every other caller.
SHOWN_BY = {
    "G1": ["Roles.EveryCell", "Registry.Admit", "Registry.AdmitRefuses", "Registry.OnlyTheStatedSteps"],
    "G5": ["Roles.EveryCell", "Registry.RegisterPractitioner", "Registry.RegisterPatient"],
    "G7": ["Registry.AnnounceRelease", "Registry.AnnounceReleaseRefusals"],
    "D9": ["Roles.EveryCell", "Registry.CareLink", "Registry.RegisterPatientRefusals", "Registry.RegisterPatientFor"],
    "H8": ["Roles.EveryCell", "Registry.RemovedPractitioner", "Registry.RemoveOnlyOwn", "Registry.AnAddressIsUsedOnce"],
    "O13": ["Roles.EveryCell", "RecordStore.VersionsAreKept", "RecordStore.UnknownIsEmpty", "RecordStore.FirstWriters"],
    "P17": [
        "Consents.RecordRefusals",
        "Consents.DigestDependsOnChainAndContract",
        "Consents.TimesToTheSecond",
        "Consents.RecordAndRevoke",
    ],
}


def forge(*arguments, **variables):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("FOUNDRY_", "FORGE_"))}
    return subprocess.run(
        [FORGE, *arguments], cwd=CONTRACTS, env=environment | variables, capture_output=True, text=True, timeout=600
    )


def tool(name, *arguments):
    command = [sys.executable, CONTRACTS / "tools" / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def results():
    """{"Registry.test_Admit": "Success"} of one run with bounded fuzzing, gas compared to the snapshot."""
    done = forge("test", "--json", "--fuzz-runs", "64", FORGE_SNAPSHOT_CHECK="true")
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    suites = json.loads(done.stdout)
    assert done.returncode == 0, [
        (suite, name, result["reason"])
        for suite, content in suites.items()
        for name, result in content["test_results"].items()
        if result["status"] != "Success"
    ] or done.stderr
    return {
        f"{suite.split(':')[1].removesuffix('Test')}.{name.split('(')[0]}": result["status"]
        for suite, content in suites.items()
        for name, result in content["test_results"].items()
    }


def test_every_forge_test_passes(results):
    assert set(results.values()) == {"Success"}
    assert len(results) > 100


@pytest.mark.parametrize(
    "prefixes", [pytest.param(tests, marks=pytest.mark.scenario(name), id=name) for name, tests in SHOWN_BY.items()]
)
def test_scenario_on_chain(results, prefixes):
    for prefix in prefixes:
        contract, name = prefix.split(".")
        shown = [test for test in results if test.startswith(f"{contract}.test_{name}")]
        assert shown, f"no forge test is called {prefix}…"


def test_artefacts_are_fresh(results):
    done = tool("artefacts.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_role_table_is_complete_and_written():
    done = tool("roles.py", "--check")
    assert done.returncode == 0, done.stdout


def test_every_contract_has_a_plan():
    """A `.tree` beside each contract's tests says what they must show."""
    for name in ("Registry", "AnchorLog", "AccessLog", "Consents", "RecordStore"):
        assert (CONTRACTS / "test" / f"{name}.tree").read_text().startswith(name)


def test_gas_a_record(results):
    report = json.loads(tool("gas.py").stdout)
    rows = {row["batch"]: row for row in report["anchor"]}
    assert len({row["gas"] for row in rows.values()}) == 1, "the cost of an anchor does not depend on its batch"
    assert rows[4096]["gas_per_record"] <= 20
    assert rows[4096]["times_less_than_46_bytes"] >= 4_000
    assert rows[4096]["times_less_than_1024_bytes"] >= 35_000


def test_a_stale_artefact_is_found(results, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(CONTRACTS / "tools"))
    artefacts = import_module("artefacts")
    copy = shutil.copytree(artefacts.BUILD, tmp_path / "build")
    (copy / "Consents.json").write_text((copy / "Consents.json").read_text().replace("0x60", "0x61", 1))
    (copy / "Forgotten.json").write_text("{}")
    monkeypatch.setattr(artefacts, "BUILD", copy)

    assert artefacts.main(["--check"]) == 1
    assert capsys.readouterr().out.startswith("Stale contract artefacts: Consents, Forgotten.json.")
