"""One receipt checked offline, warm, beside its three signatures by one library alone (`python -m bench.check`)."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench import measure
from records.verification import verify_receipt as checker
from tests.records.receipts import Receipt

ROUNDS = 400


def median_ms(step: Callable[[], object]) -> float:
    for _number in range(20):
        step()
    times = []
    for _number in range(ROUNDS):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def main() -> None:
    receipt = Receipt(count=1024, index=1000, content=b"x" * 20_000)
    data = receipt.data
    key = ec.generate_private_key(ec.SECP256R1())
    signature, public = key.sign(b"x", ec.ECDSA(hashes.SHA256())), key.public_key()
    check = median_ms(lambda: checker.check_receipt(data, io.BytesIO(receipt.content)))
    peer = median_ms(lambda: [public.verify(signature, b"x", ec.ECDSA(hashes.SHA256())) for _number in range(3)])
    measure.keep(
        "check",
        {
            "check_ms": check,
            "three_signatures_ms": peer,
            "summary": [
                f"offline check: {check:.1f} ms a receipt; three signatures by one library alone: {peer:.2f} ms"
            ],
        },
    )


if __name__ == "__main__":
    main()
