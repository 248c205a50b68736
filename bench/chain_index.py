"""Indexing of 100,000 events: ours, two web3 loops and Ponder, on two databases (`python -m bench.chain_index`).

One anvil holds the events: 500 blocks, in each four `Consents.recordMany` of 50 digests. Everybody reads the same
chain from the same block, one after the other. What is timed is reading, decoding and storing, from the first
question to the last row; starting up, connecting and making tables is not.

- ours: `chain.indexer`, all contracts and all events, blocks linked by hash, cursor and rows in one transaction.
- web3 ranges: `get_logs` of one event over 1,000 blocks at a time, decoded by web3, stored by `bulk_create`.
- web3 blocks: the same a block at a time and a row at a time, on the first blocks only, as it is slow.
- Ponder 1.0.0: one event, one table, on PGlite (it has no SQLite) and on PostgreSQL; timed by its own log, from
  the start of the historical sync to being ready.
"""

from __future__ import annotations

import json
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from bench import chain_node, measure
from portal import env
from tests import postgres

EVENTS, A_CALL, A_BLOCK = 100_000, 50, 200
LOOP_BLOCKS = 25  # of the loop that goes block by block
PONDER = {
    "package.json": json.dumps(
        {
            "private": True,
            "type": "module",
            "dependencies": {"ponder": "1.0.0", "viem": "2.45.0", "hono": "4.6.0"},
        }
    ),
    "ponder.schema.ts": """
import { onchainTable } from "ponder";
export const recorded = onchainTable("recorded", (t) => ({
  id: t.text().primaryKey(), digest: t.hex().notNull(), block: t.bigint().notNull(),
  blockHash: t.hex().notNull(), time: t.bigint().notNull(), tx: t.hex().notNull(), logIndex: t.integer().notNull(),
}));
""",
    "src/index.ts": """
import { ponder } from "ponder:registry";
import { recorded } from "ponder:schema";
ponder.on("Consents:ConsentRecorded", async ({ event, context }) => {
  await context.db.insert(recorded).values({
    id: event.id, digest: event.args.digest, block: event.block.number, blockHash: event.block.hash,
    time: event.block.timestamp, tx: event.transaction.hash, logIndex: event.log.logIndex,
  });
});
""",
    "src/api/index.ts": """
import { Hono } from "hono";
export default new Hono();
""",
}


