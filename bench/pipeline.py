"""Upload to final anchor of many small records, against one transaction a record (`python -m bench.pipeline`).

The portal runs as in the demo: web, two workers, sender, indexer, two chains with 1 s blocks. The files go in over
HTTP. The reference way runs afterwards on the same chain: two workers, each sends one `storeData` and waits for the
receipt; encryption and storage are left out for it, so it is measured at its best.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import django
import httpx

from bench import measure
from bench.portal import doctor_with_token, running_portal

RECORDS = 1000
RECORD_BYTES = 20_000
CLIENTS = 4
REFERENCE_RECORDS = 40
WAIT_SECONDS = 600


def main() -> None:
    with running_portal() as portal:
        figures = portal.run("bench.pipeline")
    ours, theirs = figures["records"] / figures["seconds"], figures["reference_records"] / figures["reference_seconds"]
    waits = sorted(figures["final_seconds"])
    figures["summary"] = [
        f"upload to final: {ours:.1f} records/s ({figures['records']} of {RECORD_BYTES // 1000} kB, two workers), "
        f"accepted at {figures['records'] / figures['accept_seconds']:.1f}/s",
        f"accept to final: median {waits[len(waits) // 2]:.1f} s, p99 {waits[int(len(waits) * 0.99) - 1]:.1f} s",
        f"one transaction a record: {theirs:.2f} records/s; ratio {ours / theirs:.1f}",
    ]
    measure.keep("pipeline", figures)


def run(web: int, sup: int) -> dict:
    """Runs inside the portal's environment and reads the states from its database."""
    django.setup()
    token, path = doctor_with_token()
    address = f"http://127.0.0.1:{web}{path}"
    local = threading.local()

    def upload(number: int) -> None:
        if not hasattr(local, "client"):
            local.client = httpx.Client(headers={"Authorization": f"Token {token}"}, timeout=120, trust_env=False)
        body = (f"record {number} " + secrets.token_hex(RECORD_BYTES // 2))[:RECORD_BYTES].encode()
        fields = {"category": "laboratory", "title": f"Record {number}", "chains": "SUP", "care_on": "2026-01-02"}
        answer = local.client.post(address, data=fields, files={"file": (f"r{number}.txt", body, "text/plain")})
        if answer.status_code not in (200, 201, 202):
            raise SystemExit(f"upload answered {answer.status_code}: {answer.text[:200]}")

    begun = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(upload, range(RECORDS)))
    accepted = time.monotonic() - begun
    final_seconds = wait_for_final()
    seconds = time.monotonic() - begun
    reference_seconds = reference(f"http://127.0.0.1:{sup}")
    return {
        "records": RECORDS,
        "accept_seconds": accepted,
        "seconds": seconds,
        "final_seconds": final_seconds,
        "reference_records": REFERENCE_RECORDS,
        "reference_seconds": reference_seconds,
    }


def wait_for_final() -> list[float]:
    """Seconds from acceptance to the moment the portal knew of finality, for each record."""
    from hospitals.tenancy import all_tenants
    from records.models import RecordVersion, Upload

    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with all_tenants("bench"):
            if RecordVersion.objects.filter(final_at__isnull=False).count() >= RECORDS:
                accepted = dict(Upload.objects.values_list("record_id", "created_at"))
                rows = RecordVersion.objects.values_list("record_id", "final_at")
                return [(final - accepted[record]).total_seconds() for record, final in rows]
        time.sleep(0.5)
    raise SystemExit("not every record became final")


def reference(url: str) -> float:
    """One transaction a record from the node's own account; each worker waits for its receipt."""
    artefact = measure.REPOSITORY / "contracts" / "out" / "ReferenceStore.sol" / "ReferenceStore.json"
    compiled = json.loads(artefact.read_text())
    selector = compiled["methodIdentifiers"]["storeData(string,string)"]
    client = httpx.Client(timeout=60, trust_env=False)

    def rpc(method: str, *params: object) -> object:
        answer = client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json()
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']}")
        return answer["result"]

    sending = threading.Lock()

    def send(transaction: dict) -> dict:
        with sending:  # one account, so one nonce at a time; the waiting below is what both workers share
            nonce = rpc("eth_getTransactionCount", transaction["from"], "pending")
            tx_hash = rpc("eth_sendTransaction", {**transaction, "nonce": nonce})
        while (receipt := rpc("eth_getTransactionReceipt", tx_hash)) is None:
            time.sleep(0.02)
        return receipt

    def text(value: bytes) -> bytes:
        return len(value).to_bytes(32, "big") + value + bytes(-len(value) % 32)

    sender = rpc("eth_accounts")[0]
    store = send({"from": sender, "data": compiled["bytecode"]["object"]})["contractAddress"]

    def one(number: int) -> None:
        key, value = text(f"record-{number:08d}".encode()), text(os.urandom(23).hex().encode())
        head = (64).to_bytes(32, "big") + (64 + len(key)).to_bytes(32, "big")
        receipt = send({"from": sender, "to": store, "data": "0x" + selector + (head + key + value).hex()})
        if receipt["status"] != "0x1":
            raise SystemExit("the reference store refused")

    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(REFERENCE_RECORDS)))
    return time.monotonic() - begun


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(run(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
