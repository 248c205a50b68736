"""Anchoring at 1 s blocks: our outbox and sender against one transaction a record (`python -m bench.chain_anchor`).

Ours: one process queues leaves as the workers do (50 a commit), another is the sender. It counts from the first leaf
queued to the last one final, for one hospital and for four. Sealing files is not part of it (see `bench.pipeline`).

One transaction a record, on the same chain, of the reference contract's 46-byte `storeData`: once as it is usually
written (send, wait for the receipt, next; two workers), once without any waiting (everything is handed to the node at
once, and only the last block is waited for).
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django

from bench import chain_node, measure
from portal import env

LEAVES = 60_000  # most of a minute, so that the last blocks until finality weigh little
WAITING, HANDED_OVER = 40, 3_000  # records of the two reference ways
A_COMMIT = 50
WAIT_SECONDS = 300


def main() -> None:
    figures: dict = {"leaves": LEAVES, "records_per_second": {}}
    for hospitals in (1, 4):
        with chain_node.state() as folder, chain_node.anvil("--block-time", "1") as node:
            figures["records_per_second"][f"ours, {hospitals} hospitals"] = ours(folder, node, hospitals)
            if hospitals == 1:
                figures["records_per_second"] |= reference(node)
    rate = figures["records_per_second"]
    one, four = rate["ours, 1 hospitals"], rate["ours, 4 hospitals"]
    waiting, handed = rate["one transaction a record"], rate["one transaction a record, not waiting"]
    figures["summary"] = [
        f"anchored at 1 s blocks: {one:,.0f} records/s for one hospital, {four:,.0f} for four ({LEAVES:,} leaves)",
        f"one transaction a record: {waiting:.1f}/s (ratio {one / waiting:,.0f}); handed over without waiting "
        f"{handed:,.0f}/s (ratio {one / handed:.1f})",
    ]
    measure.keep("chain_anchor", figures)


def ours(folder: Path, node: chain_node.Node, hospitals: int) -> float:
    environment = env.child(
        PORTAL_STATE=str(folder),
        PORTAL_SUP_RPC_URL=node.url,
        PORTAL_SUP_FINALITY="depth:4",
        PORTAL_DATABASE_URL=None,
        DJANGO_SETTINGS_MODULE="portal.settings.dev",
    )
    command = [sys.executable, "-m", "bench.chain_anchor"]
    run = {"cwd": measure.REPOSITORY, "env": environment}
    subprocess.run([*command, "prepare", str(hospitals)], check=True, **run)
    sender = subprocess.Popen([*command, "send"], **run)
    try:
        found = subprocess.run([*command, "feed"], stdout=subprocess.PIPE, check=True, text=True, **run)
    finally:
        sender.terminate()
        sender.wait(30)
    rate = LEAVES / json.loads(found.stdout.splitlines()[-1])
    print(f"  {hospitals} hospitals: {rate:,.0f} records/s", file=sys.stderr, flush=True)
    return rate


# -- steps that run in a child -------------------------------------------------------------------------------------


def keys() -> list[str]:
    return json.loads((accounts_file()).read_text())


def accounts_file() -> Path:
    from chain.conf import conf

    return conf().deployer_key_file.with_name("hospitals.json")


def signing_key(address: bytes) -> bytes:
    from chain.signing import address_of

    return next(key for key in map(bytes.fromhex, keys()) if address_of(key) == address)


def prepare(hospitals: int) -> None:
    from django.core.management import call_command

    from chain import codec
    from chain.artefacts import deployment
    from chain.conf import conf
    from chain.deploying import deploy
    from chain.signing import address_of
    from chain.types import hex0x

    call_command("migrate", verbosity=0)
    node = chain_node.Node(int(conf().chain("SUP").rpc_url.rsplit(":", 1)[1]))
    deployer = secrets.token_bytes(32)
    made = [secrets.token_bytes(32) for _number in range(hospitals)]
    conf().deployer_key_file.parent.mkdir(parents=True, exist_ok=True)
    conf().deployer_key_file.write_text(deployer.hex())
    accounts_file().write_text(json.dumps([key.hex() for key in made]))
    for key in (deployer, *made):
        node.rpc("anvil_setBalance", hex0x(address_of(key)), hex(10**24))
    deploy("SUP")
    node.rpc("anvil_impersonateAccount", hex0x(address_of(deployer)))
    registry = hex0x(deployment("SUP")["Registry"].address)
    for key in made:
        data = codec.function("Registry", "admitOrganisation").encode([address_of(key), 1, secrets.token_bytes(32)])
        node.rpc("eth_sendTransaction", {"from": hex0x(address_of(deployer)), "to": registry, "data": hex0x(data)})
    time.sleep(2.5)  # two blocks


def send() -> None:
    """The sender as `manage.py chain_send` runs it."""
    import signal

    from chain.runner import serve
    from chain.sending import Sender

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve("sender", ["SUP"], Sender, stop)


def feed() -> float:
    from django.db import transaction

    from chain.models import ItemState, OutboxItem
    from chain.services import anchor_enqueue
    from chain.signing import address_of

    senders = [address_of(bytes.fromhex(key)) for key in keys()]
    begun = time.monotonic()
    for start in range(0, LEAVES, A_COMMIT):
        with transaction.atomic():
            for number in range(start, start + A_COMMIT):
                anchor_enqueue(
                    chain="SUP",
                    sender=senders[number % len(senders)],
                    leaf=secrets.token_bytes(32),
                    ref=f"bench:{number}",
                )
    while OutboxItem.objects.exclude(state=ItemState.FINAL).exists():
        if time.monotonic() - begun > WAIT_SECONDS:
            raise SystemExit("not every leaf became final")
        time.sleep(0.2)
    return time.monotonic() - begun


# -- one transaction a record --------------------------------------------------------------------------------------


def reference(node: chain_node.Node) -> dict[str, float]:
    artefact = measure.REPOSITORY / "contracts" / "out" / "ReferenceStore.sol" / "ReferenceStore.json"
    compiled = json.loads(artefact.read_text())
    selector = compiled["methodIdentifiers"]["storeData(string,string)"]
    sender = node.rpc("eth_accounts")[0]

    def receipt(tx_hash: str) -> dict:
        while (found := node.rpc("eth_getTransactionReceipt", tx_hash)) is None:
            time.sleep(0.02)
        if found["status"] != "0x1":
            raise SystemExit("the reference store refused")
        return found

    def text(value: bytes) -> bytes:
        return len(value).to_bytes(32, "big") + value + bytes(-len(value) % 32)

    created = node.rpc("eth_sendTransaction", {"from": sender, "data": compiled["bytecode"]["object"]})
    store = receipt(created)["contractAddress"]
    sending = threading.Lock()
    nonce = int(node.rpc("eth_getTransactionCount", sender, "latest"), 16)

    def wish(number: int, nonce: int) -> dict:
        key, value = text(f"record-{number:08d}".encode()), text(secrets.token_hex(23).encode())
        head = (64).to_bytes(32, "big") + (64 + len(key)).to_bytes(32, "big")
        data = "0x" + selector + (head + key + value).hex()
        # A price that full blocks do not overtake: otherwise they would wait for ever.
        price = {"gas": hex(120_000), "gasPrice": hex(10**13)}
        return {"from": sender, "to": store, "data": data, "nonce": hex(nonce), **price}

    def one(number: int) -> None:
        nonlocal nonce
        with sending:
            tx_hash = node.rpc("eth_sendTransaction", wish(number, nonce))
            nonce += 1
        receipt(tx_hash)

    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(WAITING)))
    waiting = WAITING / (time.monotonic() - begun)

    begun, last = time.monotonic(), ""
    for start in range(0, HANDED_OVER, 100):
        body = [
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "eth_sendTransaction",
                "params": [wish(10**6 + number, nonce + number)],
            }
            for number in range(start, start + 100)
        ]
        last = node.client.post(node.url, json=body).json()[-1]["result"]
    receipt(last)
    handed = HANDED_OVER / (time.monotonic() - begun)
    return {"one transaction a record": waiting, "one transaction a record, not waiting": handed}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        django.setup()
        if sys.argv[1] == "prepare":
            prepare(int(sys.argv[2]))
        elif sys.argv[1] == "send":
            from django.conf import settings

            settings.CHAIN = {**settings.CHAIN, "signer": "bench.chain_anchor.signing_key"}
            send()
        else:
            print(json.dumps(feed()))
    else:
        main()
