"""The measured part of bench/gate.py: the cast of the tests on two real chains."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from chain.gateway import gateway
from hospitals.tenancy import tenant
from records import decisions, services

pytest_plugins = ("tests.conftest", "tests.records.conftest")
DECISIONS = 1500


def timed(name, step):
    waits = []
    for _number in range(50):
        step()
    begun = time.perf_counter()
    for _number in range(DECISIONS):
        start = time.perf_counter()
        step()
        waits.append(time.perf_counter() - start)
    seconds = time.perf_counter() - begun
    p99 = sorted(waits)[int(DECISIONS * 0.99)] * 1000
    print(f"\nGATE {name} {DECISIONS} {seconds:.4f} {p99:.3f}", flush=True)  # noqa: T201 (read by bench/gate.py)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_decisions_a_second(cast, made, settle):
    version = made(cast.alice, cast.pat_a)
    with tenant(cast.a):
        services.grant_create(
            actor=cast.actor(cast.pat),
            patient=cast.pat_a,
            grantee=cast.dora,
            scope_type="category",
            scope_value="laboratory",
            purpose="TREAT",
            expires_at=timezone.now() + timedelta(days=3),
        )
    settle()
    record = version.record
    for name, person in (("own-record", cast.pat), ("own-treatment", cast.alice), ("consent", cast.dora)):
        actor = cast.actor(person)
        assert decisions.decide(actor=actor, action="read", record=record).allowed, name
        timed(name, lambda actor=actor: decisions.decide(actor=actor, action="read", record=record))
    key, reader = bytes(cast.pat_a.patient_key), bytes(cast.alice.chain_address)
    timed("peer:one-contract-call", lambda: gateway("MED").call("Registry", "hasCareLink", key, reader))
