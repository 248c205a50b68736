"""The harness itself: seeds replay, counts are kept, and a campaign without a fault fails."""

import pytest

from tests.campaigns.harness import NothingInjected, Run


def test_same_seed_gives_the_same_rounds_and_one_can_be_played_alone():
    first = {index: rng.random() for index, rng in _faulty(Run("x", rounds=5, seed="s"))}
    alone = {index: rng.random() for index, rng in _faulty(Run("x", rounds=5, seed="s", only=3))}
    assert len(set(first.values())) == 5
    assert alone == {3: first[3]}


def test_other_seed_gives_other_rounds():
    one = [rng.random() for _, rng in _faulty(Run("x", rounds=3, seed="s"))]
    other = [rng.random() for _, rng in _faulty(Run("x", rounds=3, seed="t"))]
    assert not set(one) & set(other)


def test_campaign_that_injects_nothing_fails(tmp_path):
    run = Run("idle", rounds=3, seed="s", folder=tmp_path)
    with pytest.raises(NothingInjected):
        for _ in run:
            pass


def test_report_names_seed_and_each_fault(tmp_path):
    run = Run("x", rounds=4, seed="s", folder=tmp_path)
    for index, _ in run:
        run.injected("odd" if index % 2 else "even")
    assert "SEED=s" in run.report()
    assert run.figures()["by_name"] == {"even": 2, "odd": 2}
    assert (tmp_path / "x.json").exists()


def test_failure_says_how_to_replay():
    run = Run("x", rounds=4, seed="s", replay="pytest a")
    for index, _ in run:
        if index == 2:
            break
    assert run.how_to_replay() == "SEED=s ONLY=2\nreplay: pytest a --seed s --only 2"


def _faulty(run):
    for index, rng in run:
        run.injected("fault")
        yield index, rng
