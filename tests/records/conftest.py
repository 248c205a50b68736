"""The cast on both chains, and hands for the pipeline: send a file, run the workers, let the chains settle."""

import secrets
from types import SimpleNamespace

import pytest
from django.test import RequestFactory

from chain import gateway
from chain.services import call_enqueue
from hospitals import keyring
from hospitals.tenancy import all_tenants, tenant
from records import services, sweeper, tasks
from records.models import Record, RecordVersion, Upload
from tests.people import make_people

NOTE = b"CANARY-7f3a9c51 blood pressure 120/80, follow-up in two weeks\n"


def multipart(files, fields=()):
    """A body with names exactly as an attacker would write them."""
    boundary = "x" + secrets.token_hex(12)
    parts = []
    for name, value in fields:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, data in files:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def sealed_files(*files):
    """What a view finds in request.FILES after the sealing handler took the request."""
    body, content_type = multipart(files)
    request = RequestFactory().generic("POST", "/", body, content_type=content_type)
    return request.FILES.getlist("file")


def sealed_file(name="note.txt", data=NOTE):
    return sealed_files((name, data))[0]


@pytest.fixture(autouse=True)
def blobs(settings, tmp_path):
    """A store of its own for every test."""
    settings.RECORDS = {**settings.RECORDS, "blob_dir": tmp_path / "blobs"}
    return tmp_path / "blobs"


@pytest.fixture
def send():
    """Call it to upload a file as a member of staff; returns the row."""

    def run(member, patient, *, data=NOTE, name="note.txt", chains="MED", category="laboratory", title="Result"):
        from hospitals.actors import member_actor

        with tenant(patient.hospital_id):
            return services.upload_receive(
                actor=member_actor(member),
                patient=patient,
                file=sealed_file(name, data),
                chains=chains,
                category=category,
                title=title,
            )

    return run


@pytest.fixture
def work():
    """Call it to let the sweeper do in this process whatever waits in the database."""

    def run():
        while sweeper.sweep_once(tasks.run_inline, grace_seconds=-1):
            pass

    return run


@pytest.fixture
def made(send, work):
    """Call it for the sealed version of a fresh upload."""

    def run(member, patient, **fields):
        upload = send(member, patient, **fields)
        work()
        return version_of(upload)

    return run


def version_of(upload, number=None):
    with all_tenants("test"):
        upload = Upload.objects.get(pk=upload.pk)
        assert upload.state == "sealed", (upload.state, upload.reason_code)
        record = Record.objects.select_related("patient", "hospital").get(pk=upload.record_id)
        version = RecordVersion.objects.get(record=record, number=number or record.current_version)
    version.record = record
    return version


@pytest.fixture
def cast(chains, db, settings, drive, deployer):
    """The people of tests/people.py: admitted on both chains, registered on MEDchain, where rights are decided."""
    settings.HOSPITALS = {**settings.HOSPITALS, "regulator_needs_passkey": False}
    people = make_people()
    members = {people.a: [people.alice, people.adam], people.b: [people.dora]}
    patients = [people.pat_a, people.kim_a, people.pat_b, people.quinn_b]
    doctors = {people.a.pk: people.alice, people.b.pk: people.dora}
    for chain in chains:
        for hospital in members:
            account = bytes(hospital.account_address)
            chains[chain].fund(account)
            _call(chain, deployer, "admitOrganisation", account, 1, secrets.token_bytes(32))
    drive(projectors=False)
    for hospital, staff in members.items():
        for member in staff:
            _call("MED", bytes(hospital.account_address), "registerPractitioner", bytes(member.chain_address), 1)
    drive(projectors=False)
    for patient in patients:
        _register("MED", patient, doctors[patient.hospital_id])
    drive()
    return people


def _register(chain, patient, doctor):
    registration = {
        "practitioner": bytes(doctor.chain_address),
        "patientKey": bytes(patient.patient_key),
        "identityCommitment": gateway.identity_commitment(
            bytes(patient.identity_address), bytes(patient.identity_salt)
        ),
        "rotationLock": secrets.token_bytes(32),
        "deadline": 2**63,
    }
    signature = gateway.registration_sign(keyring.chain_signing_key(bytes(doctor.chain_address)), chain, registration)
    _call(
        chain,
        bytes(doctor.hospital.account_address),
        "registerPatientFor",
        *registration.values(),
        signature,
    )


def _call(chain, sender, function, *args):
    call_enqueue(
        chain=chain, sender=sender, contract="Registry", function=function, args=args, ref=secrets.token_hex(16)
    )


@pytest.fixture
def settle(drive, work):
    """Call it to let chains, projectors and workers go on until nothing is left to do."""

    def run(**options):
        drive(**options)
        work()
        drive(**options)
        work()

    return run


@pytest.fixture
def entries():
    """Call it for the log entries about a patient, oldest first."""

    def run(patient, action=""):
        from hospitals.models import AuditEntry

        with tenant(patient.hospital_id):
            found = AuditEntry.objects.filter(patient=patient, action__startswith=action).order_by("seq")
            return [
                SimpleNamespace(action=row.action, basis=row.basis, is_refused=row.is_refused, detail=row.detail)
                for row in found
            ]

    return run
