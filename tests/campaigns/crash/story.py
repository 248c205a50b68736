"""What people do in a round, and the background work behind it. Runs in a forked process that may die at any step."""

import hashlib
import json
import os
import random
import signal
from collections import Counter
from contextlib import closing
from datetime import date, timedelta

from django.db import connection
from django.utils import timezone

NOT_QUIET = 4
PASSES = 30  # rounds of background work within which everything must have settled


class Journal:
    """What clients were told. Written straight to the file, so that it outlives the process that was killed."""

    def __init__(self, path):
        self.handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, kind, **line):
        os.write(self.handle, json.dumps({"kind": kind, **line}).encode() + b"\n")


class Injector:
    """Armed as the failpoints' hook: ends or stops this very process at one hit of one name, or at the nth of any."""

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
        if fault["how"] == "stop":
            if connection.in_atomic_block:  # on SQLite nobody else could work, and a lock that is kept is no fault
                return
            self.fault = None
            self.journal.write("fault", name=name, how="stop")
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            self.journal.write("fault", name=name, how="kill")
            os.kill(os.getpid(), signal.SIGKILL)


LATE_JOBS = ("outbox.", "sending.", "index.")


def late(name):
    """A job that holds a lease: whoever comes back after losing it must change nothing."""
    return name.startswith(LATE_JOBS)


class Background:
    """Sender, indexer, projectors and sweeper, in one process and in turn."""

    def __init__(self, nodes, rng, journal):
        from chain.conf import conf
        from chain.indexer import Indexer
        from chain.leases import holder_name, lease_take
        from chain.sending import Sender

        self.nodes, self.rng, self.journal = nodes, rng, journal
        holder = holder_name()
        self.senders, self.indexers = {}, {}
        for name in nodes:
            for job, make, kept in (("sender", Sender, self.senders), ("indexer", Indexer, self.indexers)):
                held = lease_take(name=f"{job}:{name}", holder=holder, seconds=conf().lease_seconds)
                assert held is not None, f"the lease {job}:{name} of the dead process did not end"
                kept[name] = make(name, held)

    def send(self):
        for sender in self.senders.values():
            sender.step()

    def mine(self, blocks):
        for node in self.nodes.values():
            node.mine(blocks)

    def index(self):
        for indexer in self.indexers.values():
            while not indexer.step().is_idle:
                pass

    def project(self):
        from hospitals import projector as hospitals_projector
        from records import projector as records_projector

        return hospitals_projector.project() + records_projector.project_all()

    def sweep(self):
        from records import sweeper, tasks

        return sweeper.sweep_once(tasks.run_inline, grace_seconds=-1)

    def turn(self, blocks=None):
        """One round of everything; True while something moved or waits."""
        started = self.sweep()
        self.send()
        self.mine(blocks or self.rng.choice((1, 3, 4)))
        self.index()
        self.send()
        return bool(self.project() or started or self.is_waiting())

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


