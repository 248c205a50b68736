"""Final events, in the chain's order, to whoever keeps tables of their own. Replayable from the first event."""

from collections.abc import Callable

from django.db import transaction
from django.db.models import Q

from chain.failpoints import fp
from chain.models import ChainEvent, ChainState, ProjectorCursor

Handler = Callable[[ChainEvent], None]


def cursor_of(projector: str, chain: str) -> ProjectorCursor:
    ProjectorCursor.objects.bulk_create([ProjectorCursor(name=projector, chain=chain)], ignore_conflicts=True)
    return ProjectorCursor.objects.get(name=projector, chain=chain)


def final_events(*, projector: str, chain: str, limit: int = 500) -> list[ChainEvent]:
    """The next final events that this projector has not applied."""
    state = ChainState.objects.filter(name=chain).first()
    if state is None or state.halted_reason:
        return []
    cursor = cursor_of(projector, chain)
    after = Q(block_number__gt=cursor.block_number) | Q(
        block_number=cursor.block_number, log_index__gt=cursor.log_index
    )
    found = ChainEvent.objects.filter(
        after,
        chain=chain,
        is_canonical=True,
        block_number__gte=cursor.block_number,
        block_number__lte=min(state.finalized, state.cursor_number),
    )
    # A gap is a hole in the past: nothing after it is applied before it is filled.
    if state.gaps:
        found = found.filter(block_number__lt=min(state.gaps))
    return list(found.order_by("block_number", "log_index")[:limit])


def projector_advance(*, projector: str, chain: str, seen: ChainEvent, start: ProjectorCursor) -> bool:
    """Moves the cursor from `start` to `seen`; False when another process moved it first."""
    here = ProjectorCursor.objects.filter(
        name=projector, chain=chain, block_number=start.block_number, log_index=start.log_index
    )
    return here.update(block_number=seen.block_number, log_index=seen.log_index) == 1


class Overtaken(Exception):
    """Another process applied these events first; everything done here is rolled back."""


def run(projector: str, chain: str, handler: Handler, *, limit: int = 500) -> int:
    """Applies up to `limit` events; handler effects and cursor stand or fall together. Returns how many."""
    start = cursor_of(projector, chain)
    events = final_events(projector=projector, chain=chain, limit=limit)
    if not events:
        return 0
    try:
        with transaction.atomic(durable=True):
            # First the cursor: on PostgreSQL its row lock makes a second process wait here, not half-way through.
            if not projector_advance(projector=projector, chain=chain, seen=events[-1], start=start):
                raise Overtaken
            fp("project.cursor_moved")
            for event in events:
                handler(event)
                fp("project.applied")
    except Overtaken:
        return 0
    fp("project.committed")
    return len(events)


def projector_reset(*, projector: str, chain: str) -> None:
    """The next run starts again with the first event."""
    ProjectorCursor.objects.filter(name=projector, chain=chain).delete()