def main() -> None:
    figures: dict = {"events": EVENTS, "blocks": EVENTS // A_BLOCK, "seconds": {}}
    flags = [
        "--no-mining",
        "--gas-limit",
        "100000000",
        "--gas-price",
        "0",
        "--block-base-fee-per-gas",
        "0",
        "--prune-history",
    ]
    with chain_node.state() as folder, chain_node.anvil(*flags) as node, postgres.server() as server:
        figures["place"] = child(folder, node, "fill")
        project = ponder_install(folder / "ponder", node, figures["place"])
        for database in ("sqlite", "postgresql"):
            url = server if database == "postgresql" else None
            child(folder, node, "migrate", url)
            for way in ("ours", "ranges", "ours", "blocks", "ours"):
                note(figures, f"{way} {database}", child(folder, node, way, url))
            note(figures, f"ponder {database}", ponder_run(project, url))
    figures["summary"] = summary(figures["seconds"])
    measure.keep("chain_index", figures)


def note(figures: dict, name: str, seconds: float) -> None:
    figures["seconds"].setdefault(name, []).append(seconds)
    print(f"  {name}: {seconds:.1f} s", file=sys.stderr, flush=True)


def summary(seconds: dict[str, list[float]]) -> list[str]:
    rate = {name: EVENTS / statistics.median(times) for name, times in seconds.items()}
    for database in ("sqlite", "postgresql"):
        rate[f"blocks {database}"] *= LOOP_BLOCKS * A_BLOCK / EVENTS
    lines = []
    for database, kind in (("sqlite", "PGlite"), ("postgresql", "PostgreSQL")):
        ours, ranges, blocks = (rate[f"{way} {database}"] for way in ("ours", "ranges", "blocks"))
        lines.append(
            f"index on {database}: {ours:,.0f} events/s; web3 get_logs by range {ranges:,.0f}/s (ratio "
            f"{ours / ranges:.1f}), by block {blocks:,.0f}/s (ratio {ours / blocks:.0f}); Ponder on {kind} "
            f"{rate[f'ponder {database}']:,.0f}/s (ratio {ours / rate[f'ponder {database}']:.1f})"
        )
    return lines


def child(folder: Path, node: chain_node.Node, way: str, url: str | None = None):
    """One step in a process of its own, with the settings of this bench."""
    environment = env.child(
        PORTAL_STATE=str(folder),
        PORTAL_SUP_RPC_URL=node.url,
        PORTAL_SUP_FINALITY="depth:4",
        PORTAL_DATABASE_URL=url,
        DJANGO_SETTINGS_MODULE="portal.settings.dev",
    )
    command = [sys.executable, "-m", "bench.chain_index", way]
    found = subprocess.run(
        command, cwd=measure.REPOSITORY, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(found.stdout.splitlines()[-1])


# -- steps that run in a child -------------------------------------------------------------------------------------


def fill() -> dict:
    """Deploys our contracts and records 100,000 consents in 2,000 blocks. Returns what Ponder has to know."""
    from chain import codec
    from chain.artefacts import deployment
    from chain.conf import conf
    from chain.deploying import deploy
    from chain.signing import address_of
    from chain.types import hex0x

    node = chain_node.Node(int(conf().chain("SUP").rpc_url.rsplit(":", 1)[1]))
    conf().deployer_key_file.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(32)
    conf().deployer_key_file.write_text(key.hex())
    deployer, hospital = hex0x(address_of(key)), node.rpc("eth_accounts")[0]
    node.rpc("anvil_setBalance", deployer, hex(10**24))
    deploy("SUP", wait=node.mine)
    node.rpc("anvil_impersonateAccount", deployer)
    place = deployment("SUP")

    def send(sender: str, contract: str, function: str, *args: object) -> None:
        data = hex0x(codec.function(contract, function).encode(list(args)))
        transaction = {"from": sender, "to": hex0x(place[contract].address), "data": data, "gas": hex(50_000_000)}
        node.rpc("eth_sendTransaction", transaction)

    send(deployer, "Registry", "admitOrganisation", bytes.fromhex(hospital[2:]), 1, secrets.token_bytes(32))
    node.mine()
    start = int(node.rpc("eth_blockNumber"), 16)
    for number in range(EVENTS // A_CALL):
        digests = [secrets.token_bytes(32) for _leaf in range(A_CALL)]
        send(hospital, "Consents", "recordMany", digests, [secrets.token_bytes(20) for _leaf in range(A_CALL)])
        if number % (A_BLOCK // A_CALL) == A_BLOCK // A_CALL - 1:
            node.mine()
    for _number in range(8):
        node.mine()
    return {"address": place["Consents"].checksum, "start": start}


def ours() -> float:
    """`manage.py chain_index --once` on an index that holds nothing yet."""
    from django.core.management import call_command

    from chain.conf import conf
    from chain.indexer import events_reset
    from chain.leases import lease_release, lease_take
    from chain.models import ChainEvent, ChainState

    if ChainState.objects.filter(name="SUP").exists():
        held = lease_take(name="indexer:SUP", holder="bench", seconds=conf().lease_seconds)
        events_reset("SUP", held=held)
        lease_release(held)
    begun = time.perf_counter()
    call_command("chain_index", chain="SUP", once=True)
    seconds = time.perf_counter() - begun
    counted(ChainEvent.objects.filter(name="ConsentRecorded").count(), EVENTS)
    return seconds


def loop(step: int, blocks: int, *, is_bulk: bool) -> float:
    """web3's own way: `get_logs` of one event, `step` blocks at a time, each answer stored before the next."""
    from datetime import UTC, datetime

    from web3 import HTTPProvider, Web3

    from chain import artefacts
    from chain.artefacts import deployment
    from chain.conf import conf
    from chain.models import ChainEvent

    ChainEvent.objects.all().delete()
    w3 = Web3(HTTPProvider(conf().chain("SUP").rpc_url))
    event = w3.eth.contract(address=deployment("SUP")["Consents"].checksum, abi=artefacts.abi("Consents"))
    event = event.events.ConsentRecorded()
    head = w3.eth.block_number
    first = head - 7 - EVENTS // A_BLOCK
    last = min(head, first + blocks - 1)
    at = datetime.now(UTC)  # web3 drops the time that the node puts into a log; asking for it would only cost more
    begun = time.perf_counter()
    for number in range(first, last + 1, step):
        rows = [
            ChainEvent(
                chain="SUP",
                block_hash=bytes(log["blockHash"]),
                block_number=log["blockNumber"],
                block_time=at,
                tx_hash=bytes(log["transactionHash"]),
                log_index=log["logIndex"],
                address=bytes.fromhex(log["address"][2:]),
                contract="Consents",
                name="ConsentRecorded",
                args={"digest": log["args"]["digest"].hex()},
            )
            for log in event.get_logs(from_block=number, to_block=min(last, number + step - 1))
        ]
        if is_bulk:
            ChainEvent.objects.bulk_create(rows, ignore_conflicts=True)
        else:
            for row in rows:
                row.save(force_insert=True)
    seconds = time.perf_counter() - begun
    counted(ChainEvent.objects.count(), min(EVENTS, (last - first + 1) * A_BLOCK))
    return seconds


def counted(found: int, expected: int) -> None:
    if found != expected:
        raise SystemExit(f"{found} events are stored instead of {expected}")


def migrate() -> float:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    return 0.0


# -- Ponder --------------------------------------------------------------------------------------------------------


def ponder_install(project: Path, node: chain_node.Node, place: dict) -> Path:
    """Fetched by this bench alone, into its own folder."""
    abi = json.loads((measure.REPOSITORY / "contracts" / "build" / "Consents.json").read_text())["abi"]
    event = [entry for entry in abi if entry.get("name") == "ConsentRecorded"]
    config = f"""
import {{ createConfig }} from "ponder";
import {{ http }} from "viem";
export default createConfig({{
  networks: {{ sup: {{ chainId: 31337, transport: http("{node.url}"), disableCache: true }} }},
  contracts: {{ Consents: {{ network: "sup", abi: {json.dumps(event)} as const,
    address: "{place["address"]}", startBlock: {place["start"]} }} }},
}});
"""
    for name, text in {**PONDER, "ponder.config.ts": config}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    npm = measure.REPOSITORY / ".venv" / "bin" / "npm"
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=project, check=True)
    return project


@contextmanager
def ponder(project: Path, url: str | None) -> Iterator[subprocess.Popen]:
    binaries = measure.REPOSITORY / ".venv" / "bin"
    environment = env.child(DATABASE_URL=url, PONDER_TELEMETRY_DISABLED="1", CI="1")
    command = [binaries / "node", "node_modules/ponder/dist/esm/bin/ponder.js", "start"]
    command += ["--schema", f"bench_{secrets.token_hex(4)}", "--port", str(chain_node.free_port())]
    shutil.rmtree(project / ".ponder", ignore_errors=True)
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ponder_run(project: Path, url: str | None) -> float:
    """Seconds between Ponder's own lines about the start of the backfill and its end."""
    begun, said = None, []
    with ponder(project, url) as process:
        for line in process.stdout:
            said.append(line)
            if begun is None and "historical sync with" in line:
                begun = time.perf_counter()
            elif begun is not None and "/ready" in line:
                return time.perf_counter() - begun
    raise SystemExit("Ponder did not finish:\n" + "".join(said[-20:]))


WAYS = {
    "fill": fill,
    "migrate": migrate,
    "ours": ours,
    "ranges": lambda: loop(1000, 10**9, is_bulk=True),
    "blocks": lambda: loop(1, LOOP_BLOCKS, is_bulk=False),
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        django.setup()
        print(json.dumps(WAYS[sys.argv[1]]()))
    else:
        main()
