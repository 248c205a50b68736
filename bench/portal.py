"""The portal as in the demo, on free ports and in a folder of its own, for the time of one bench."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import measure

WAIT_SECONDS = 300


@dataclass(frozen=True)
class Portal:
    state: Path
    web: int
    sup: int
    environment: dict[str, str]

    def run(self, module: str) -> dict:
        """`python -m MODULE measure` in the portal's environment; what it prints is its figures."""
        found = subprocess.run(
            [sys.executable, "-m", module, "measure", str(self.web), str(self.sup)],
            cwd=measure.REPOSITORY,
            env={**self.environment, "DJANGO_SETTINGS_MODULE": "portal.settings.dev"},
            stdout=subprocess.PIPE,
            check=True,
        )
        return json.loads(found.stdout)


@contextmanager
def running_portal() -> Iterator[Portal]:
    """Hospitals and people are there, no files. Stopped and removed at the end."""
    from portal import env
    from portal.management.commands.demo_check import free_ports

    state = Path(tempfile.mkdtemp(prefix="bench-portal-"))
    web, sup, med = free_ports(3)
    environment = env.child(
        PORTAL_STATE=str(state), PORTAL_WEB_PORT=str(web), PORTAL_SUP_PORT=str(sup), PORTAL_MED_PORT=str(med)
    )
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--people"],
        cwd=measure.REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (state / "demo.json").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the portal did not start; see what `make demo` says")
            time.sleep(0.5)
        yield Portal(state, web, sup, environment)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(state, ignore_errors=True)


def doctor_with_token() -> tuple[str, str]:
    """(token, path of a patient's API) of Alice; call after django.setup()."""
    from hospitals.actors import member_actor
    from hospitals.models import Membership, Patient
    from hospitals.services import token_create
    from hospitals.tenancy import all_tenants

    alice = Membership.objects.select_related("user", "hospital").get(
        user__name="Alice Ward", hospital__slug="northwick"
    )
    with all_tenants("bench"):
        patient = Patient.objects.filter(hospital=alice.hospital).first()
    scopes = ["records:write", "records:read"]
    token = token_create(actor=member_actor(alice), name="Bench", scopes=scopes, days=1)[1]
    return token, f"/api/v1/h/northwick/patients/{patient.pk}/uploads/"
