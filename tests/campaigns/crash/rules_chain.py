"""What must hold between our rows and the two chains: anchors, nonces, index."""

import json
from collections import Counter, defaultdict

from tests.campaigns.crash import opening


def one_final_anchor(db, facts, looked_at):
    """I2: each epoch stands in exactly one final root on each chosen chain, and its leaf leads to that root."""
    items, transactions = db.by("chain_outboxitem", "ref"), db.by("chain_transaction")
    members = defaultdict(list)
    for item in items.values():
        if item["lane"] == "anchor" and item["transaction_id"]:
            members[item["transaction_id"]].append(item)
    chosen = {"BOTH": {"SUP", "MED"}, "SUP": {"SUP"}, "MED": {"MED"}}
    anchors = defaultdict(set)
    for anchor in db.table("records_anchor"):
        looked_at["I2 anchors"] += 1
        anchors[anchor["epoch_id"]].add(anchor["chain"])
        item = items.get(anchor["ref"])
        if item is None:
            yield f"anchor {anchor['ref']} was never wished for"
            continue
        if (anchor["state"], item["state"]) != ("final", "final"):
            yield f"anchor {anchor['ref']} is {anchor['state']}, its wish {item['state']} {item['error']!r}"
            continue
        row = transactions[item["transaction_id"]]
        leaves = [m["leaf"] for m in sorted(members[row["id"]], key=lambda m: m["leaf_index"])]
        if [m["leaf_index"] for m in sorted(members[row["id"]], key=lambda m: m["leaf_index"])] != list(
            range(len(leaves))
        ):
            yield f"batch {row['id']} has holes in its leaves"
        found = facts.chains[anchor["chain"]].roots.get(opening.merkle_root(leaves).hex(), [])
        if len(found) != 1 or found[0]["count"] != len(leaves):
            yield f"anchor {anchor['ref']}: the root of its batch is on {anchor['chain']} {len(found)} times"
        elif found[0]["tx_hash"] != (anchor["tx_hash"] or b"").hex():
            yield f"anchor {anchor['ref']} names another transaction than the one with its root"
    for epoch in db.table("records_epoch"):
        version = db.by("records_recordversion")[epoch["version_id"]]
        if anchors[epoch["id"]] != chosen[version["chains"]]:
            yield f"epoch {epoch['id']} is anchored on {sorted(anchors[epoch['id']])}, chosen was {version['chains']}"
        if epoch["leaf_salt"] and epoch["leaf"] != opening.leaf(epoch["leaf_salt"], epoch["manifest"].encode()):
            yield f"epoch {epoch['id']}: the leaf does not follow from its manifest"
        if epoch["number"] == version["epoch"] and version["state"] not in ("final", "superseded", "withdrawn"):
            yield f"version {version['id']} is {version['state']}"
    leaves = Counter((i["chain"], i["leaf"]) for i in items.values() if i["lane"] == "anchor")
    for (chain, leaf), count in leaves.items():
        if count > 1:
            yield f"leaf {leaf.hex()[:12]} stands in {count} wishes for {chain}"
    for name, chain in facts.chains.items():
        ours = {r["root"].hex() for r in transactions.values() if r["chain"] == name and r["lane"] == "anchor"}
        for root in set(chain.roots) - ours:
            yield f"{name} holds root {root[:12]} that no row knows"
        total = sum(entry["count"] for entries in chain.roots.values() for entry in entries)
        wanted = sum(1 for i in items.values() if i["lane"] == "anchor" and i["chain"] == name)
        if total != wanted:
            yield f"{name} holds {total} leaves under roots for {wanted} wishes"


