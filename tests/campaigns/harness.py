"""pytest plugin for campaigns: many seeded rounds, faults counted by name, any round replayable alone.

    run = campaign("reorgs", small=12, ci=192, night=10_000)
    for index, rng in run:
        ...
        run.injected("dropped at depth 12")

A campaign that injected nothing fails. Its figures go to `.run/campaigns/<name>.json`.
"""

import json
import random
import secrets
import time
from collections import Counter

import pytest
from django.conf import settings

SIZES = ("small", "ci", "night")


def pytest_addoption(parser):
    group = parser.getgroup("campaigns")
    group.addoption("--size", choices=SIZES, default="small", help="how many rounds a campaign plays")
    group.addoption("--count", type=int, help="this many rounds, whatever the size")
    group.addoption("--seed", help="play these rounds again")
    group.addoption("--only", type=int, metavar="INDEX", help="play one round of the seed")


class NothingInjected(AssertionError):
    """A campaign without a single fault shows nothing."""


class Run:
    """The rounds of one campaign. Iterating yields (index, rng); the end of the loop checks and reports."""

    def __init__(self, name, *, rounds, seed, only=None, size="small", replay="", folder=None):
        self.name, self.rounds, self.seed, self.only, self.size = name, rounds, seed, only, size
        self.replay, self.folder = replay, folder
        self.counts = Counter()
        self.notes = {}
        self.index = None
        self.is_done = False
        self.begun_at = time.monotonic()

    def rng(self, index):
        return random.Random(f"{self.seed}:{self.name}:{index}")

    def __iter__(self):
        yield from self.ahead()
        self.finish()

    def ahead(self):
        """The same rounds for a campaign that plays several at once; it calls `finish` when all are back."""
        indexes = range(self.rounds) if self.only is None else [self.only]
        for self.index in indexes:
            yield self.index, self.rng(self.index)

    def injected(self, name, times=1):
        """Counts a fault that really fired."""
        self.counts[name] += times

    def note(self, **figures):
        """Adds figures to the report, e.g. how much was checked."""
        self.notes.update(figures)

    def finish(self):
        self.is_done = True
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{self.name}.json").write_text(json.dumps(self.figures(), indent=2) + "\n")
        if not sum(self.counts.values()):
            raise NothingInjected(f"campaign {self.name}: no fault was injected in {self.rounds} rounds")

    def figures(self):
        return {
            "campaign": self.name,
            "size": self.size,
            "seed": self.seed,
            "rounds": self.rounds if self.only is None else 1,
            "injected": sum(self.counts.values()),
            "by_name": dict(sorted(self.counts.items())),
            "seconds": round(time.monotonic() - self.begun_at, 1),
            **self.notes,
        }

    def report(self):
        rounds = self.rounds if self.only is None else 1
        lines = [
            f"campaign {self.name}: SEED={self.seed} size={self.size} rounds={rounds} "
            f"injected={sum(self.counts.values())} in {time.monotonic() - self.begun_at:.1f} s"
        ]
        lines += [f"  {count:6}  {name}" for name, count in sorted(self.counts.items())]
        return "\n".join(lines)

    def how_to_replay(self):
        if self.index is None:
            return f"SEED={self.seed}\nreplay: {self.replay} --seed {self.seed}"
        return f"SEED={self.seed} ONLY={self.index}\nreplay: {self.replay} --seed {self.seed} --only {self.index}"


_RUNS = pytest.StashKey[list]()


@pytest.fixture
def campaign(request):
    """Call it once: campaign("name", small=12, ci=192, night=10_000) gives the rounds to play."""
    option = request.config.getoption
    runs = request.node.stash.setdefault(_RUNS, [])

    def start(name, *, small, ci, night):
        size = option("--size")
        rounds = option("--count") or {"small": small, "ci": ci, "night": night}[size]
        run = Run(
            name,
            rounds=rounds,
            seed=option("--seed") or secrets.token_hex(4),
            only=option("--only"),
            size=size,
            replay=f".venv/bin/python -m pytest '{request.node.nodeid}' --size {size}",
            folder=settings.BASE_DIR / ".run" / "campaigns",
        )
        runs.append(run)
        return run

    return start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed campaign says how to play the same round again; one that was never played fails."""
    report = yield
    runs = item.stash.get(_RUNS, [])
    if report.when == "call" and runs:
        if report.passed and not all(run.is_done for run in runs):
            report.outcome, report.longrepr = "failed", "the campaign was never played to its end"
        for run in runs:
            if report.failed:
                report.sections.append(("replay", run.how_to_replay()))
            else:
                item.config.stash.setdefault(_REPORTS, []).append(run.report())
    return report


_REPORTS = pytest.StashKey[list]()


def pytest_terminal_summary(terminalreporter, config):
    """Seeds and counts are shown for campaigns that passed, too."""
    for text in config.stash.get(_REPORTS, []):
        terminalreporter.write_line(text)
