#!/usr/bin/env python3
"""Write the role table of roles.json into README.md, or with --check say that it is stale or incomplete.

The same file drives test/Roles.t.sol, which tries every cell.
"""

import argparse
import json
import sys

from artefacts import BUILD, CONTRACTS, NAMES

BEGIN, END = "<!-- roles: written by tools/roles.py -->", "<!-- end of roles -->"


def missing(table: dict) -> list[str]:
    """State-changing functions of the artefacts that have no row, and rows that have no function."""
    functions = set()
    for name in NAMES:
        if name == "AccessManager":  # not ours; its own roles govern it
            continue
        abi = json.loads((BUILD / f"{name}.json").read_text())["abi"]
        functions |= {
            f"{name}.{entry['name']}"
            for entry in abi
            if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
        }
    return sorted(functions ^ set(table["functions"]))


def rendered(table: dict) -> str:
    lines = ["| function | who may | everybody else gets |", "| --- | --- | --- |"]
    for name, row in table["functions"].items():
        allowed = "anybody" if row["allowed"] == ["*"] else ", ".join(row["allowed"])
        allowed = allowed or row.get("who", "the AccessManager itself")
        errors = dict.fromkeys([row["refusal"], *row.get("otherwise", {}).values()])
        refusals = ", ".join(f"`{error.split('(')[0]}`" for error in errors if error) or "–"
        lines.append(f"| `{name}` | {allowed} | {refusals} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    is_check = parser.parse_args(arguments).check
    table = json.loads((CONTRACTS / "roles.json").read_text())
    if gaps := missing(table):
        print(f"roles.json and the contracts differ in: {', '.join(gaps)}")
        return 1
    path = CONTRACTS / "README.md"
    text = path.read_text()
    before, rest = text.split(BEGIN)
    fresh = f"{before}{BEGIN}\n{rendered(table)}\n{END}{rest.split(END)[1]}"
    if is_check and fresh != text:
        print("The role table in contracts/README.md is stale: run contracts/tools/roles.py")
        return 1
    if not is_check:
        path.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
