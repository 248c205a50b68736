"""kill -9 of every part of the running portal at every step of an upload: nothing accepted is lost or done twice."""

import random
import shutil
import threading
import time
from collections import defaultdict

import pytest

from tests.campaigns.processes.stand import Stand

# When, as rows beside the portal show it: the first moment after which the step is done.
STEPS = {
    "row saved": "records_upload WHERE id = %s",
    "claimed by a worker": "records_upload WHERE id = %s AND (state = 'sealing' OR record_id IS NOT NULL)",
    "sealed": "records_upload WHERE id = %s AND state = 'sealed'",
    "nonce taken": "chain_outboxitem i JOIN records_anchor a ON a.ref = i.ref JOIN records_epoch e ON e.id = a.epoch_id"
    " JOIN records_recordversion v ON v.id = e.version_id JOIN records_upload u ON u.record_id = v.record_id"
    " WHERE u.id = %s AND i.transaction_id IS NOT NULL",
    "mined": "chain_outboxitem i JOIN records_anchor a ON a.ref = i.ref JOIN records_epoch e ON e.id = a.epoch_id"
    " JOIN records_recordversion v ON v.id = e.version_id JOIN records_upload u ON u.record_id = v.record_id"
    " WHERE u.id = %s AND i.state IN ('mined', 'final')",
    "indexed": "chain_chainevent c JOIN chain_transaction t ON t.root IS NOT NULL AND c.args->>'root' = '0x' ||"
    " encode(t.root, 'hex') JOIN chain_outboxitem i ON i.transaction_id = t.id JOIN records_anchor a ON a.ref = i.ref"
    " JOIN records_epoch e ON e.id = a.epoch_id JOIN records_recordversion v ON v.id = e.version_id"
    " JOIN records_upload u ON u.record_id = v.record_id WHERE u.id = %s",
}
BEFORE_THE_ROW = ("in the middle of the body", "while the file is sealed")


def worker_child(stand):
    return stand.children(stand.part("worker"))[:2]


def web_child(stand):
    return stand.children(stand.part("web"))


TARGETS = {
    "worker child": worker_child,
    "worker": lambda stand: [stand.part("worker")],
    "beat": lambda stand: [stand.part("beat")],
    "web child": web_child,
    "web": lambda stand: [stand.part("web")],
    "sender": lambda stand: [stand.part("sender")],
    "indexer": lambda stand: [stand.part("indexer")],
    "projector": lambda stand: [stand.part("projector")],
    "redis": lambda stand: [stand.part("redis")],
    "redis with its data lost": lambda stand: [stand.part("redis")],
    "one connection of PostgreSQL": lambda stand: stand.postgres.backends()[:1],
    "PostgreSQL": None,
    "chain SUP": lambda stand: [stand.part("chain-sup")],
    "chain MED": lambda stand: [stand.part("chain-med")],
}
# The supervisor gives up on a part that dies six times within a minute, and should: a person has to look then.
MOST_A_MINUTE = 4


class Fire:
    """Chooses what dies when, and does it."""

    def __init__(self, stand, seed):
        self.stand, self.seed, self.deaths = stand, seed, defaultdict(list)

    def target(self, index):
        """Every part once in each cycle, in an order of the seed."""
        cycle, place = divmod(index, len(TARGETS))
        order = random.Random(f"{self.seed}:{cycle}").sample(list(TARGETS), len(TARGETS))
        name = order[place]
        while len(self._recent(name)) >= MOST_A_MINUTE:
            time.sleep(0.5)
        return name

    def _recent(self, name):
        part = name.split()[0]
        now = time.monotonic()
        return [at for other in self.deaths if other.split()[0] == part for at in self.deaths[other] if now - at < 60]

    def kill(self, name):
        self.deaths[name].append(time.monotonic())
        if name == "PostgreSQL":
            self.stand.postgres.kill()
            return
        for pid in TARGETS[name](self.stand):
            self.stand.kill(pid)
        if name == "redis with its data lost":
            for path in (self.stand.state / "redis").iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def play(stand, fire, index, rng):
    """One upload, one death at one step; returns the name of what was done."""
    name = fire.target(index)
    # What only a web process does is interrupted more often there.
    half_way = BEFORE_THE_ROW * 2 if name.startswith("web") else BEFORE_THE_ROW
    step = rng.choice([*half_way, *STEPS])
    pause = threading.Event() if step == "in the middle of the body" else None
    upload = stand.upload(rng.choice([2_000, 20_000, 2_000_000]), pause)
    upload.is_half_way.wait(30)
    if step == "in the middle of the body":
        fire.kill(name)
        pause.set()
        upload.join(90)
    else:
        upload.join(90)
        if step in STEPS and upload.upload_id:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and not stand.count(STEPS[step], upload.upload_id):
                time.sleep(0.005)
        fire.kill(name)
    return f"{name}: {step}"


@pytest.mark.campaign
@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.scenario("O1")
def test_every_part_is_killed_at_every_step(campaign, request):
    if request.config.getoption("--size") == "small" and not request.config.getoption("--count"):
        pytest.skip("the whole portal takes half a minute to start: run `make campaigns`")
    run = campaign("process-kills", small=2, ci=28, night=2_000)
    stand = Stand()
    try:
        stand.start()
        fire, last = Fire(stand, run.seed), run.rounds - 1 if run.only is None else run.only
        for index, rng in run:
            run.injected(play(stand, fire, index, rng))
            if index == last:
                _look(run, stand)
    finally:
        stand.stop()


def _look(run, stand):
    verdict, took = stand.check()
    run.note(accepted=len(stand.journal), seconds_to_settle=round(took, 1), looked_at=dict(verdict.looked_at))
    assert not verdict.faults, "\n".join(verdict.faults[:20])
    assert stand.journal and verdict.looked_at["I1 uploads"] == len(stand.journal)
    # The same look, after damage of the kinds that a death could leave: each must be named.
    for damage, words in ((_lose_a_file, "is missing"), (_lose_a_row, "was accepted and has no row")):
        damage(stand)
        verdict, _ = stand.check()
        assert any(words in fault for fault in verdict.faults), (words, verdict.faults[:5])


def _lose_a_file(stand):
    next(path for path in (stand.state / "blobs").glob("??/*")).unlink()


def _lose_a_row(stand):
    stand.rows("DELETE FROM records_upload WHERE id = %s RETURNING id", stand.journal[0]["upload"])
