"""Campaigns take longer than one test: their rounds are bounded by count, not by the suite's time limit."""

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("campaign") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))
