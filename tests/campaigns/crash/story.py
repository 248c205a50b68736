"""The life of one process of a round: armed, it acts and does the background work, and may die at any step."""

import json
import os
import random
import signal
from collections import Counter

from django.db import connection

NOT_QUIET = 4
PASSES = 20  # rounds of background work within which everything must have settled


class Injected(Exception):
    """An error out of nothing: a full disk, a lost connection, no memory."""


class Journal:
    """What clients were told. Written straight to the file, so that it outlives the process that was killed."""

    def __init__(self, path):
        self.path = path
        self.handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, kind, **line):
        os.write(self.handle, json.dumps({"kind": kind, **line}).encode() + b"\n")

    def lines(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()]


class Injector:
    """Armed as the failpoints' hook: at one hit of one name, or at the nth of any, this very process is killed or
    stopped, is told to exit (every clean-up runs), or meets an error (it goes on)."""

    def __init__(self, fault, journal):
        self.fault, self.journal = fault, journal
        self.hits = Counter()

    def __call__(self, name):
        self.hits[name] += 1
        fault = self.fault
        if fault is None or (fault["name"] not in (name, "*")):
            return
        count = self.hits.total() if fault["name"] == "*" else self.hits[name]
        if count < fault["hit"]:
            return
        # On SQLite nobody else could work inside of a transaction, and a lock that is kept is no fault.
        if fault["how"] == "stop" and connection.in_atomic_block:
            return
        self.fault = None
        self.journal.write("fault", name=name, how=fault["how"])
        if fault["how"] == "raise":
            raise Injected(name)
        if fault["how"] == "exit":
            raise SystemExit
        os.kill(os.getpid(), signal.SIGSTOP if fault["how"] == "stop" else signal.SIGKILL)


LATE_JOBS = ("outbox.", "sending.", "index.")


def late(name):
    """A job that holds a lease: whoever comes back after losing it must change nothing."""
    return name.startswith(LATE_JOBS)


class Background:
    """Sender, indexer, projectors and sweeper, in one process and in turn."""

    def __init__(self, nodes, rng, journal):
        self.nodes, self.rng, self.journal = nodes, rng, journal
        self.held, self.senders, self.indexers = [], {}, {}
        self.begin()

    def begin(self):
        """Leases, and who works under them."""
        from chain.conf import conf
        from chain.indexer import Indexer
        from chain.leases import holder_name, lease_take
        from chain.sending import Sender

        holder = holder_name()
        for name in self.nodes:
            for job, make, kept in (("sender", Sender, self.senders), ("indexer", Indexer, self.indexers)):
                held = lease_take(name=f"{job}:{name}", holder=holder, seconds=conf().lease_seconds)
                assert held is not None, f"the lease {job}:{name} of the dead process did not end"
                self.held.append(held)
                kept[name] = make(name, held)

    def steadily(self, job):
        """As the loops around the jobs do: an error is noted, the lease given back, and after a while it goes on."""
        from chain.errors import ChainError, LeaseLost
        from chain.leases import lease_release
        from chain.models import Lease

        try:
            return job()
        except LeaseLost:
            raise
        except (ChainError, Injected) as error:
            self.journal.write("trouble", error=f"{type(error).__name__}: {error}")
            if not all(Lease.objects.filter(name=h.name, holder=h.holder, fence=h.fence).exists() for h in self.held):
                raise LeaseLost("somebody else is at work: the loop would wait for them to end") from error
            while self.held:
                lease_release(self.held.pop())
            time_passes()
            self.begin()
        return True

    def send(self):
        for sender in list(self.senders.values()):
            sender.step()

    def mine(self, blocks):
        for node in self.nodes.values():
            node.mine(blocks)

    def index(self):
        for indexer in list(self.indexers.values()):
            while not indexer.step().is_idle:
                pass

    def project(self):
        from hospitals import projector as hospitals_projector
        from records import projector as records_projector

        return hospitals_projector.project() + records_projector.project_all()

    def sweep(self):
        from records import sweeper, tasks

        def run(*step):  # each is a task of its own: an error in one stops no other
            self.steadily(lambda: tasks.run_inline(*step))

        return sweeper.sweep_once(run, grace_seconds=-1)

    def turn(self, blocks=None):
        """One round of everything; True while something moved or waits."""
        started = self.steadily(self.sweep)
        self.steadily(self.send)
        self.mine(blocks or self.rng.choice((1, 3, 4)))
        self.steadily(self.index)
        self.steadily(self.send)
        return bool(self.steadily(self.project) or started or self.is_waiting())

    def settle(self):
        for _ in range(PASSES):
            if not self.turn():
                return
        self.journal.write("not quiet", waiting=[str(row) for row in self.is_waiting()][:5])
        os._exit(NOT_QUIET)

    @staticmethod
    def is_waiting():
        from django.db.models import F

        from chain.models import OutboxItem
        from hospitals.tenancy import all_tenants
        from records.models import AccessGrant, Epoch, RecordVersion, Upload

        with all_tenants("is anything half-way?"):
            return [
                *OutboxItem.objects.filter(state__in=["queued", "broadcast", "mined"]),
                *Upload.objects.filter(state__in=["received", "sealing"]),
                *RecordVersion.objects.filter(rekey_requested_at__isnull=False),
                *RecordVersion.objects.filter(state__in=["sealed", "anchored"]),
                *Epoch.objects.filter(number__lt=F("version__epoch"), retired_at__isnull=True),
                *AccessGrant.objects.filter(state__in=["pending", "revoking"]),
                *AccessGrant.objects.filter(state="active", wrapped_at__isnull=True),
            ]

    def scrub(self):
        from records import sweeper

        sweeper.scrub_orphans(older_than_seconds=0)


