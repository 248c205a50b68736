"""Every alarm in one place: what it means, what to do, since when. Pages, metrics and the watch read it here."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.utils import timezone

from chain import health as chain_health
from chain.conf import conf
from chain.heartbeats import part_alarms
from chain.types import Alarm
from hospitals import health as hospitals_health
from portal.alarm_kinds import KINDS, UNKNOWN, Kind
from portal.models import AlarmRow
from records import health as records_health

log = logging.getLogger(__name__)
KEPT = timedelta(days=90)
ENDED_SHOWN = 20
NAMED = 5  # of the alarms of one kind on one chain


@dataclass(frozen=True)
class Group:
    """Alarms of one kind on one chain: said once what to do, and not listed for ever."""

    kind: Kind
    code: str
    chain: str
    rows: list["Shown"]
    more: int


@dataclass(frozen=True)
class Shown:
    """An alarm with the words that a person needs."""

    alarm: Alarm
    kind: Kind
    raised_at: datetime
    ended_at: datetime | None = None

    @property
    def code(self) -> str:
        return self.alarm.code

    @property
    def chain(self) -> str:
        return self.alarm.chain

    @property
    def message(self) -> str:
        return self.alarm.message


def parts() -> dict[str, str]:
    """Every part that has to give signs of life, and the alarm when it gives none."""
    found = {"worker": "worker_dead", "beat": "beat_dead", "queue": "queue_stopped", "projector": "projector_dead"}
    for job in ("sender", "indexer"):
        found |= {f"{job}:{chain}": f"{job}_dead" for chain in conf().chains}
    return found


def sources() -> dict[str, Callable[[], Iterable[Alarm]]]:
    """Where alarms come from. These read the database, so that a page never waits for a node or for the broker."""
    return {
        "parts": lambda: part_alarms({**parts(), "watch": "watch_dead"}),
        **{chain: lambda chain=chain: chain_health.alarms_recorded(chain) for chain in conf().chains},
        "hospitals": hospitals_health.alarms,
        "records": records_health.alarms,
    }


def alarms_all() -> list[Shown]:
    """What needs attention now, the worst first. Nodes and broker were asked by the watch a moment ago."""
    rows = {_key(row): row for row in AlarmRow.objects.filter(ended_at__isnull=True)}
    found = _recorded() + [_alarm(row) for row in rows.values() if row.is_asked]
    now = timezone.now()
    shown = {_key(alarm): alarm for alarm in found}
    return sorted(
        (
            Shown(alarm, KINDS.get(alarm.code, UNKNOWN), rows[key].raised_at if key in rows else now)
            for key, alarm in shown.items()
        ),
        key=lambda row: (row.kind.tone != "stop", row.raised_at, row.code, row.chain, row.alarm.subject),
    )


def alarms_grouped(rows: Iterable[Shown]) -> list[Group]:
    """In the order of their first alarm."""
    found: dict[tuple[str, str], list[Shown]] = {}
    for row in rows:
        found.setdefault((row.code, row.chain), []).append(row)
    return [
        Group(same[0].kind, code, chain, same[:NAMED], max(0, len(same) - NAMED))
        for (code, chain), same in found.items()
    ]


def alarms_ended(limit: int = ENDED_SHOWN) -> list[Shown]:
    """What was wrong lately and is not any more."""
    rows = AlarmRow.objects.filter(ended_at__isnull=False).order_by("-ended_at")[:limit]
    return [Shown(_alarm(row), KINDS.get(row.code, UNKNOWN), row.raised_at, row.ended_at) for row in rows]


def alarms_record(asked: Iterable[Alarm]) -> list[Alarm]:
    """Writes down what began and what ended; `asked` is what the watch found outside the database."""
    found = {_key(alarm): (alarm, False) for alarm in _recorded()}
    found |= {_key(alarm): (alarm, True) for alarm in asked}
    now = timezone.now()
    with transaction.atomic(durable=True):
        rows = {_key(row): row for row in AlarmRow.objects.select_for_update().filter(ended_at__isnull=True)}
        begun = [
            AlarmRow(
                code=alarm.code,
                chain=alarm.chain,
                subject=alarm.subject,
                message=alarm.message,
                is_asked=is_asked,
                raised_at=now,
                seen_at=now,
            )
            for key, (alarm, is_asked) in found.items()
            if key not in rows
        ]
        AlarmRow.objects.bulk_create(begun)
        changed = []
        for key, row in rows.items():
            if key in found and (row.message, row.is_asked) != (found[key][0].message, found[key][1]):
                row.message, row.is_asked = found[key][0].message, found[key][1]
                changed.append(row)
        AlarmRow.objects.bulk_update(changed, ["message", "is_asked"], batch_size=500)
        over = [row for key, row in rows.items() if key not in found]
        AlarmRow.objects.filter(pk__in=[row.pk for row in over]).update(ended_at=now)
        AlarmRow.objects.filter(ended_at__isnull=True).update(seen_at=now)
        AlarmRow.objects.filter(ended_at__lt=now - KEPT).delete()
    for key in found.keys() - rows.keys():
        log.error("alarm raised code=%s chain=%s: %s", key[0], key[1] or "-", found[key][0].message)
    for row in over:
        log.warning("alarm ended code=%s chain=%s", row.code, row.chain or "-")
    return [alarm for alarm, _ in found.values()]


def _recorded() -> list[Alarm]:
    return [alarm for name, source in sources().items() for alarm in collect(name, source)]


def collect(name: str, source: Callable[[], Iterable[Alarm]]) -> list[Alarm]:
    """A check that fails is an alarm itself, and the others still speak."""
    try:
        return list(source())
    except DatabaseError:
        raise
    except Exception as error:
        log.exception("a check failed name=%s", name)
        return [Alarm("check_failed", "", f"The check “{name}” ended with {type(error).__name__}.", name)]


def _key(of: Alarm | AlarmRow) -> tuple[str, str, str]:
    return of.code, of.chain, of.subject


def _alarm(row: AlarmRow) -> Alarm:
    return Alarm(row.code, row.chain, row.message, row.subject)
