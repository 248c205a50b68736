"""Lease rows: one holder at a time, and a fence number that refuses the one who came back too late."""

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Q
from django.db.models.functions import Now

from chain.errors import LeaseLost
from chain.failpoints import fp
from chain.models import Lease


@dataclass(frozen=True)
class Held:
    name: str
    holder: str
    fence: int


def holder_name() -> str:
    return f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"


def _until(seconds: float) -> ExpressionWrapper:
    # The database's clock, so that two machines with different clocks agree.
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


def lease_take(*, name: str, holder: str, seconds: float) -> Held | None:
    """The lease with a new fence; None while somebody else holds it."""
    with transaction.atomic(durable=True):
        Lease.objects.bulk_create([Lease(name=name, expires_at=Now())], ignore_conflicts=True)
        free = Lease.objects.filter(Q(expires_at__lte=Now()) | Q(holder=""), name=name)
        if free.update(holder=holder, fence=F("fence") + 1, expires_at=_until(seconds)) != 1:
            return None
        fp("lease.taken")
        return Held(name, holder, Lease.objects.values_list("fence", flat=True).get(name=name))


def lease_hold(held: Held, *, seconds: float) -> None:
    """Inside the caller's transaction: renews, locks the row until commit, or raises."""
    mine = Lease.objects.filter(name=held.name, holder=held.holder, fence=held.fence)
    if mine.update(expires_at=_until(seconds)) != 1:
        raise LeaseLost(f"{held.name}: another process took over")
    fp("lease.held")


def lease_release(held: Held) -> None:
    Lease.objects.filter(name=held.name, holder=held.holder, fence=held.fence).update(holder="", expires_at=Now())
