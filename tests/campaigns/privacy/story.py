"""One long day at two hospitals, by the product's own services and pages, on two real chains."""

import hashlib
from contextlib import closing
from datetime import date, timedelta

from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client
from django.utils import timezone

from chain import council, crosscheck, deploying
from chain.artefacts import deployment
from chain.codec import function
from chain.models import ItemState, OutboxItem
from chain.services import call_enqueue
from hospitals import audit_maps, log_export, services
from hospitals.actors import Actor, member_actor
from hospitals.models import Membership, Organisation, Patient, User
from hospitals.tenancy import all_tenants, tenant
from hospitals.types import Role
from records import gate
from records import services as records
from records.errors import NotFound, RecordsError
from records.models import Epoch, Record
from tests.campaigns.privacy.known import Known
from tests.records.conftest import sealed_file, version_of

PASSWORD = "orchard-lantern-7-quiet"
BORN = date(1979, 5, 23)
PERSONS = {
    "robin": ("Robin", "Valebrook", "robin.valebrook@patients.example", "+49 170 5550143", "N-2000177"),
    "quinn": ("Quíntana", "Abarasson", "quinn.abarasson@patients.example", "+44 7700 900461", "N-3000455"),
}
FILES = {
    "letter-cardiology-valebrook.txt": b"Letter about Robin Valebrook: blood pressure 152/95, bisoprolol 5 mg daily.\n",
    "panel-hba1c.txt": b"HbA1c 7.9 %, creatinine 1.4 mg/dl, ferritin 12 ng/ml, HIV antibody test negative.\n",
    "psychiatry-first-talk.txt": b"First talk: sleeps badly since spring, no thoughts of harm, next talk in May.\n",
    "letter-corrected.txt": b"Letter about Robin Valebrook, corrected: blood pressure 142/85, bisoprolol 2.5 mg.\n",
    "wrong-person.txt": b"Echocardiogram of somebody else altogether: EF 55 %, mild mitral insufficiency.\n",
}


