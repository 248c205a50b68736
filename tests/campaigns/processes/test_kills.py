"""kill -9 of every part of the running portal at every step of an upload: nothing accepted is lost or done twice."""

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

    def __init__(self, stand):
        self.stand, self.deaths = stand, defaultdict(list)

    def target(self, rng, step):
        names = [name for name in TARGETS if len(self._recent(name)) < MOST_A_MINUTE]
        if step == "in the middle of the body":
            names = [name for name in names if name.startswith("web")] or names
        return rng.choice(names)

    def _recent(self, name):
        part = name.split()[0]
        return [
            at
            for other, times in self.deaths.items()
            if other.split()[0] == part
            for at in times
            if time.monotonic() - at < 60
        ]

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


def play(stand, fire, rng):
    """One upload, one death at one step; returns the name of what was done."""
    step = rng.choice([*BEFORE_THE_ROW, *STEPS])
    name = fire.target(rng, step)
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
def test_every_part_is_killed_at_every_step(campaign):
    run = campaign("process-kills", small=3, ci=30, night=2_000)
    stand = Stand()
    try:
        stand.start()
        fire = Fire(stand)
        for _index, rng in run:
            run.injected(play(stand, fire, rng))
        verdict, took = stand.check()
        run.note(accepted=len(stand.journal), seconds_to_settle=round(took, 1), looked_at=dict(verdict.looked_at))
        assert not verdict.faults, "\n".join(verdict.faults[:20])
        assert stand.journal and verdict.looked_at["I1 uploads"] == len(stand.journal)
    finally:
        stand.stop()
