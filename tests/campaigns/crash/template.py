"""The state that every round begins with: people on both chains, three records of Pat, and a consent in use."""

import random
import secrets
from datetime import timedelta

from django.utils import timezone

from tests.campaigns.crash import story
from tests.campaigns.crash.clients import Clients
from tests.people import make_people


def cast_make(nodes, journal):
    """The people of tests/people.py, admitted and registered; with records, a consent and a file that is held back."""
    from chain.deploying import deployer_key
    from chain.gateway import address_of
    from hospitals.tenancy import all_tenants, tenant
    from records.models import Record, Upload
    from tests.records.conftest import _call, _register

    people = make_people()
    deployer = address_of(deployer_key())
    rng = random.Random("template")
    background = story.Background(nodes, rng, journal)
    staff = {people.a: [people.alice, people.adam], people.b: [people.dora]}
    doctors = {people.a.pk: people.alice, people.b.pk: people.dora}
    for chain, node in nodes.items():
        for hospital in staff:
            account = bytes(hospital.account_address)
            node("anvil_setBalance", "0x" + account.hex(), hex(10**21))
            _call(chain, deployer, "admitOrganisation", account, 1, secrets.token_bytes(32))
    background.settle()
    for hospital, members in staff.items():
        for member in members:
            _call("MED", bytes(hospital.account_address), "registerPractitioner", bytes(member.chain_address), 1)
    background.settle()
    for patient in (people.pat_a, people.kim_a, people.pat_b, people.quinn_b):
        _register("MED", patient, doctors[patient.hospital_id])
    background.settle()
    clients = Clients(people, background, rng, journal)
    for chains in ("MED", "BOTH", "SUP"):
        clients.upload(chains)
    people.held = clients.hold().pk
    background.settle()
    told = {line["upload"]: line for line in journal.lines() if line["kind"] == "accepted"}
    people.contents = {}
    with all_tenants("campaign"):
        for upload in Upload.objects.filter(record__isnull=False):
            people.contents[upload.record_id.hex] = {key: told[upload.pk.hex][key] for key in ("sha256", "size")}
        shared, corrected, moved = Record.objects.order_by("created_at").values_list("pk", flat=True)
    people.shared, people.corrected, people.moved = shared, corrected, moved
    from hospitals.actors import Actor
    from records import services

    with tenant(people.a):
        grant = services.grant_create(
            actor=Actor(people.pat),
            patient=people.pat_a,
            grantee=people.dora,
            scope_type="record",
            scope_value=str(shared),
            expires_at=timezone.now() + timedelta(days=30),
        )
    people.grant = grant.pk
    background.settle()
    clients.download(people.dora, shared)
    story.time_passes()
    from chain.models import Lease

    Lease.objects.update(holder="", expires_at=timezone.now() - timedelta(seconds=1))
    return people
