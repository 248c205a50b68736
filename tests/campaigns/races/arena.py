"""Real races: two processes with database connections of their own, one opens records, the other stops consents.

Which of the two came first is not read from clocks but from the hospital's log: a release and a revoke each write
their entry in the transaction that decides, and the log's counter is taken under a lock until that commit.
"""

import multiprocessing
import secrets
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connections
from django.utils import timezone

from chain.models import OutboxItem
from hospitals.actors import Actor, member_actor
from hospitals.models import AuditEntry, AuditHead
from hospitals.tenancy import all_tenants, tenant
from records import gate, services
from records.errors import NotFound
from records.models import AccessGrant, GrantState, RecordVersion, Wrap

FORK = multiprocessing.get_context("fork")
WAIT_SECONDS = 120


class Violation(AssertionError):
    """Something left that should not have, or somebody was told what is not true."""


class Broken(RuntimeError):
    """The test's own processes failed, so nothing was shown."""


@dataclass(frozen=True)
class Place:
    """A record of Pat's and the consent that opens it for Dora; used again in every batch."""

    version: Any
    grant: Any
    content: bytes
    wraps: tuple


@dataclass(frozen=True)
class Race:
    index: int
    place: int
    shift: float  # when the revoke starts, around the moment at which either is as likely to win
    is_clicked_again: bool


@dataclass
class Outcome:
    """What one process saw, with the machine's common monotonic clock around it."""

    begun: float
    ended: float = 0.0
    words: str = ""
    size: int = 0
    again: str = ""


@dataclass
class Score:
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


class Crew:
    """Processes beside the test, one for each role, that leave a barrier together."""

    def __init__(self, roles, plant=None):
        self.barrier = FORK.Barrier(len(roles))
        connections.close_all()
        self.pipes, self.processes = {}, {}
        for name, role in roles.items():
            ours, theirs = FORK.Pipe()
            process = FORK.Process(target=self._serve, args=(theirs, role, plant), daemon=True)
            process.start()
            self.pipes[name], self.processes[name] = ours, process

    @staticmethod
    def _serve(pipe, role, plant):
        if plant is not None:
            plant()
        while (work := pipe.recv()) is not None:
            pipe.send(role(*work))
        connections.close_all()

    def start_after(self, seconds):
        """In a role: leaves the barrier with the others and waits, at the end in a loop: sleeping is too rough."""
        self.barrier.wait(WAIT_SECONDS)
        begun = time.monotonic()
        if seconds > 0.001:
            time.sleep(seconds - 0.001)
        while time.monotonic() - begun < seconds:
            pass
        return time.monotonic()

    def ask(self, *work):
        """Gives the same work to every role; their answers by name."""
        for pipe in self.pipes.values():
            pipe.send(work)
        return {name: self._answer(name) for name in self.pipes}

    def _answer(self, name):
        if not self.pipes[name].poll(WAIT_SECONDS):
            raise Broken(f"the process that should {name} does not answer")
        try:
            return self.pipes[name].recv()
        except EOFError:
            raise Broken(f"the process that should {name} died") from None

    def close(self):
        for pipe in self.pipes.values():
            with suppress(OSError):
                pipe.send(None)
        for process in self.processes.values():
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


