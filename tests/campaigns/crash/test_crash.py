"""Kill anywhere: a process ends itself at a failpoint, others recover, and everything that was promised still holds."""

import ast
import itertools
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from portal import env
from tests import postgres
from tests.campaigns.crash import pool
from tests.campaigns.crash.planted import DEFECTS
from tests.campaigns.harness import NothingInjected, Run

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3600)]
NAMES = sorted(pool.failpoints())
# What the checker must have had before its eyes, or its silence would mean nothing.
BLIND = {"I1 uploads", "I2 anchors", "I3 transactions", "I4 files", "I5 releases", "I5 consents", "I6 events"}
BLIND |= {"I7 blobs", "I8 links", "I8 acts", "I9 wishes", "I10 rows", "signatures"}
LEAST = 10  # kills at each failpoint, from ci size on


def played(run, lanes, until=lambda: False, more=None, **wanted):
    """Plays the rounds of a run on all lanes, counts what fired, and yields each (plan, result)."""
    profile = lanes.profiled()
    indexes = run.ahead() if more is None else more
    rounds = (pool.plan(rng, index, profile, **{"names": order(run), **wanted}) for index, rng in indexes)
    for plan, result in lanes.play(itertools.takewhile(lambda _: not until(), rounds)):
        for name, how in result["fired"]:
            run.injected(f"{how} {name}")
        yield plan, result


def order(run):
    return random.Random(run.seed).sample(NAMES, len(NAMES))


def more_of(run):
    """Further rounds of the same seed, for the failpoints that were killed at too rarely."""
    kills, names = kills_of(run), order(run)
    for place, name in enumerate(names):
        cycles = itertools.count(run.rounds // len(names) + 1)
        wanted = (cycle for cycle in cycles if pool.fault_of(name, cycle) == "kill")
        for cycle in itertools.islice(wanted, max(0, LEAST - kills[name])):
            run.index = cycle * len(names) + place
            yield run.index, run.rng(run.index)


def judge(run, plan, result):
    if result["faults"]:
        run.index = plan["index"]
        pytest.fail("\n".join([json.dumps(plan), *result["faults"][:20]]), pytrace=False)


def kills_of(run):
    return Counter({name.removeprefix("kill "): n for name, n in run.counts.items() if name.startswith("kill ")})


@pytest.mark.scenario("O1")
def test_nothing_is_lost_or_done_twice_wherever_a_process_dies(campaign, lanes):
    run = campaign("crash", small=8, ci=12 * len(NAMES), night=120 * len(NAMES))
    looked_at = Counter()
    for plan, result in played(run, lanes):
        looked_at.update(result["looked_at"])
        judge(run, plan, result)
    is_whole = run.rounds >= 12 * len(NAMES) and run.only is None
    for _ in range(5 if is_whole else 0):  # a kill may miss: what recovery does depends on what was done before
        for plan, result in played(run, lanes, more=more_of(run)):
            judge(run, plan, result)
    kills = kills_of(run)
    run.note(kills=sum(kills.values()), looked_at=dict(looked_at))
    run.finish()
    assert run.only is not None or not BLIND - set(looked_at), f"nothing to look at: {BLIND - set(looked_at)}"
    if is_whole:
        assert sum(kills.values()) >= 1000
        rare = {name: kills[name] for name in NAMES if kills[name] < LEAST}
        assert not rare, f"failpoints with fewer than {LEAST} kills: {rare}"


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_planted_defect_is_caught(name, lanes, request):
    """The same plans, the same checker, one defect in the product."""
    defect = DEFECTS[name]
    run = Run(f"planted {name}", rounds=40, seed=request.config.getoption("--seed") or "planted")
    wanted = {"names": defect.names, "scenarios": defect.scenarios, "how": defect.how, "plant": name}
    seen = []
    for _, result in played(run, lanes, until=lambda: any(map(defect.is_caught, seen)), **wanted):
        seen.append(result["faults"])
        assert not any(fault.startswith(("lane:", "not planted:")) for fault in result["faults"]), result["faults"]
    assert run.counts, "no process was killed"
    assert any(map(defect.is_caught, seen)), f"{defect.text} Nobody noticed in {len(seen)} rounds: {seen}"


def test_campaign_without_a_fault_fails(lanes):
    """Rounds in which no process dies show nothing, and the campaign says so."""
    run = Run("unarmed", rounds=2, seed="x")
    nowhere = {"acts": {"name": "no such place", "hit": 1, "how": "kill"}}
    plan = {"seed": "x", "scenario": "read", "faults": nowhere, "plant": ""}
    rounds = ({"index": index, **plan} for index, _ in run.ahead())
    with pytest.raises(NothingInjected):
        for _, result in lanes.play(rounds):
            for name, how in result["fired"]:
                run.injected(f"{how} {name}")
        run.finish()


def test_the_checker_uses_no_code_of_the_product():
    """Nor does it import Django: what it says rests on rows, files and nodes alone."""
    here = Path(__file__).parent
    names = ["checker", "chainside", "opening", "reading", *(path.stem for path in here.glob("rules_*.py"))]
    assert len(names) == 8
    for name in names:
        for node in ast.walk(ast.parse((here / f"{name}.py").read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                assert module.split(".")[0] not in (*pool.APPS, "portal", "django"), (name, module)
                if module.startswith("tests."):
                    assert module == "tests.campaigns.crash" or module.rpartition(".")[2] in names, (name, module)


def test_every_failpoint_stands_in_the_page(settings):
    page = (settings.BASE_DIR / "docs" / "robustness.md").read_text()
    missing = [name for name in NAMES if f"`{name}`" not in page]
    assert not missing, f"docs/robustness.md lacks {missing}"


def test_every_failpoint_is_reached_by_a_scenario(lanes):
    reached = {name for hits in lanes.profiled().values() for name in hits}
    assert set(NAMES) <= reached, f"no scenario reaches {sorted(set(NAMES) - reached)}"


@pytest.mark.scenario("O1")
def test_nothing_is_lost_or_done_twice_on_postgresql(campaign, request):
    """The same plans against a server, whose locks and transactions differ; fewer rounds, copying its files is slow."""
    if request.config.getoption("--size") == "small" and not request.config.getoption("--count"):
        pytest.skip("a server and its template take longer than a small run may; `make campaigns` plays it")
    run = campaign("crash-postgresql", small=20, ci=len(NAMES) // 2, night=10 * len(NAMES))
    with postgres.server() as url:
        lanes = pool.Lanes(2, env.child(PORTAL_TEST_DATABASE="postgres", PORTAL_DATABASE_URL=url))
        try:
            for plan, result in played(run, lanes):
                judge(run, plan, result)
            run.finish()
        finally:
            lanes.close()
