"""Looks at what a round left behind: database, blob folder and both chains, and nothing of the product's code.

Each invariant is a generator of faults; `check` runs all of them and counts what they looked at, so that a check that
found nothing to look at cannot pass for one that holds.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.crash import rules_chain, rules_log, rules_records, rules_state
from tests.campaigns.crash.chainside import Chain
from tests.campaigns.crash.reading import Database


@dataclass
class Facts:
    """What is known from outside: where things lie, what clients were told, which keys may open what."""

    database: str
    blobs: Path
    chains: dict[str, Chain]
    journal: list[dict]  # what clients saw, in order
    wrap_keys: dict[str, bytes] = field(default_factory=dict)  # hospital -> its private key, to read as it would
    needles: list[bytes] = field(default_factory=list)  # must be on no disk
    bystander: str = ""  # a hospital that did nothing
    bystander_before: str = ""
    scanned: list[Path] = field(default_factory=list)

    def told(self, kind):
        return [line for line in self.journal if line["kind"] == kind]


@dataclass
class Verdict:
    faults: list[str] = field(default_factory=list)
    looked_at: Counter = field(default_factory=Counter)


def check(facts: Facts) -> Verdict:
    verdict = Verdict()
    with Database(facts.database) as db:
        for chain in facts.chains.values():
            chain.read()
        for name, rule in RULES.items():
            for fault in rule(db, facts, verdict.looked_at):
                verdict.faults.append(f"{name}: {fault}")
    return verdict


RULES = {
    "I1": rules_records.no_record_lost,
    "I2": rules_chain.one_final_anchor,
    "I3": rules_chain.nonces_spent_once,
    "I4": rules_records.nothing_readable,
    "I5": rules_records.releases_were_allowed,
    "I6": rules_chain.index_is_the_chain,
    "I7": rules_records.files_and_rows_agree,
    "I8": rules_log.log_is_whole,
    "I9": rules_state.nothing_is_waiting,
    "I10": rules_state.tenants_are_apart,
    "signatures": rules_records.signatures_hold,
}
