"""Background steps. Messages carry ids and nothing else; the database decides who works on what."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

from celery import Task, shared_task
from django.db import transaction
from kombu.exceptions import OperationalError as BrokerDown
from redis.exceptions import RedisError

from hospitals.tenancy import tenant

log = logging.getLogger(__name__)


class TenantTask(Task):
    """Opens the scope of the hospital that the message names; without one a task does not run."""

    abstract = True
    typing = False  # the library would check the message against `run`, which does not see the hospital

    def __call__(self, *args: Any, hospital_id: str, **kwargs: Any) -> Any:
        with tenant(uuid.UUID(hospital_id)):
            return self.run(*args, **kwargs)


def wake(task: Task, **ids: uuid.UUID) -> None:
    """Sends a task after the commit. A lost message costs seconds: the sweeper finds the row."""
    message = {name: str(value) for name, value in ids.items()}
    transaction.on_commit(lambda: _send(task, message), robust=True)


def _send(task: Task, ids: dict[str, str]) -> None:
    try:
        task.apply_async(kwargs=ids)
    except (BrokerDown, RedisError, OSError) as error:
        log.warning("the queue does not answer (%s); the sweeper will do it", type(error).__name__)


@shared_task(base=TenantTask, name="records.seal_upload", ignore_result=True)
def seal_upload(upload_id: str) -> None:
    from records.sealing import upload_seal

    upload_seal(upload_id=uuid.UUID(upload_id))


@shared_task(base=TenantTask, name="records.rekey_version", ignore_result=True)
def rekey_version(version_id: str) -> None:
    from records.rekey import version_rekey

    version_rekey(version_id=uuid.UUID(version_id))


@shared_task(base=TenantTask, name="records.wrap_grant", ignore_result=True)
def wrap_grant(grant_id: str) -> None:
    from records.grants import grant_wrap

    grant_wrap(grant_id=uuid.UUID(grant_id))


@shared_task(name="records.sweep", ignore_result=True)
def sweep() -> None:
    """Every few seconds: whatever a lost message or a dead worker left, from the database alone."""
    from records.sweeper import sweep_once

    sweep_once(_spread)


@shared_task(name="records.project", ignore_result=True)
def project() -> None:
    """Every second: final chain events onto our rows."""
    from records.projector import project_all

    project_all()


@shared_task(name="records.scrub", ignore_result=True)
def scrub() -> None:
    """Every hour: files that no row names."""
    from records.sweeper import scrub_orphans

    scrub_orphans()


@shared_task(name="records.crosscheck", ignore_result=True)
def crosscheck() -> None:
    """Every minute: what was chosen for both chains is queued for both."""
    from records.crosscheck import both_check

    both_check()


@shared_task(name="records.verify_again", ignore_result=True)
def verify_again() -> None:
    """Every night: a second library looks at every signature."""
    from records.verification.nightly import verify_all

    verify_all()


def _spread(kind: str, hospital_id: uuid.UUID, row_id: uuid.UUID) -> None:
    task, name = _KINDS[kind]
    _send(task, {"hospital_id": str(hospital_id), name: str(row_id)})


def run_inline(kind: str, hospital_id: uuid.UUID, row_id: uuid.UUID) -> None:
    """The same step in this process, for commands and tests."""
    task, name = _KINDS[kind]
    task(hospital_id=str(hospital_id), **{name: str(row_id)})


_KINDS: dict[str, tuple[Task, str]] = {
    "seal": (seal_upload, "upload_id"),
    "rekey": (rekey_version, "version_id"),
    "wrap": (wrap_grant, "grant_id"),
}
Runner = Callable[[str, uuid.UUID, uuid.UUID], None]