def nonces_spent_once(db, facts, looked_at):
    """I3: one transaction for each nonce, none missing, none waiting, and as many batches as rows."""
    spent = defaultdict(list)
    lanes = Counter()
    for row in db.table("chain_transaction"):
        if row["state"] == "dropped":
            continue
        spent[row["chain"], row["sender"]].append(row["account_nonce"])
        lanes[row["chain"], row["lane"]] += 1
        if row["state"] != "final" or row["is_reverted"]:
            where = f"{row['chain']} nonce {row['account_nonce']} {row['lane']}"
            yield f"transaction {where} is {row['state']} {row['error']!r}"
    attempts = defaultdict(list)
    for attempt in db.table("chain_attempt"):
        attempts[attempt["transaction_id"]].append(attempt)
    for row in db.table("chain_transaction"):
        looked_at["I3 transactions"] += 1
        mined = [a for a in attempts[row["id"]] if a["tx_hash"].hex() in facts.chains[row["chain"]].mined]
        if row["state"] != "dropped" and len(mined) != 1:
            yield f"transaction {row['chain']} nonce {row['account_nonce']}: {len(mined)} of its attempts are in blocks"
    for account in db.table("chain_account"):
        chain, address = facts.chains[account["chain"]], account["address"]
        latest, pending = chain.nonces(address)
        nonces = sorted(spent[account["chain"], address])
        if latest != pending:
            yield f"{account['chain']} {address.hex()[:8]}: nonces {latest} to {pending} wait in the pool"
        if account["next_account_nonce"] != latest:
            yield f"{account['chain']} {address.hex()[:8]}: next nonce {account['next_account_nonce']}, chain {latest}"
        if nonces != list(range(latest - len(nonces), latest)):
            yield f"{account['chain']} {address.hex()[:8]}: nonces {nonces} are not the last {len(nonces)} of {latest}"
    for name, chain in facts.chains.items():
        for lane, event in (("anchor", "Anchored"), ("access", "AccessLogged")):
            if chain.counts[event] != lanes[name, lane]:
                yield f"{name}: {chain.counts[event]} {event} events for {lanes[name, lane]} batches"


def index_is_the_chain(db, facts, looked_at):
    """I6: canonical events are exactly the chain's logs, in place and decoded, and blocks are linked."""
    for name, chain in facts.chains.items():
        state = db.by("chain_chainstate", "name")[name]
        if state["halted_reason"] or state["gaps"]:
            yield f"{name} stopped or has gaps: {state['halted_reason']} {state['gaps']}"
        if state["cursor_number"] != chain.head or state["cursor_hash"].hex() != chain.block_hash(chain.head):
            yield f"{name}: the index is at {state['cursor_number']}, the chain at {chain.head}"
        rows = [e for e in db.table("chain_chainevent") if e["chain"] == name and e["is_canonical"]]
        ours = sorted(
            (
                e["block_number"],
                e["log_index"],
                e["block_hash"].hex(),
                e["tx_hash"].hex(),
                e["address"].hex(),
                e["contract"],
                e["name"],
                json.dumps(e["args"], sort_keys=True),
            )
            for e in rows
        )
        looked_at["I6 events"] += len(ours)
        theirs = chain.events(state["cursor_number"])
        for missing in [event for event in theirs if event not in set(ours)][:3]:
            yield f"{name}: the index lacks {missing[:2]} {missing[6]}"
        for extra in [event for event in ours if event not in set(theirs)][:3]:
            yield f"{name}: the chain lacks {extra[:2]} {extra[6]}"
        if len(ours) != len(set(ours)):
            yield f"{name}: an event is in the index twice"
        for block in db.table("chain_block"):
            if (
                block["chain"] == name
                and block["is_canonical"]
                and chain.block_hash(block["number"]) != (block["hash"].hex())
            ):
                yield f"{name}: block {block['number']} of the index is not the chain's"
        for cursor in db.table("chain_projectorcursor"):
            final = [e for e in theirs if e[0] <= min(state["finalized"], state["cursor_number"])]
            here = (cursor["block_number"], cursor["log_index"])
            if cursor["chain"] == name and final and here != final[-1][:2]:
                yield f"{name}: projector {cursor['name']} stands at {here}, the last final event at {final[-1][:2]}"
