"""What people do in a round, one act after the other, and what they are told."""

import hashlib
import io
import zipfile
from contextlib import closing
from datetime import date, timedelta

from django.utils import timezone

from tests.campaigns.crash import story


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
        with tenant(patient.hospital_id), closing(sealed_file(f"{mark}.txt", body)) as file:
            upload = services.upload_receive(
                actor=member_actor(alice),
                patient=patient,
                file=file,
                chains=chains,
                category="laboratory",
                title=f"{mark} result",
            )
        self.accepted(upload, body)

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
        with tenant(record.hospital_id), closing(sealed_file(f"{mark}.txt", body)) as file:
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

    def grant(self):
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
        return grant.pk

    def share(self):
        """A consent of Pat for somebody at another hospital, used as soon as it is final."""
        self.grant()
        self.background.settle()
        self.download(self.cast.dora, self.cast.corrected)

    def revoke(self, key=None):
        from hospitals.actors import Actor
        from hospitals.tenancy import tenant
        from records import services
        from records.models import AccessGrant

        with tenant(self.cast.a):
            grant = AccessGrant.objects.select_related("patient", "hospital").get(pk=key or self.cast.grant)
            services.grant_revoke(actor=Actor(self.cast.pat), grant=grant)
        self.journal.write("revoked", grant=grant.pk.hex)

    def move(self):
        """Entered for the wrong patient: sealed anew for the right one, out of the bytes that are there."""
        from hospitals.actors import member_actor
        from hospitals.tenancy import tenant
        from records import services

        record = self.record(self.cast.moved)
        with tenant(self.cast.a):
            upload = services.record_move(
                actor=member_actor(self.cast.alice), record=record, patient=self.cast.kim_a, reason="wrong_patient"
            )
        self.journal.write("accepted", upload=upload.pk.hex, **self.cast.contents[record.pk.hex])

    def hold(self):
        """A file that the worker holds back: an archive in an archive."""
        from hospitals.actors import member_actor
        from hospitals.tenancy import tenant
        from records import services
        from tests.records.conftest import sealed_file

        patient = self.cast.pat_a
        with tenant(patient.hospital_id), closing(sealed_file("CANARY-held.zip", nested_archive())) as file:
            upload = services.upload_receive(
                actor=member_actor(self.cast.alice),
                patient=patient,
                file=file,
                chains="MED",
                category="laboratory",
                title="CANARY-held",
            )
        self.journal.write("held", upload=upload.pk.hex)
        return upload

    def discard(self):
        from hospitals.actors import member_actor
        from hospitals.tenancy import tenant
        from records import services
        from records.models import Upload

        with tenant(self.cast.a):
            upload = Upload.objects.select_related("hospital", "patient").get(pk=self.cast.held)
            services.upload_discard(actor=member_actor(self.cast.alice), upload=upload)
        self.journal.write("discarded", upload=upload.pk.hex)

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


def nested_archive():
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("CANARY-held-inner.zip", b"PK\x05\x06" + bytes(18))
    return outer.getvalue()


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


def scenario_hasty(clients, background):
    """A consent is stopped before the chain has it."""
    key = clients.grant()
    if clients.rng.random() < 0.5:
        background.turn(1)
    clients.revoke(key)


def scenario_move(clients, background):
    clients.move()
    clients.discard()


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
    story.time_passes()
    background.send()


SCENARIOS = {name.removeprefix("scenario_"): act for name, act in globals().items() if name.startswith("scenario_")}