# A minute goes by for everything that waits for one: leases, claims and resends.
TIMES = (
    ("chain_lease", "expires_at"),
    ("chain_attempt", "created_at"),
    ("chain_attempt", "sent_at"),
    ("chain_transaction", "created_at"),
    ("chain_outboxitem", "retry_at"),
    ("records_upload", "claimed_until"),
    ("records_recordversion", "rekey_claimed_until"),
)


def time_statements(is_postgres, seconds=60):
    for table, column in TIMES:
        if is_postgres:
            yield f"UPDATE {table} SET {column} = {column} - interval '{seconds} seconds'"
        else:
            # As Django stores it: with microseconds, without a zone.
            moved = f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-{seconds} seconds') || '000'"
            yield f"UPDATE {table} SET {column} = {moved} WHERE {column} IS NOT NULL"


def time_passes():
    """The same inside a process that goes on: its own leases stay."""
    from hospitals.tenancy import all_tenants

    with all_tenants("a minute passes"), connection.cursor() as cursor:
        for statement in time_statements(connection.vendor == "postgresql"):
            if "chain_lease" not in statement:
                cursor.execute(statement)


def play(plan, cast, nodes, journal_path, phase):
    """A whole life of a process. `phase`: acts, recover or finish."""
    from django.db.models.functions import Now

    from chain import failpoints
    from chain.errors import ChainError, LeaseLost
    from chain.models import Lease as LeaseRows
    from records.errors import ChainUnavailable
    from tests.campaigns.crash import clients

    journal = Journal(journal_path)
    injector = Injector(plan["faults"].get(phase), journal)
    note_keys(journal)
    rng = random.Random(f"{plan['seed']}:{phase}")
    failpoints.arm(injector)
    try:
        background = Background(nodes, rng, journal)
    except Injected:  # before it began; its loop tries again once the lease has ended
        LeaseRows.objects.update(holder="", expires_at=Now())
        background = Background(nodes, rng, journal)
    if phase.startswith("acts"):
        try:
            clients.SCENARIOS[plan["scenario"]](clients.Clients(cast, background, rng, journal), background)
        except LeaseLost:
            raise
        except (Injected, ChainError, ChainUnavailable) as error:
            journal.write("trouble", error=f"a request failed: {type(error).__name__}")
            time_passes()
    background.settle()
    if phase == "finish":
        background.scrub()
    journal.write("lived", phase=phase, hits=injector.hits)


def note_keys(journal):
    """Every data key that is made goes into the journal, so that the checker can look for it on disk."""
    from records import crypto, epochs, sealing

    made = crypto.dek_generate

    def noted():
        key = made()
        journal.write("key", hex=key.hex())
        return key

    for module in (crypto, epochs, sealing):
        if hasattr(module, "dek_generate"):
            module.dek_generate = noted
