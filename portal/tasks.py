"""Background steps of the portal itself."""

from celery import shared_task

from chain.heartbeats import heartbeat_write


@shared_task(name="portal.pulse", ignore_result=True)
def pulse() -> None:
    """Runs only if clock, broker and a worker all do their part: the sign of life of the way between them."""
    heartbeat_write(part="queue", instance="workers")
