#!/usr/bin/env python3
"""Print gas a record as JSON: anchored in batches, against the reference contract's `storeData` of each record.

Reads contracts/snapshots/gas.json, which the forge tests keep; with --run they measure it anew first.
"""

import argparse
import json
import sys

from artefacts import CONTRACTS, BuildError, forge

BATCHES = (1, 16, 256, 1024, 4096)
SIZES = (46, 1024)


def measured() -> dict[str, int]:
    values = json.loads((CONTRACTS / "snapshots" / "gas.json").read_text())
    return {name: int(value) for name, value in values.items()}


def report(gas: dict[str, int]) -> dict:
    reference = {size: gas[f"reference.storeData.{size}"] for size in SIZES}
    rows = []
    for batch in BATCHES:
        total = gas["AnchorLog.anchor" if batch == 1 else f"AnchorLog.anchor.{batch}"]
        row = {"batch": batch, "gas": total, "gas_per_record": round(total / batch, 2)}
        row |= {f"times_less_than_{size}_bytes": round(reference[size] * batch / total, 1) for size in SIZES}
        rows.append(row)
    return {"reference_gas_per_record": reference, "anchor": rows, "transactions": gas}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="measure again before printing")
    try:
        if parser.parse_args().run:
            forge("test", "--match-contract", "GasBench")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(report(measured()), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
