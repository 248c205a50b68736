#!/usr/bin/env python3
"""Write code hashes and storage layouts to snapshots/code.json, or with --check say which no longer fit.

A changed hash is a new version that the council has to announce, a changed layout one that old readers cannot follow:
both are seen in review, not found out. Immutables are zero in `codeHash`; where there are none it is the hash that a
chain gives for the address.
"""

import argparse
import json
import sys

from artefacts import BUILD, CONTRACTS, NAMES
from eth_utils import keccak

RECORD = CONTRACTS / "snapshots" / "code.json"
LARGEST = 24_576  # bytes of runtime code that the EVM takes


def hashed(code: str) -> str:
    return "0x" + keccak(hexstr=code).hex()


def layout(storage: dict) -> list[str]:
    """One line for each variable: slot, byte, name and type; the members of structs follow theirs."""
    types = storage["types"] or {}
    lines = [
        f"{item['slot']}+{item['offset']} {item['label']}: {types[item['type']]['label']}"
        for item in storage["storage"]
    ]
    structs = {entry["label"]: entry["members"] for entry in types.values() if "members" in entry}
    for label, members in sorted(structs.items()):
        lines += [f"{label}.{m['label']}: +{m['slot']}+{m['offset']} {types[m['type']]['label']}" for m in members]
    return lines


def recorded() -> dict:
    record = {}
    for name in sorted(NAMES):
        built = json.loads((BUILD / f"{name}.json").read_text())
        size = len(built["deployedBytecode"]) // 2 - 1
        if not 0 < size <= LARGEST:
            raise SystemExit(f"{name} has {size} bytes of code; the EVM takes {LARGEST}")
        record[name] = {
            "codeHash": hashed(built["deployedBytecode"]),
            "creationHash": hashed(built["bytecode"]),
            "bytes": size,
            "immutables": len(built["immutableReferences"]),
            "storage": layout(built["storageLayout"]),
        }
    return record


def stale() -> list[str]:
    """The contracts whose code or layout differs from the record."""
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    fresh = recorded()
    return sorted(name for name in kept.keys() | fresh.keys() if kept.get(name) != fresh.get(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the record does not fit")
    is_check = parser.parse_args().check
    if is_check and (names := stale()):
        print(f"Code or storage differs from snapshots/code.json: {', '.join(names)}. Run contracts/tools/recorded.py")
        return 1
    if not is_check:
        RECORD.write_text(json.dumps(recorded(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
