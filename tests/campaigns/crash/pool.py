"""The test's side of the lanes: plans rounds from a seed, hands them out, collects what came back."""

import ast
import contextlib
import json
import selectors
import subprocess
import sys
from pathlib import Path

from tests.campaigns.crash.clients import SCENARIOS
from tests.campaigns.crash.story import late

ROOT = Path(__file__).absolute().parents[3]
APPS = ("chain", "hospitals", "records")
# Reached by other campaigns only.
ELSEWHERE = ("deploy.",)
# Of eight rounds at a failpoint, five kill the process there; in the others it meets an error, is told to exit, or (if
# it holds a lease) is stopped.
CYCLE = ("kill", "kill", "raise", "kill", "exit", "kill", "stop", "kill")


def failpoints():
    """Every name that the product gives to fp(), from its source: {name: module}."""
    found = {}
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fp":
                    name = node.args[0].value
                    assert name not in found, f"{name} stands in {found[name]} and in {path.name}"
                    found[name] = path.relative_to(ROOT).as_posix()
    return {name: place for name, place in found.items() if not name.startswith(ELSEWHERE)}


def fault_of(name, cycle):
    how = CYCLE[cycle % len(CYCLE)]
    return "kill" if how == "stop" and not late(name) else how


def plan(rng, index, profile, *, names, scenarios=None, how=None, plant=""):
    """One round: which scenario, where the first process dies, and how often recovery dies as well."""
    name = names[index % len(names)]
    how = how or fault_of(name, index // len(names))
    chosen = [(s, hits[name]) for s, hits in profile.items() if name in hits and (not scenarios or s in scenarios)]
    assert chosen, f"no scenario reaches the failpoint {name}"
    scenario, count = rng.choice(chosen)
    faults = {"acts": {"name": name, "hit": rng.randint(1, count), "how": how}}
    for number in range(rng.choice((0, 0, 1, 1, 2))):
        faults[f"recover {number + 1}"] = {"name": "*", "hit": rng.randint(1, 30), "how": "kill"}
    return {"index": index, "seed": f"{rng.getrandbits(64):x}", "scenario": scenario, "faults": faults, "plant": plant}


class Lanes:
    """Processes that play rounds side by side."""

    def __init__(self, count, environment=None):
        command = [sys.executable, "-m", "tests.campaigns.crash.lane"]
        self.lanes = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
            )
            for _ in range(count)
        ]
        self.busy = {}
        self.selector = selectors.DefaultSelector()
        self.profile = None
        for lane in self.lanes:
            self.selector.register(lane.stdout, selectors.EVENT_READ, lane)
        for lane in self.lanes:
            answer = lane.stdout.readline()
            assert answer and json.loads(answer)["ready"], "a lane did not start"

    def play(self, plans):
        """Results as they come, each with its plan; plans are taken only when a lane is free."""
        plans = iter(plans)
        while True:
            for lane in self.lanes:
                if lane.pid not in self.busy and plans is not None:
                    wanted = next(plans, None)
                    if wanted is None:
                        plans = None
                    else:
                        self.busy[lane.pid] = wanted
                        lane.stdin.write(json.dumps(wanted) + "\n")
                        lane.stdin.flush()
            if not self.busy:
                return
            for key, _ in self.selector.select():
                line = key.data.stdout.readline()
                wanted = self.busy.pop(key.data.pid)
                assert line, f"a lane ended in round {wanted}"
                yield wanted, json.loads(line)

    def profiled(self):
        """How often each scenario passes each failpoint, from rounds without a fault. These must be clean, too."""
        if self.profile is None:
            wanted = [
                {"index": number, "seed": "profile", "scenario": name, "faults": {}, "plant": ""}
                for number, name in enumerate(SCENARIOS)
            ]
            self.profile = {}
            for played, result in self.play(wanted):
                assert not result["faults"], (played["scenario"], result["faults"])
                assert all(result["looked_at"].values()), result["looked_at"]
                self.profile[played["scenario"]] = result["hits"]["acts"]
            self.profile = {name: self.profile[name] for name in SCENARIOS}  # in this order, whoever was faster
        return self.profile

    def close(self):
        for lane in self.lanes:
            with contextlib.suppress(OSError):
                lane.stdin.close()
        for lane in self.lanes:
            lane.wait(30)
            lane.stdout.close()
        self.selector.close()
