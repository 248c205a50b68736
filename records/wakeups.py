"""Asks for a background step by its kind and ids, so that who asks need not know what the step does."""

import logging
import uuid
from collections.abc import Callable

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError as BrokerDown
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
Runner = Callable[[str, uuid.UUID, uuid.UUID], None]
# kind -> the task in records/tasks.py, and the name of the id it takes
STEPS = {
    "seal": ("records.seal_upload", "upload_id"),
    "rekey": ("records.rekey_version", "version_id"),
    "wrap": ("records.wrap_grant", "grant_id"),
}


def wake(kind: str, hospital_id: uuid.UUID, row_id: uuid.UUID) -> None:
    """Sends the step after the commit. A lost message costs seconds: the sweeper finds the row."""
    transaction.on_commit(lambda: send(kind, hospital_id, row_id), robust=True)


def send(kind: str, hospital_id: uuid.UUID, row_id: uuid.UUID) -> None:
    task, name = STEPS[kind]
    try:
        current_app.send_task(task, kwargs={"hospital_id": str(hospital_id), name: str(row_id)}, ignore_result=True)
    except (BrokerDown, RedisError, OSError) as error:
        log.warning("the queue does not answer (%s); the sweeper will do it", type(error).__name__)
