"""Defects put into the product itself, one at a time: each leaks on the real way, and the scan of O5 names it."""

import hashlib
import secrets
from contextlib import closing
from datetime import date, timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone
from eth_utils import keccak

from chain import services as chain_services
from chain.models import OutboxItem
from hospitals import audit, keyring, services
from hospitals.actors import Actor
from hospitals.audit_format import entry_body
from hospitals.models import Patient
from hospitals.services import organisations, patients
from hospitals.tenancy import tenant
from records import epochs, gate, grants, sealing
from records import services as records
from tests.campaigns.privacy import inputs, known
from tests.campaigns.privacy.public import Public
from tests.campaigns.privacy.scanner import same_salts, scan
from tests.campaigns.privacy.story import FILES

NAME = "panel-hba1c.txt"


def sha256(data):
    return hashlib.sha256(data).digest()


# Each defect: patch, then what somebody does all day.


def leaf_without_salt(patch, story):
    patch.setattr(epochs.crypto, "leaf_of", lambda salt, manifest: sha256(b"\0" + manifest))
    upload(story)


def file_hash_as_leaf(patch, story):
    real = chain_services.anchor_enqueue
    patch.setattr(
        epochs.chain_services,
        "anchor_enqueue",
        lambda **values: real(**values | ({"leaf": sha256(FILES[NAME])} if values["kind"] == "Records" else {})),
    )
    upload(story)


def patient_key_from_number(patch, story):
    number = f"K-{secrets.randbelow(10**7):07}"
    patch.setattr(Patient._meta.get_field("patient_key"), "_get_default", lambda: keccak(number.encode()))
    register(story, mrn=number)


def identity_without_salt(patch, story):
    patch.setattr(patients.gateway, "identity_commitment", lambda address, salt: keccak(address.rjust(32, b"\0")))
    register(story)


def money_for_the_patient(patch, story):
    """A kind gesture: the patient's account gets something to pay with. From then on it can be followed."""
    real = patients._registration_enqueue

    def funding(actor, patient, preimage):
        real(actor, patient, preimage)
        chain_services.transfer_enqueue(
            chain="MED",
            sender=bytes(patient.hospital.account_address),
            to=bytes(patient.identity_address),
            value=1,
            ref=f"gift:{patient.pk.hex}",
        )

    patch.setattr(patients, "_registration_enqueue", funding)
    register(story)


def log_entry_without_salt(patch, story):
    patch.setattr(audit, "leaf_of", lambda entry: sha256(b"\0" + entry_body(entry)))
    look(story)


def one_salt_for_all_log_entries(patch, story):
    salt = secrets.token_bytes(32)
    patch.setattr(audit, "random32", lambda: salt)
    look(story)
    look(story)


def one_salt_for_all_leaves(patch, story):
    salt = secrets.token_bytes(32)
    patch.setattr(epochs, "secrets", SimpleNamespace(token_bytes=lambda size: salt[:size]))
    upload(story)
    upload(story)


def evidence_without_salt(patch, story):
    def attach(organisation, name, content):
        organisation.evidence_salt = secrets.token_bytes(32)
        organisation.evidence_digest = sha256(content)

    patch.setattr(organisations, "_evidence_attach", attach)
    content = b"Licence of a third hospital, register page 0815"
    story.known("content", "evidence", content)
    organisation = services.organisation_apply(
        name="Thirdwell Hospital",
        kind="hospital",
        contact_name="Office",
        contact_email=f"office-{secrets.token_hex(4)}@third.example.org",
        evidence_name="licence.pdf",
        evidence=content,
    )
    services.organisation_admit(actor=story.reg, organisation=organisation)


def file_name_as_identifier(patch, story):
    patch.setattr(sealing.crypto, "store_identifier", lambda salt: NAME)
    upload(story)


def terms_in_the_clear(patch, story):
    def digest(chain, consent):
        return consent["purpose"].rstrip(b"\0") + b" laboratory " + secrets.token_bytes(15)

    patch.setattr(grants.gateway, "consent_digest", digest)
    share(story)


def one_lock_for_all_consents(patch, story):
    lock = secrets.token_bytes(20)
    patch.setattr(grants.gateway, "revocation_lock", lambda secret: lock)
    share(story)
    story.settle()
    share(story)


def directory_without_salt(patch, story):
    patch.setattr(keyring, "directory_leaf", lambda row: sha256(keyring.directory_body(row)))
    story.staff("c", f"{secrets.token_hex(4)}@c-hospital.example.org", "Nora Neuhausen", "nurse")


DEFECTS = {
    leaf_without_salt: "hash",
    money_for_the_patient: "stranger",
    one_lock_for_all_consents: "repeated",
    one_salt_for_all_leaves: "salt",
    file_name_as_identifier: "value",
    patient_key_from_number: "hash",
    file_hash_as_leaf: "hash",
    identity_without_salt: "hash",
    log_entry_without_salt: "hash",
    one_salt_for_all_log_entries: "salt",
    evidence_without_salt: "hash",
    terms_in_the_clear: "value",
    directory_without_salt: "hash",
}


def upload(story):
    return story.upload(story.members["alice"], story.patient("robin"), NAME, "MED", "laboratory")


def register(story, **fields):
    with tenant(story.hospitals["c"]):
        services.patient_register(
            actor=story.actor("alice"),
            hospital=story.hospitals["c"],
            given_name="Leonora",
            family_name=f"Test{secrets.token_hex(3)}",
            birth_date=date(1966, 2, 3),
            is_duplicate_checked=True,
            **fields,
        )


def look(story):
    with closing(gate.release(actor=story.actor("alice"), version=story.versions[NAME])) as released:
        assert b"".join(released.chunks) == FILES[NAME]


def share(story):
    patient = story.patient("robin")
    with tenant(patient.hospital_id):
        records.grant_create(
            actor=Actor(story.robin),
            patient=patient,
            grantee=story.members["dora"],
            scope_type="category",
            scope_value="laboratory",
            purpose="TREAT",
            expires_at=timezone.now() + timedelta(days=7),
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.campaign
@pytest.mark.scenario("O5")
def test_each_defect_is_found_where_it_leaks(story, read, campaign, monkeypatch):
    run = campaign("privacy-defects", small=4, ci=len(DEFECTS), night=3 * len(DEFECTS))
    story.admission()
    story.registrations()
    story.versions = {NAME: upload(story)}
    story.known("content", NAME, FILES[NAME])
    story.known("file name", NAME, NAME)
    story.settle()
    salts = len(same_salts(inputs.salts()))
    assert salts == 0
    for index, _ in run:
        defect = list(DEFECTS)[index % len(DEFECTS)]
        begun_at = timezone.now()
        begins = {name: anvil.head + 1 for name, anvil in story.chains.items()}
        with monkeypatch.context() as patch:
            defect(patch, story)
            story.settle()
        assert not OutboxItem.objects.filter(state="failed").exists(), f"{defect.__name__}: the chain refused it"
        public = Public(story.chains)
        knowns = [item for item in (*inputs.stored(), *inputs.opened(), *story.inputs) if not public.is_known(item)]
        seen, _ = read(begins)
        leaks, _ = scan(seen + inputs.leaves(begun_at), knowns, public, depth=known.Depth((), (), ()))
        repeated = same_salts(inputs.salts())
        kinds = {leak.kind for leak in leaks} | ({"salt"} if len(repeated) > salts else set())
        salts = len(repeated)
        assert DEFECTS[defect] in kinds, f"{defect.__name__}: found {kinds or 'nothing'}"
        run.injected(defect.__name__)
