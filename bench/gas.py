"""Gas of one anchored record at growing batches, against the reference store (`python -m bench.gas`)."""

from __future__ import annotations

import json
import subprocess

from bench import measure

CONTRACTS = measure.REPOSITORY / "contracts"
BATCHES = (1, 16, 256, 1024, 4096)


def main() -> None:
    forge = next(measure.REPOSITORY.glob("node_modules/@foundry-rs/forge-*/bin/forge"))
    subprocess.run([forge, "test", "--match-contract", "GasBench"], cwd=CONTRACTS, check=True, capture_output=True)
    gas = {name: int(value) for name, value in json.loads((CONTRACTS / "snapshots" / "gas.json").read_text()).items()}
    locator, kibibyte = gas["reference.storeData.46"], gas["reference.storeData.1024"]
    summary = [f"reference storeData: {locator:,} gas for 46 bytes, {kibibyte:,} gas for 1 KiB"]
    for batch in BATCHES:
        each = gas["AnchorLog.anchor" if batch == 1 else f"AnchorLog.anchor.{batch}"] / batch
        summary.append(
            f"batch {batch:>5}: {each:>10,.1f} gas a record, "
            f"{locator / each:>9,.1f} and {kibibyte / each:>9,.1f} times less"
        )
    summary += [
        f"a consent: {gas['Consents.record']:,} gas alone, {gas['Consents.record.64'] / 64:,.0f} in a batch of 64; "
        f"revoked for {gas['Consents.revoke']:,}; the check {gas['Consents.isAuthorised']:,} (a question, free)",
        f"an entry of the access log: {gas['AccessLog.append']:,} gas alone, {gas['AccessLog.append.64'] / 64:,.0f} "
        f"among 64, {gas['AccessLog.append.1024'] / 1024:,.0f} among 1,024",
    ]
    measure.keep("gas", {"gas": gas, "summary": summary})


if __name__ == "__main__":
    main()