class Story:
    def __init__(self, chains, drive, work, candidate, waited):
        self.chains, self.drive, self.work = chains, drive, work
        self.candidate, self.waited = candidate, waited
        self.inputs = [Known("password", "password", PASSWORD)]
        self.steps = []

    def step(self, name):
        self.steps.append(name)

    def settle(self):
        self.drive(waiting_ok=True, most=8)
        self.work()
        if OutboxItem.objects.filter(state=ItemState.QUEUED).exists():
            self.drive(waiting_ok=True, most=8)

    def tell(self):
        self.admission()
        self.registrations()
        self.uploads()
        self.sharing()
        self.changes()
        self.hiding()
        self.leaving()
        self.refusals()
        self.releases()
        self.vouching()
        self.settle()
        return self

    # -- organisations ----------------------------------------------------------------------------------------------

    def admission(self):
        authority = services.regulator_bootstrap(
            name="Health Authority North", email="reg@authority.example.org", account_key=deploying.deployer_key()
        )
        self.reg = member_actor(Membership.objects.select_related("user", "hospital").get(hospital=authority))
        self.hospitals = {}
        for key, name in (("c", "Cedarholm Hospital"), ("d", "Duneside Clinic")):
            evidence = f"Licence of {name}, register page 4711-{key}".encode()
            self.known("content", "evidence", evidence)
            self.known("file name", "evidence", f"licence-{key}-scan.pdf")
            self.hospitals[key] = services.organisation_apply(
                name=name,
                kind="hospital",
                contact_name=f"Office of {name}",
                contact_email=f"office-{key}@{key}-hospital.example.org",
                evidence_name=f"licence-{key}-scan.pdf",
                evidence=evidence,
            )
            services.organisation_admit(actor=self.reg, organisation=self.hospitals[key])
        for chain in self.chains.values():
            for organisation in self.hospitals.values():
                chain.fund(organisation.account_address)
        self.settle()
        self.hospitals = {key: Organisation.objects.get(pk=row.pk) for key, row in self.hospitals.items()}
        self.step("applied, admitted")

    def staff(self, key, email, name, role):
        hospital = self.hospitals[key]
        admin = Membership.objects.select_related("user", "hospital").get(hospital=hospital, role=Role.ADMIN)
        return services.staff_register(
            actor=member_actor(admin), hospital=hospital, email=email, name=name, role=role, title="Consultant"
        )

    # -- people -----------------------------------------------------------------------------------------------------

    def registrations(self):
        rows = {
            "alice": ("c", "alice.okaforsen@c-hospital.example.org", "Alice Okaforsen", "doctor"),
            "nurse": ("c", "nils.brandtmann@c-hospital.example.org", "Nils Brandtmann", "nurse"),
            "clerk": ("c", "cleo.novakova@c-hospital.example.org", "Cleo Novakova", "clerk"),
            "dora": ("d", "dora.lindqvist@d-hospital.example.org", "Dora Lindqvist", "doctor"),
        }
        members = {key: self.staff(*row) for key, row in rows.items()}
        self.settle()
        self.members = {key: self.member(row) for key, row in members.items()}
        self.patients = {}
        for key, place in (("robin", "alice"), ("quinn", "dora")):
            self.patients[key] = self.register(key, place)
        self.settle()
        # The same person at the second hospital: a registration that nothing on a chain may link with the first.
        again = self.register("robin", "dora", mrn="D-888321", email="robin.valebrook@patients.example")
        self.settle()
        self.robin = User.objects.get(email=PERSONS["robin"][2])
        again = services.patient_link_accept(user=self.robin, patient_id=again.pk, birth_date=BORN)
        self.patients["robin at d"] = again
        with tenant(self.hospitals["c"]):
            services.patient_register(
                actor=self.actor("alice"),
                hospital=self.hospitals["c"],
                given_name="Kimberly",
                family_name="Valebrook",
                birth_date=date(2013, 12, 1),
                phone="+49 170 5550199",
            )
        claim = services.patient_claim_create(
            user=User.objects.get(email=PERSONS["quinn"][2]),
            hospital=self.hospitals["c"],
            given_name="Quíntana",
            family_name="Abarasson",
            birth_date=date(1991, 7, 2),
            phone="+44 7700 900461",
        )
        services.patient_claim_confirm(actor=self.actor("alice"), claim=claim)
        self.settle()
        self.step("registered: staff, patients, one person at two hospitals, a claim")

    def register(self, key, doctor, **fields):
        given, family, email, phone, mrn = PERSONS[key]
        member = self.members[doctor]
        values = {"email": email, "phone": phone, "mrn": mrn, "sex": "female", **fields}
        return services.patient_register(
            actor=member_actor(member),
            hospital=member.hospital,
            given_name=given,
            family_name=family,
            birth_date=BORN,
            **values,
        )

    # -- records ----------------------------------------------------------------------------------------------------

    def uploads(self):
        self.versions = {}
        alice = self.members["alice"]
        for name, chains, category in (
            ("letter-cardiology-valebrook.txt", "SUP", "letters"),
            ("panel-hba1c.txt", "BOTH", "laboratory"),
            ("psychiatry-first-talk.txt", "MED", "psychiatry"),
            ("wrong-person.txt", "MED", "imaging"),
        ):
            self.versions[name] = self.upload(alice, self.patient("robin"), name, chains, category)
        self.settle()
        for name, content in FILES.items():
            self.known("content", name, content)
            self.known("file name", name, name)
            self.known("bytes", f"sha256 of {name}", hashlib.sha256(content).digest())
        alice = self.actor("alice")
        for name, version in self.versions.items():
            with closing(gate.release(actor=alice, version=version)) as released:
                assert b"".join(released.chunks) == FILES[name]
        self.step("uploaded to SUP, MED and both; read by the treating doctor")
        browser, secret = Client(), generate_totp_secret()
        TOTP.activate(self.members["alice"].user, secret)
        self.known("secret", "one-time code", secret)
        browser.force_login(self.members["alice"].user, backend="allauth.account.auth_backends.AuthenticationBackend")
        found = browser.get(f"/h/{self.hospitals['c'].slug}/patients/", {"q": "Valebrook"})
        assert found.status_code == 200 and b"Valebrook" in found.content
        records.receipt_build(actor=Actor(self.robin), version=self.versions["panel-hba1c.txt"])
        log_export.export(actor=Actor(self.robin), patient=self.patient("robin"))
        self.settle()
        self.step("searched, receipt, export of the log")

    def upload(self, member, patient, name, chains, category):
        with tenant(patient.hospital_id):
            upload = records.upload_receive(
                actor=member_actor(member),
                patient=patient,
                file=sealed_file(name, FILES[name]),
                chains=chains,
                category=category,
                title=f"{category} of Robin Valebrook",
                care_on=date(2026, 11, 2),
            )
        self.known("title", name, f"{category} of Robin Valebrook")
        self.work()
        return version_of(upload)

    # -- consents ---------------------------------------------------------------------------------------------------

    def sharing(self):
        robin, dora = Actor(self.robin), self.members["dora"]
        patient = self.patient("robin")
        ends = timezone.now() + timedelta(days=7)
        record = self.versions["letter-cardiology-valebrook.txt"].record_id
        wishes = [
            (dora, "category", "laboratory", "TREAT"),
            (dora, "record", str(record), "TREAT"),
            (self.hospitals["d"], "all", "", "HRESCH"),
        ]
        self.grants = []
        for grantee, scope_type, value, purpose in wishes:
            with tenant(patient.hospital_id):
                self.grants.append(
                    records.grant_create(
                        actor=robin,
                        patient=patient,
                        grantee=grantee,
                        scope_type=scope_type,
                        scope_value=value,
                        purpose=purpose,
                        expires_at=ends,
                    )
                )
        self.settle()
        with closing(gate.release(actor=member_actor(dora), version=self.versions["panel-hba1c.txt"])) as released:
            assert b"".join(released.chunks) == FILES["panel-hba1c.txt"]
        self.step("granted: one kind, one record, everything; read by the other hospital")
        with tenant(patient.hospital_id):
            records.grant_revoke(actor=robin, grant=self.grants[0])
        try:
            gate.release(actor=member_actor(dora), version=self.versions["panel-hba1c.txt"], purpose="HPAYMT")
            raise AssertionError("a revoked grant opened a record")
        except (NotFound, RecordsError):
            pass
        self.settle()
        with all_tenants("story"):
            assert Epoch.objects.filter(version=self.versions["panel-hba1c.txt"]).count() == 2
        self.step("revoked, refused, keys made anew")

    # -- changes ----------------------------------------------------------------------------------------------------

    def changes(self):
        alice = self.actor("alice")
        with tenant(self.hospitals["c"]):
            record = Record.objects.select_related("hospital", "patient").get(
                pk=self.versions["letter-cardiology-valebrook.txt"].record_id
            )
            records.version_add(
                actor=alice,
                record=record,
                file=sealed_file("letter-corrected.txt", FILES["letter-corrected.txt"]),
            )
        self.work()
        self.settle()
        with tenant(self.hospitals["c"]):
            wrong = Record.objects.select_related("hospital", "patient").get(
                pk=self.versions["wrong-person.txt"].record_id
            )
            kim = Patient.objects.select_related("hospital").get(given_name="Kimberly")
            records.record_move(actor=alice, record=wrong, patient=kim, reason="wrong_patient")
        self.work()
        services.organisation_keys_rotate(actor=self.admin("c"), organisation=self.hospitals["c"])
        self.settle()
        self.step("corrected, moved to the right patient, keys of the hospital rotated")

    def hiding(self):
        begins = {name: node.head + 1 for name, node in self.chains.items()}
        patient = self.patient("robin")
        with tenant(patient.hospital_id):
            records.restriction_set(
                actor=Actor(self.robin), patient=patient, scope_type="category", scope_value="psychiatry"
            )
        try:
            gate.release(actor=self.actor("alice"), version=self.versions["psychiatry-first-talk.txt"])
            raise AssertionError("a hidden record opened")
        except NotFound:
            pass
        self.settle()
        self.hidden = {name: (begin, self.chains[name].head) for name, begin in begins.items()}
        self.step("hid one kind of record; refused to the treating doctor")

    def leaving(self):
        services.staff_end(actor=self.admin("c"), hospital=self.hospitals["c"], membership_id=self.members["nurse"].pk)
        services.organisation_suspend(
            actor=self.reg, organisation=self.hospitals["d"], reason="Licence of Duneside under review"
        )
        self.settle()
        services.organisation_reinstate(
            actor=self.reg, organisation=Organisation.objects.get(pk=self.hospitals["d"].pk)
        )
        self.settle()
        self.step("staff left; a hospital suspended and reinstated")

    def refusals(self):
        """Transactions that fail on chain: sent past the estimate that would have stopped them."""
        sender = "0x" + bytes(self.hospitals["c"].account_address).hex()
        node = self.chains["MED"]
        node.rpc("anvil_impersonateAccount", sender)
        place = deployment("MED")
        for contract, name, args in (
            ("Consents", "revoke", [bytes(self.grants[1].digest), b"\x07" * 32]),
            ("AnchorLog", "anchor", [b"\x05" * 32, 10**6, 1, 0]),
        ):
            data = "0x" + function(contract, name).encode(args).hex()
            to = "0x" + place[contract].address.hex()
            node.rpc("eth_sendTransaction", {"from": sender, "to": to, "data": data, "gas": hex(300_000)})
            node.mine()
        call_enqueue(
            chain="MED",
            sender=bytes(self.hospitals["c"].account_address),
            contract="Registry",
            function="removePractitioner",
            args=[bytes(self.members["dora"].chain_address)],
            ref="story:refused",
        )
        self.settle()
        self.step("refused by contracts, also on chain")

    def releases(self):
        """A next version of a contract, by the council."""
        names = ("Rita Holtkamp", "Mara Lindauer", "Ivo Sanderling")
        officers = []
        for name, key in zip(names, deploying.officer_keys(), strict=True):
            member, _ = services.officer_add(
                email=f"{name.split()[0].lower()}@authority.example.org", name=name, key=key
            )
            self.chains["SUP"].fund(bytes(member.chain_address))
            officers.append(member_actor(self.member(member)))
        self.settle()
        item = self.candidate()
        reason = "The next version writes fewer bytes, as Rita Holtkamp showed."
        services.release_propose(
            actor=officers[0], chain="MED", contract=item.name, address=item.checksum, reason=reason
        )
        self.settle()
        proposal = council.proposals("MED")[0].id
        services.release_approve(actor=officers[1], chain="MED", proposal_id=proposal)
        self.settle()
        self.waited()
        services.release_execute(actor=officers[2], chain="MED", proposal_id=proposal)
        self.settle()
        assert council.proposals("MED")[0].state == "executed"
        self.step("a new contract version proposed, approved and in effect")

    def vouching(self):
        for hospital in self.hospitals.values():
            assert audit_maps.map_make(hospital)
        crosscheck.heads_record(is_due=True)
        self.settle()
        self.step("ends of all logs and heads of both chains anchored")

    # -- helpers ----------------------------------------------------------------------------------------------------

    def known(self, kind, label, value):
        self.inputs.append(Known(kind, label, value))

    def member(self, row):
        return Membership.objects.select_related("user", "hospital").get(pk=row.pk)

    def actor(self, key):
        return member_actor(self.member(self.members[key]))

    def admin(self, key):
        found = Membership.objects.select_related("user", "hospital")
        return member_actor(found.get(hospital=self.hospitals[key], role=Role.ADMIN))

    def patient(self, key):
        row = self.patients[key]
        with tenant(row.hospital_id):
            return Patient.objects.select_related("hospital", "user").get(pk=row.pk)
