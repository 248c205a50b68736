#!/usr/bin/env python3
"""Compile the contracts and write build/<Name>.json, or with --check say which committed ones are stale.

Standard library only: it runs before anything of the project is installed but Node's packages.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parent.parent
BUILD = CONTRACTS / "build"
PLATFORM_PACKAGES = CONTRACTS.parent / "node_modules" / "@foundry-rs"
NAMES = {
    "Registry": "Registry.sol",
    "AnchorLog": "AnchorLog.sol",
    "AccessLog": "AccessLog.sol",
    "Consents": "Consents.sol",
    "RecordStore": "RecordStore.sol",
    "AccessManager": "AccessManager.sol",
    "Council": "Council.sol",
}


class BuildError(Exception):
    """Something that a person has to put right; the text says what."""


def forge(*arguments: str, folder: Path = CONTRACTS, settings: dict[str, str] | None = None) -> str:
    binary = next(PLATFORM_PACKAGES.glob("forge-*/bin/forge"), None)
    if binary is None:
        raise BuildError("forge is missing: run `make install` first")
    # Whatever FOUNDRY_* the shell has set must not change the published code.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("FOUNDRY_", "FORGE_"))}
    environment |= settings or {}
    done = subprocess.run([binary, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"forge {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def without_ids(value):
    """Drop compiler-internal numbers, which change when an unrelated file is added."""
    if isinstance(value, dict):
        return {without_ids(key): without_ids(item) for key, item in value.items() if key != "astId"}
    if isinstance(value, list):
        return [without_ids(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"\)\d+(?=_|,|\)|$)", ")", value)
    return value


def immutables(references: dict) -> dict:
    places = sorted(references.values(), key=lambda group: group[0]["start"])
    return {str(number): group for number, group in enumerate(places)}


def artefact(name: str) -> dict:
    out = json.loads((CONTRACTS / "out" / NAMES[name] / f"{name}.json").read_text())
    metadata = out["metadata"]
    settings = metadata["settings"]
    sources = {path: entry["keccak256"] for path, entry in metadata["sources"].items()}
    return {
        "name": name,
        "abi": out["abi"],
        "bytecode": out["bytecode"]["object"],
        "deployedBytecode": out["deployedBytecode"]["object"],
        "immutableReferences": immutables(out["deployedBytecode"].get("immutableReferences") or {}),
        "compiler": {
            "name": "solc",
            "version": metadata["compiler"]["version"],
            "evm": settings["evmVersion"],
            "optimizer": settings["optimizer"],
            "viaIR": bool(settings.get("viaIR", False)),
            "bytecodeHash": settings["metadata"]["bytecodeHash"],
        },
        "sourceHash": "0x" + hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest(),
        "storageLayout": without_ids(out["storageLayout"]),
    }


def text_of(name: str) -> str:
    return json.dumps(artefact(name), indent=1, sort_keys=True) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a committed artefact is stale")
    is_check = parser.parse_args(arguments).check
    try:
        forge("build", "--skip", "test", "--quiet")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2

    stale = []
    BUILD.mkdir(exist_ok=True)
    for name in NAMES:
        path, text = BUILD / f"{name}.json", text_of(name)
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not is_check:
            path.write_text(text)
    unknown = sorted(path.name for path in BUILD.glob("*.json") if path.stem not in NAMES)
    if is_check and (stale or unknown):
        names = ", ".join(stale + unknown)
        print(f"Stale contract artefacts: {names}. Run `make contracts` and commit contracts/build.")
        return 1
    print("Contract artefacts are fresh." if not stale else f"Wrote {', '.join(stale)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
