#!/usr/bin/env python3
"""See that the interfaces explain everything: each function, event, error, enum and struct has a @notice.

Reads what the compiler made of the comments, so a comment in the wrong place counts as none.
"""

import json
import sys
from collections.abc import Iterator

from artefacts import CONTRACTS, BuildError, forge

INTERFACES = CONTRACTS / "src" / "interfaces"
DECLARATIONS = {
    "FunctionDefinition",
    "EventDefinition",
    "ErrorDefinition",
    "EnumDefinition",
    "StructDefinition",
}


def declarations(name: str) -> Iterator[tuple[str, str]]:
    """Everything an interface declares, with the comment that the compiler ties to it."""
    out = json.loads((CONTRACTS / "out" / f"{name}.sol" / f"{name}.json").read_text())
    contracts = [node for node in out["ast"]["nodes"] if node["nodeType"] == "ContractDefinition"]
    for contract in contracts:
        yield contract["name"], contract.get("documentation", {}).get("text", "")
        for node in contract["nodes"]:
            if node["nodeType"] in DECLARATIONS:
                yield f"{name}.{node['name']}", node.get("documentation", {}).get("text", "")


def check() -> tuple[int, list[str]]:
    """How many declarations there are, and those without a word about them."""
    names = sorted(path.stem for path in INTERFACES.glob("*.sol"))
    found = [item for name in names for item in declarations(name)]
    return len(found), [label for label, text in found if "@notice " not in text]


def main() -> int:
    try:
        forge("build", "--skip", "test", "--quiet")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    count, silent = check()
    print(f"{count} declarations, without a word: {', '.join(silent) or 'none'}")
    return 1 if silent or not count else 0


if __name__ == "__main__":
    sys.exit(main())
