"""pytest plugin: `--scenarios FILE` prints id, tests and result of every scenario, and writes them as a page."""

import re

import pytest

RANK = {"skipped": 0, "passed": 1, "failed": 2}  # one test that ran shows more than one that could not
WORDS = {"passed": "holds", "skipped": "not checked here", "failed": "FAILS"}


def pytest_addoption(parser):
    parser.addoption("--scenarios", metavar="FILE", help="write the table of scenarios to FILE")


def pytest_configure(config):
    if config.getoption("--scenarios", None):
        config.pluginmanager.register(Table(config.getoption("--scenarios")), "scenario-table")


def in_order(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


class Table:
    def __init__(self, path):
        self.path = path
        self.tests = {}  # scenario id -> {test name: outcome}
        self.ids = {}  # node id -> scenario ids

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        for item in items:
            self.ids[item.nodeid] = [name for mark in item.iter_markers("scenario") for name in mark.args]

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.split("[")[0]
        for scenario in self.ids.get(report.nodeid, ()):
            tests = self.tests.setdefault(scenario, {})
            if report.outcome == "passed" and report.when != "call":
                continue  # setting up and tearing down show nothing
            if RANK[report.outcome] >= RANK[tests.get(name, "skipped")]:
                tests[name] = report.outcome

    def pytest_terminal_summary(self, terminalreporter):
        rows = []
        for scenario in sorted(self.tests, key=in_order):
            tests = self.tests[scenario]
            outcome = max(tests.values(), key=RANK.__getitem__)
            rows.append((scenario, tests, WORDS[outcome]))
            terminalreporter.write_line(f"{scenario:5} {len(tests):3} tests  {WORDS[outcome]}")
        lines = [
            "# Scenarios",
            "",
            "Written by `make scenarios`: each outcome, the tests that show it, and the result.",
            "",
        ]
        lines += ["| scenario | result | tests |", "|---|---|---|"]
        for scenario, tests, word in rows:
            lines.append(f"| {scenario} | {word} | {'<br>'.join(f'`{name}`' for name in sorted(tests))} |")
        with open(self.path, "w") as page:
            page.write("\n".join(lines) + "\n")
