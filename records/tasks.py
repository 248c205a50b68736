"""Background steps. Messages carry ids and nothing else; the database decides who works on what."""

from __future__ import annotations

import uuid
from typing import Any

from celery import Task, current_app, shared_task

from hospitals.tenancy import tenant
from records.crosscheck import both_check
from records.grants import grant_wrap
from records.projector import project_all
from records.rekey import version_rekey
from records.sealing import upload_seal
from records.sweeper import scrub_orphans, sweep_once
from records.wakeups import STEPS, send


class TenantTask(Task):
    """Opens the scope of the hospital that the message names; without one a task does not run."""

    abstract = True
    typing = False  # the library would check the message against `run`, which does not see the hospital

    def __call__(self, *args: Any, hospital_id: str, **kwargs: Any) -> Any:
        with tenant(uuid.UUID(hospital_id)):
            return self.run(*args, **kwargs)


@shared_task(base=TenantTask, name="records.seal_upload", ignore_result=True)
def seal_upload(upload_id: str) -> None:
    upload_seal(upload_id=uuid.UUID(upload_id))


@shared_task(base=TenantTask, name="records.rekey_version", ignore_result=True)
def rekey_version(version_id: str) -> None:
    version_rekey(version_id=uuid.UUID(version_id))


@shared_task(base=TenantTask, name="records.wrap_grant", ignore_result=True)
def wrap_grant(grant_id: str) -> None:
    grant_wrap(grant_id=uuid.UUID(grant_id))


@shared_task(name="records.sweep", ignore_result=True)
def sweep() -> None:
    """Every few seconds: whatever a lost message or a dead worker left, from the database alone."""
    sweep_once(send)


@shared_task(name="records.project", ignore_result=True)
def project() -> None:
    """Every second: final chain events onto our rows."""
    project_all()


@shared_task(name="records.scrub", ignore_result=True)
def scrub() -> None:
    """Every hour: files that no row names."""
    scrub_orphans()


@shared_task(name="records.crosscheck", ignore_result=True)
def crosscheck() -> None:
    """Every minute: what was chosen for both chains is queued for both."""
    both_check()


@shared_task(name="records.verify_again", ignore_result=True)
def verify_again() -> None:
    """Every night: a second library looks at every signature."""
    from records.verification.nightly import verify_all  # the slow library belongs to this one step

    verify_all()


def run_inline(kind: str, hospital_id: uuid.UUID, row_id: uuid.UUID) -> None:
    """The same step in this process, for commands and tests."""
    task, name = STEPS[kind]
    current_app.tasks[task](hospital_id=str(hospital_id), **{name: str(row_id)})
