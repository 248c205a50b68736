"""What the clock starts for this app."""

from celery import shared_task


@shared_task(name="chain.crosscheck", ignore_result=True)
def crosscheck() -> None:
    """Every minute: record heads that are due, compare recorded heads and batches with the chains."""
    from chain.crosscheck import round_once

    round_once()
