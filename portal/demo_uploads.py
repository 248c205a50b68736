"""What the demo's doctors upload, and how: over HTTP with a token, like any program of a hospital."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass

from hospitals.actors import member_actor
from hospitals.models import AccessToken
from hospitals.services import token_create
from hospitals.tenancy import tenant
from portal import demo_files as files
from portal.demo import KIM, PAT, PAT_AT_B, QUINN, DemoFailed
from portal.demo_client import Program
from records.models import Upload, UploadState

A, B = "Northwick Hospital", "Suedtor Klinikum"
SETTLE_SECONDS = 120


@dataclass(frozen=True)
class Item:
    patient: str
    hospital: str  # slug
    by: str
    category: str
    title: str
    name: str
    make: Callable[[], bytes]
    chains: str
    care_on: str


def item(patient, by, category, title, name, chains, care_on, make):
    return Item(patient, "suedtor" if by == "dora" else "northwick", by, category, title, name, make, chains, care_on)


ITEMS = (
    item("pat", "alice", "letters", "Discharge letter cardiology", "discharge.pdf", "BOTH", "2026-10-02",
         lambda: files.discharge_letter(PAT, A, "Dr Alice Ward", "2 October 2026")),
    item("pat", "alice", "medications", "Medication plan", "medication.pdf", "MED", "2026-10-02",
         lambda: files.medication_plan(PAT, A, "Dr Alice Ward", "2 October 2026")),
    item("pat", "alice", "laboratory", "Blood panel", "blood-panel.json", "SUP", "2026-10-01",
         lambda: files.fhir_bundle(PAT, A, "2026-10-01")),
    item("pat", "alice", "imaging", "CT chest, one slice", "ct-chest.dcm", "SUP", "2026-10-01",
         lambda: files.dicom_slice("CT_small.dcm", PAT)),
    item("pat", "alice", "vitals", "Resting ECG", "ecg.png", "MED", "2026-09-30", files.ecg_png),
    item("pat", "adam", "procedures", "Abrasion left forearm, day 6", "forearm.jpg", "SUP", "2026-08-17",
         files.skin_jpeg),
    item("pat", "adam", "diagnoses", "Care summary", "summary.xml", "BOTH", "2026-08-17",
         lambda: files.ccda(PAT, A, "2026-08-17")),
    item("kim", "adam", "laboratory", "Blood panel from the laboratory system", "panel.hl7", "SUP", "2026-09-12",
         lambda: files.hl7(KIM, A, "2026-09-12")),
    item("kim", "adam", "letters", "Letter to the family doctor", "letter.pdf", "MED", "2026-09-12",
         lambda: files.discharge_letter(KIM, A, "Dr Adam Chen", "12 September 2026")),
    item("kim", "adam", "imaging", "MR head, one slice", "mr-head.dcm", "BOTH", "2026-09-10",
         lambda: files.dicom_slice("MR_small.dcm", KIM)),
    item("pat", "dora", "laboratory", "Blood panel before surgery", "panel.hl7", "MED", "2026-05-06",
         lambda: files.hl7(PAT_AT_B, B, "2026-05-06")),
    item("pat", "dora", "letters", "Surgery report knee", "report.pdf", "BOTH", "2026-05-08",
         lambda: files.discharge_letter(PAT_AT_B, B, "Dr Dora Klein", "8 May 2026")),
    item("quinn", "dora", "laboratory", "Blood panel", "blood-panel.json", "SUP", "2026-07-21",
         lambda: files.fhir_bundle(QUINN, B, "2026-07-21")),
    item("quinn", "dora", "vitals", "Resting ECG", "ecg.png", "SUP", "2026-07-21", files.ecg_png),
    item("pat", "alice", "imaging", "Whole body scout, full resolution", "scout.dcm", "BOTH", "2026-10-01",
         lambda: files.large_dicom(PAT)),
)  # fmt: skip


class Progress:
    """i of n, rate, time left: on one line where there is a terminal, on few lines where there is none."""

    def __init__(self, total, stream):
        self.total, self.stream = total, stream
        self.begun = time.monotonic()
        self.shown = 0.0

    def show(self, done, text):
        now = time.monotonic()
        rate = done / max(now - self.begun, 0.001)
        left = f"{(self.total - done) / rate:.0f} s left" if done else "…"
        line = f"  {done}/{self.total}  {rate:.1f} files/s  {left}  {text}"
        if self.stream.isatty():
            self.stream.write(f"\r\033[K{line[:100]}")
        elif now - self.shown > 3 or done == self.total:
            self.stream.write(line + "\n")
            self.shown = now
        self.stream.flush()

    def close(self):
        if self.stream.isatty():
            self.stream.write("\r\033[K")


def present(world, item):
    """Uploaded by an earlier run. Names are sealed, so the run remembers by patient, category, day and chains."""
    patient = world.registrations[item.patient, item.hospital]
    with tenant(world.hospitals[item.hospital]):
        rows = Upload.objects.filter(
            patient_id=patient.pk, category=item.category, care_on=item.care_on, chains=item.chains
        )
        return rows.exclude(state__in=[UploadState.DISCARDED, UploadState.FAILED]).exists()


def upload_all(world, base_url, stream):
    """Everything that is not there yet; returns how many were sent."""
    missing = [item for item in ITEMS if not present(world, item)]
    progress = Progress(len(missing), stream)
    tokens = {}
    try:
        for number, item in enumerate(missing):
            progress.show(number, item.title)
            member = world.members[item.by]
            if item.by not in tokens:
                actor = member_actor(member)
                tokens[item.by] = token_create(actor=actor, name="Demo upload", scopes=["records:write"], days=1)[1]
            send(base_url, tokens[item.by], world.registrations[item.patient, item.hospital], item)
        if missing:
            progress.show(len(missing), "sent")
    finally:
        progress.close()
        AccessToken.objects.filter(name="Demo upload").delete()
    return len(missing)


def send(base_url, token, patient, item):
    fields = {
        "category": item.category,
        "title": item.title,
        "care_on": item.care_on,
        "chains": item.chains,
    }
    with Program(base_url, token) as program:
        path = f"/api/v1/h/{item.hospital}/patients/{patient.pk}/uploads/"
        answer = program.http.post(path, data=fields, files={"file": (item.name, io.BytesIO(item.make()))})
    if answer.status_code not in (200, 201, 202):
        raise DemoFailed(f"“{item.title}” was not accepted: {answer.status_code} {answer.text[:300]}")
