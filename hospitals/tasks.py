"""Background steps of this app. What is due stands in the database, so a lost or doubled message does no harm."""

from celery import shared_task


@shared_task(name="hospitals.log_maps", ignore_result=True)
def log_maps() -> None:
    """The ends of all patients' lines, anchored: nobody can be shown a shorter list afterwards."""
    from hospitals.audit_maps import maps_make

    maps_make()


@shared_task(name="hospitals.log_check", ignore_result=True)
def log_check() -> None:
    """Every log that is due, compared with the chain."""
    from hospitals.audit_watch import logs_check

    logs_check()