class Arena(Crew):
    """One process opens records as Dora, the other stops consents as Pat."""

    def __init__(self, cast, places, plant=None):
        self.cast, self.places = cast, places
        self.took, self.aim = 0.01, 0.5
        super().__init__({"open": self._open_many, "stop": self._stop_many}, plant)

    # -- in the two processes ---------------------------------------------------------------------------------------

    def _open_many(self, races, waits):
        actor = member_actor(self.cast.dora)
        seen = []
        for race, wait in zip(races, waits, strict=True):
            place = self.places[race.place]
            outcome = Outcome(self.start_after(-wait))
            outcome.words, outcome.size = self._open(actor, place)
            outcome.ended = time.monotonic()
            if race.is_clicked_again:
                self.barrier.wait(WAIT_SECONDS)
                outcome.again = self._open(actor, place)[0]
            seen.append(outcome)
        return seen

    @staticmethod
    def _open(actor, place):
        got = b""
        try:
            for piece in gate.release(actor=actor, version=place.version).chunks:
                got += piece
        except NotFound:
            return ("part" if got else "refused"), len(got)
        except Exception as error:  # noqa: BLE001 - what the reader is told is judged by the other process
            return f"{type(error).__name__}", len(got)
        return ("whole" if got == place.content else "other bytes"), len(got)

    def _stop_many(self, races, waits):
        seen = []
        for race, wait in zip(races, waits, strict=True):
            grant = self.places[race.place].grant
            outcome = Outcome(self.start_after(wait))
            with tenant(grant.hospital_id):
                outcome.words = services.grant_revoke(actor=Actor(self.cast.pat), grant=grant).state
            outcome.ended = time.monotonic()
            if race.is_clicked_again:
                self.barrier.wait(WAIT_SECONDS)
            seen.append(outcome)
        return seen

    # -- in the test ------------------------------------------------------------------------------------------------

    def play(self, races, score):
        """A batch of races, each at a place of its own; raises Violation."""
        self._reset()
        with tenant(self.cast.a):
            start = AuditHead.objects.get().seq
        waits = [(self.aim + race.shift) * self.took for race in races]
        answers = self.ask(races, waits)
        opened, stopped = answers["open"], answers["stop"]
        entries, won = self._entries(start), 0
        for race, reader, stopper in zip(races, opened, stopped, strict=True):
            won += self._judge(race, reader, stopper, entries, score)
        # The next batch aims where this one was closest to a draw, however slow the machine is now.
        self.took = statistics.median(outcome.ended - outcome.begun for outcome in opened)
        self.aim = min(1.5, max(-1.0, self.aim + 0.4 * (0.5 - won / len(races))))

    def _reset(self):
        """Every consent stands again and its wraps are back. The contract was never told of the revokes, so that only
        the portal's own order stands between a stopped reader and the bytes."""
        grants = [place.grant.pk for place in self.places]
        with all_tenants("races"):
            AccessGrant.objects.filter(pk__in=grants).update(
                state=GrantState.ACTIVE, revoked_at=None, revoke_ref="", wrapped_at=timezone.now()
            )
            OutboxItem.objects.filter(ref__in=[f"revoke:{pk.hex}" for pk in grants]).delete()
            RecordVersion.objects.filter(pk__in=[place.version.pk for place in self.places]).update(
                rekey_requested_at=None
            )
            Wrap.objects.filter(grant__in=grants).delete()
            Wrap.objects.bulk_create(
                [
                    Wrap(
                        hospital_id=wrap.hospital_id,
                        epoch_id=wrap.epoch_id,
                        recipient_kid=wrap.recipient_kid,
                        grant_id=wrap.grant_id,
                        blob=wrap.blob,
                    )
                    for place in self.places
                    for wrap in place.wraps
                ]
            )

    def _entries(self, start):
        found = {}
        with tenant(self.cast.a):
            rows = AuditEntry.objects.filter(seq__gt=start).order_by("seq")
            for seq, action, target, is_refused in rows.values_list("seq", "action", "target_id", "is_refused"):
                found.setdefault((action, target), []).append((seq, is_refused))
        return found

    def _judge(self, race, reader, stopper, entries, score):
        """True when the reader was let in; raises Violation."""
        place = self.places[race.place]
        if stopper.words != GrantState.REVOKING:
            raise Violation(f"race {race.index}: the revoke ended as {stopper.words}")
        revoked = [seq for seq, _ in entries.get(("grants.revoked", str(place.grant.pk)), [])]
        looks = entries.get(("records.version.downloaded", str(place.version.record_id)), [])
        released = [seq for seq, is_refused in looks if not is_refused]
        if len(revoked) != 1:
            raise Violation(f"race {race.index}: {len(revoked)} entries say that the consent was stopped")
        late = [seq for seq in released if seq > revoked[0]]
        if late:
            raise Violation(f"race {race.index}: released by entry {late[0]}, stopped by entry {revoked[0]}")
        if reader.words not in ("whole", "part", "refused"):
            raise Violation(f"race {race.index}: the reader was told {reader.words}")
        if reader.size and len(released) != 1:
            raise Violation(f"race {race.index}: {reader.size} bytes left and {len(released)} entries allow it")
        if reader.begun > stopper.ended and reader.words != "refused":
            raise Violation(f"race {race.index}: clicked after the answer to the revoke, and got {reader.size} bytes")
        if race.is_clicked_again and reader.again != "refused":
            raise Violation(f"race {race.index}: the next click after the revoke gave: {reader.again}")
        if reader.words != "whole" and not any(is_refused for _, is_refused in looks):
            raise Violation(f"race {race.index}: refused, and no entry says so")
        if reader.ended < stopper.begun or stopper.ended < reader.begun:
            score.add("apart")
        elif reader.words == "whole":
            score.add("release first")
        elif not released:
            score.add("revoke first")
        else:
            score.add("stopped between log entry and last byte")
        return bool(released)


def places_make(cast, made, settle, contents):
    """A record and a consent for it alone, for each content."""
    made_here = []
    for number, content in enumerate(contents):
        version = made(cast.alice, cast.pat_a, name=f"r{number}.txt", data=content)
        with tenant(cast.a):
            grant = services.grant_create(
                actor=Actor(cast.pat),
                patient=cast.pat_a,
                grantee=cast.dora,
                scope_type="record",
                scope_value=str(version.record_id),
                expires_at=timezone.now() + timedelta(days=3),
            )
        made_here.append((version, grant, content))
    settle()
    with all_tenants("races"):
        places = [
            Place(
                version,
                AccessGrant.objects.select_related("hospital", "patient").get(pk=grant.pk),
                content,
                tuple(Wrap.objects.filter(grant=grant)),
            )
            for version, grant, content in made_here
        ]
    assert all(place.grant.state == GrantState.ACTIVE and place.wraps for place in places)
    return places


def contents_make(count, *, long):
    """Most are short, so that a race is quick; some take several pieces."""
    texts = [secrets.token_hex(40).encode() + b"\n" for _ in range(count - long)]
    return texts + [b"".join(b"row,%07d\n" % n for n in range(200_000)) for _ in range(long)]