class Clients:
    """People at their browsers, doing one thing after the other; each answer they get goes into the journal."""

    def __init__(self, cast, background, rng, journal):
        self.cast, self.background, self.rng, self.journal = cast, background, rng, journal

    def document(self):
        """A file nobody has seen before: canaries in content, name and title."""
        mark = f"CANARY-{self.rng.getrandbits(64):016x}"
        size = self.rng.choice((0, 40, 16_384, 70_000))
        body = f"{mark} blood pressure 120/80\n".encode() + bytes(self.rng.choices(b"abcdefgh \n", k=size))
        return mark, body

    def upload(self, chains=None):
        from hospitals.actors import member_actor
        from hospitals.tenancy import tenant
        from records import services
        from tests.records.conftest import sealed_file

        mark, body = self.document()
        alice, patient = self.cast.alice, self.cast.pat_a
        chains = chains or self.rng.choice(("MED", "SUP", "BOTH"))
        with tenant(patient.hospital_id):
            upload = services.upload_receive(
                actor=member_actor(alice),
                patient=patient,
                file=sealed_file(f"{mark}.txt", body),
                chains=chains,
                category="laboratory",
                title=f"{mark} result",
            )
        self.accepted(upload, body)
        return upload

    def accepted(self, upload, body):
        digest = hashlib.sha256(body).hexdigest()
        self.journal.write("accepted", upload=upload.pk.hex, sha256=digest, size=len(body))

    def correct(self):
        """A second version of a record that is there already."""
        from hospitals.actors import member_actor
        from hospitals.tenancy import tenant
        from records import services
        from tests.records.conftest import sealed_file

        mark, body = self.document()
        record = self.record(self.cast.corrected)
        with tenant(record.hospital_id):
            file = sealed_file(f"{mark}.txt", body)
            upload = services.version_add(actor=member_actor(self.cast.alice), record=record, file=file)
        self.accepted(upload, body)

    def record(self, key):
        from hospitals.tenancy import all_tenants
        from records.models import Record

        with all_tenants("campaign"):
            return Record.objects.select_related("patient__hospital", "hospital").get(pk=key)

    def download(self, member, key, part=None):
        """Byte for byte, as a browser would; noted at the first byte."""
        from hospitals.actors import member_actor
        from records import gate

        actor = member_actor(member)
        version = gate.locate_version(actor=actor, record_id=key)
        released = gate.release(actor=actor, version=version)
        with closing(released):
            for place, _ in enumerate(released.chunks):
                if place == 0:
                    self.journal.write("released", record=version.record_id.hex)

    def read(self):
        self.download(self.cast.alice, self.cast.shared)
        self.download(self.cast.dora, self.cast.shared)

    def share(self):
        """A consent of Pat for Adam's colleague at another hospital, used as soon as it is final."""
        from hospitals.actors import Actor
        from hospitals.tenancy import tenant
        from records import services

        with tenant(self.cast.a):
            grant = services.grant_create(
                actor=Actor(self.cast.pat),
                patient=self.cast.pat_a,
                grantee=self.cast.dora,
                scope_type="all",
                expires_at=timezone.now() + timedelta(days=3),
            )
        self.journal.write("granted", grant=grant.pk.hex)
        self.background.settle()
        self.download(self.cast.dora, self.cast.corrected)

    def revoke(self):
        from hospitals.actors import Actor
        from hospitals.tenancy import tenant
        from records import services
        from records.models import AccessGrant

        with tenant(self.cast.a):
            grant = AccessGrant.objects.select_related("patient", "hospital").get(pk=self.cast.grant)
            services.grant_revoke(actor=Actor(self.cast.pat), grant=grant)
        self.journal.write("revoked", grant=grant.pk.hex)

    def register(self):
        from hospitals import services
        from hospitals.actors import member_actor
        from hospitals.tenancy import tenant

        with tenant(self.cast.a):
            patient = services.patient_register(
                actor=member_actor(self.cast.alice),
                hospital=self.cast.a,
                given_name="Nora",
                family_name=f"Campaign {self.rng.getrandbits(32):x}",
                birth_date=date(1990, 1, 1 + self.rng.randrange(28)),
                is_duplicate_checked=True,
            )
        self.journal.write("registered", patient=patient.pk.hex)


# Scenarios: what happens before everything is left to settle.


def scenario_upload(clients, background):
    clients.upload()


def scenario_two(clients, background):
    """Two uploads share a batch, and a correction stands beside them."""
    clients.upload("BOTH")
    clients.correct()
    clients.upload("MED")


def scenario_read(clients, background):
    clients.read()


def scenario_share(clients, background):
    clients.share()


def scenario_revoke(clients, background):
    clients.revoke()


def scenario_register(clients, background):
    clients.register()


def scenario_witness(clients, background):
    """The ends of all lines of the log, and the head of each chain on the other."""
    from chain.crosscheck import heads_record
    from hospitals.audit_maps import map_make

    clients.download(clients.cast.alice, clients.cast.shared)
    background.settle()
    map_make(clients.cast.a)
    heads_record(is_due=True)


def scenario_fork(clients, background):
    """What was in a block is in none any more: both chains lose two blocks after all was read."""
    clients.upload("BOTH")
    background.sweep()
    background.send()
    background.mine(2)
    background.index()
    background.send()
    for node in background.nodes.values():
        node("anvil_reorg", 2, [])
    background.index()
    background.send()


def scenario_stuck(clients, background):
    """Nobody takes the transaction, so its fee goes up."""
    clients.upload("SUP")
    background.sweep()
    background.send()
    time_passes()
    background.send()


SCENARIOS = {name.removeprefix("scenario_"): act for name, act in globals().items() if name.startswith("scenario_")}

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
    with connection.cursor() as cursor:
        for statement in time_statements(connection.vendor == "postgresql"):
            if "chain_lease" not in statement:
                cursor.execute(statement)


def play(plan, cast, nodes, journal_path, phase):
    """A whole life of a process. `phase`: acts, recover or finish."""
    from chain import failpoints

    journal = Journal(journal_path)
    injector = Injector(plan["faults"].get(phase), journal)
    note_keys(journal)
    rng = random.Random(f"{plan['seed']}:{phase}")
    failpoints.arm(injector)
    background = Background(nodes, rng, journal)
    if phase.startswith("acts"):
        SCENARIOS[plan["scenario"]](Clients(cast, background, rng, journal), background)
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
