"""The story that `make demo-check` lives through, as its people would, over HTTP. Each step states facts."""

import json
import re
import secrets
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

from portal import demo_files
from portal.demo_client import Visitor
from portal.demo_release import Release

API = "/api/v1"
CHECKER = "records/verification/verify_receipt.py"
FINAL_SECONDS = 60
ROBIN = demo_files.Person("Robin", "Vale", "1979-05-23", "male", "N-20001")


class Story:
    """`fact(id, text, holds)` prints a line and remembers it; the story goes on, so that one run shows every fault."""

    def __init__(self, base_url, state, accounts, rpc_urls, say, environment=None):
        self.base_url, self.state, self.accounts, self.rpc_urls = base_url, Path(state), accounts, rpc_urls
        self.say, self.environment = say, environment  # of the portal's own commands
        self.facts = []
        self.people = {}
        # A word that stands in an uploaded file and nowhere else: if it is found in the state directory, it leaked.
        self.canary = f"canary{secrets.token_hex(8)}"
        self.release = Release(self)

    def fact(self, key, text, holds, detail=""):
        self.facts.append(
            {"fact": key, "text": text, "holds": bool(holds), "detail": "" if holds else str(detail)[:300]}
        )
        self.say(
            f"  {'ok  ' if holds else 'FAIL'} {text}" + (f"  [{str(detail)[:300]}]" if not holds and detail else "")
        )
        return bool(holds)

    def tell(self):
        try:
            for step in (
                self.sign_in,
                self.release.propose,
                self.register,
                self.upload,
                self.anchor,
                self.own_reading,
                self.grant,
                self.revoke,
                self.log,
                self.release.take_effect,
                self.receipts,
                self.nothing_leaked,
                self.tamper,
            ):
                try:
                    step()
                except Exception as error:  # noqa: BLE001 (a broken step is a fact like any other)
                    self.fact(step.__name__, f"the step “{step.__name__}” runs to its end", False, repr(error))
        finally:
            for person in self.people.values():
                person.http.close()
        return all(row["holds"] for row in self.facts)

    # -- helpers ------------------------------------------------------------------------------------------------

    def as_(self, key):
        if key not in self.people:
            self.people[key] = Visitor(self.base_url).sign_in(self.accounts[key])
        return self.people[key]

    def ask(self, key, path, **options):
        return self.as_(key).call("GET", f"{API}{path}", **options)

    def wait(self, is_true, seconds=FINAL_SECONDS, every=0.4):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := is_true():
                return found
            time.sleep(every)
        return None

    # -- the story ----------------------------------------------------------------------------------------------

    def sign_in(self):
        with Visitor(self.base_url) as nobody:
            answer = nobody.get("/h/northwick/", follow_redirects=False)
            self.fact(
                "P20", "without signing in, a hospital's pages lead to the sign-in page", answer.status_code == 302
            )
            nobody.post(
                "/accounts/login/",
                {"login": self.accounts["alice"]["email"], "password": self.accounts["alice"]["password"]},
            )
            answer = nobody.get("/h/northwick/", follow_redirects=False)
            self.fact("P20", "a password without the second step opens no hospital page", answer.status_code == 302)
        answer = self.as_("alice").get("/h/northwick/")
        self.fact(
            "P20", "Alice signs in with password and one-time code", answer.status_code == 200, answer.status_code
        )
        answer = self.as_("dora").get("/h/northwick/")
        self.fact(
            "H2", "Dora of the other hospital gets “not found” there", answer.status_code == 404, answer.status_code
        )
        answer = self.as_("reg").get("/regulator/")
        self.fact("P20", "Reg opens the regulator's console", answer.status_code == 200, answer.status_code)

    def register(self):
        fields = {
            "given_name": ROBIN.given_name,
            "family_name": ROBIN.family_name,
            "birth_date": ROBIN.birth_date,
            "sex": ROBIN.sex,
            "mrn": ROBIN.mrn,
            "email": "robin@patients.example",
            "phone": "",
        }
        answer = self.as_("alice").post("/h/northwick/patients/new/", fields)
        match = re.search(r"/patients/([0-9a-f-]{36})", str(answer.url))
        if not self.fact(
            "D9", "Alice registers the patient Robin on the page", match, f"{answer.status_code} {answer.url}"
        ):
            return
        self.robin = match.group(1)
        row = lambda: self.ask("alice", f"/h/northwick/patients/{self.robin}/").json()  # noqa: E731
        active = self.wait(lambda: row().get("status") == "active")
        self.fact("D9", "the registry's event is final and makes the registration active", active, row())
        code = self.wait(lambda: self.mailed_code("robin@patients.example"), 10)
        with Visitor(self.base_url) as robin:
            password = self.accounts["alice"]["password"]
            answer = robin.post(
                "/accounts/activate/",
                {"code": code, "password1": password, "password2": password, "password": password},
            )
            account = {"email": "robin@patients.example", "password": password, "secret": ""}
            self.accounts["robin"] = account
        answer = self.as_("robin").get("/me/")
        self.fact(
            "P18",
            "Robin activates the account with the mailed code and signs in",
            answer.status_code == 200,
            answer.status_code,
        )

    def mailed_code(self, address):
        for mail in sorted((self.state / "mail").glob("*"), reverse=True):
            text = mail.read_text()
            if address in text and (match := re.search(r"[0-9A-Z]{6}(-[0-9A-Z]{5}){4}", text)):
                return match.group(0)
        return None

    def upload(self):
        letter = demo_files.pdf("Letter", [self.canary, "Findings without anything to worry about."])
        self.files = {
            "SUP": ("letters", "letter.pdf", letter),
            "MED": ("laboratory", "panel.json", demo_files.fhir_bundle(ROBIN, "Northwick Hospital", "2026-11-02")),
            "BOTH": ("imaging", "ct.dcm", demo_files.dicom_slice("CT_small.dcm", ROBIN)),
        }
        self.uploads = {}
        for chains, (category, name, content) in self.files.items():
            answer = self.send(chains, category, name, content)
            if self.fact(
                "D1",
                f"an upload for {chains} is accepted at once",
                answer.status_code == 202,
                f"{answer.status_code} {answer.text[:200]}",
            ):
                self.uploads[chains] = answer.json()["id"]
        answer = self.send("SUP", "letters", "letter.pdf.exe", letter)
        self.fact(
            "D13",
            "a misleading file name is refused with a reason",
            400 <= answer.status_code < 500,
            answer.status_code,
        )
        answer = self.send("SUP", "letters", "letter.pdf", b"")
        self.fact("D13", "an empty file is refused with a reason", 400 <= answer.status_code < 500, answer.status_code)

    def send(self, chains, category, name, content):
        fields = {"category": category, "title": f"Robin's {category}", "care_on": "2026-11-02", "chains": chains}
        path = f"{API}/h/northwick/patients/{self.robin}/uploads/"
        return self.as_("alice").call("POST", path, data=fields, files={"file": (name, content)})

    def anchor(self):
        self.records = {}
        for chains, upload in self.uploads.items():
            state = lambda upload=upload: self.ask("alice", f"/h/northwick/uploads/{upload}/").json()  # noqa: E731
            sealed = self.wait(lambda state=state: state() if state().get("state") == "sealed" else None)
            if self.fact("D1", f"the worker seals the upload for {chains}", sealed, state()):
                self.records[chains] = str(sealed["record"])
        for chains, record in self.records.items():
            view = lambda record=record: self.ask("alice", f"/h/northwick/records/{record}/").json()  # noqa: E731
            final = self.wait(lambda view=view: view() if view().get("state") == "final" else None)
            on = sorted({anchor["chain"] for anchor in (final or {}).get("anchors", [])})
            wanted = ["MED", "SUP"] if chains == "BOTH" else [chains]
            self.fact(
                "D2", f"the record for {chains} is final on {' and '.join(wanted)}", on == wanted, final or view()
            )

    def content(self, key, path, chains, **options):
        return self.ask(key, f"{path}/records/{self.records[chains]}/content/", **options)

    def own_reading(self):
        for chains, (_, _, content) in self.files.items():
            answer = self.content("robin", "/me", chains)
            self.fact(
                "D12",
                f"Robin reads the record for {chains}, byte for byte",
                answer.content == content,
                answer.status_code,
            )
        answer = self.content("robin", "/me", "BOTH", headers={"Range": "bytes=1000-1999"})
        whole = self.files["BOTH"][2]
        self.fact(
            "D12",
            "a range download gives exactly these bytes",
            answer.status_code == 206 and answer.content == whole[1000:2000],
            answer.status_code,
        )
        answer = self.content("alice", "/h/northwick", "SUP")
        self.fact(
            "D12",
            "Alice reads it by her treatment relationship",
            answer.content == self.files["SUP"][2],
            answer.status_code,
        )
        for key, place in (("dora", "/h/suedtor"), ("quinn", "/me"), ("reg", "/h/northwick"), ("cleo", "/h/northwick")):
            answer = self.content(key, place, "SUP")
            self.fact("H2", f"{key.title()} is refused", answer.status_code in (403, 404), answer.status_code)

    def grant(self):
        practitioners = self.ask("robin", "/practitioners/", params={"q": "Dora Klein"}).json()
        rows = practitioners if isinstance(practitioners, list) else practitioners.get("results", [])
        if not self.fact("P2", "Robin finds Dr Dora Klein", len(rows) == 1, practitioners):
            return
        wish = {
            "registration": self.robin,
            "practitioner": rows[0]["id"],
            "scope": "category",
            "scope_value": "laboratory",
            "purpose": "TREAT",
            "expires_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        }
        answer = self.as_("robin").call("POST", f"{API}/me/grants/", json=wish)
        if not self.fact(
            "P2", "Robin shares the laboratory results with her", answer.status_code == 201, answer.text[:300]
        ):
            return
        self.grant_id = answer.json()["id"]
        state = lambda: self.ask("robin", f"/me/grants/{self.grant_id}/").json().get("state")  # noqa: E731
        self.fact("P2", "the consent becomes final on MEDchain", self.wait(lambda: state() == "active"), state())
        read = self.wait(lambda: self.content("dora", "/h/suedtor", "MED").content == self.files["MED"][2], 15)
        self.fact("P2", "Dora reads the shared record, byte for byte", read)
        answer = self.content("dora", "/h/suedtor", "SUP")
        self.fact("P2", "what was not shared stays closed to her", answer.status_code == 404, answer.status_code)

    def revoke(self):
        answer = self.as_("robin").call("DELETE", f"{API}/me/grants/{self.grant_id}/")
        self.fact("P3", "Robin stops sharing", answer.status_code in (200, 202), answer.text[:200])
        answer = self.content("dora", "/h/suedtor", "MED")
        self.fact(
            "P3", "Dora's next request is refused, before any block", answer.status_code == 404, answer.status_code
        )
        state = lambda: self.ask("robin", f"/me/grants/{self.grant_id}/").json().get("state")  # noqa: E731
        self.fact("P3", "the revocation becomes final on MEDchain", self.wait(lambda: state() == "revoked"), state())
        answer = self.content("robin", "/me", "MED")
        self.fact(
            "P3",
            "after the new key, Robin still reads the record",
            answer.content == self.files["MED"][2],
            answer.status_code,
        )

    def log(self):
        def state():
            return next((row for row in self.ask("robin", "/me/log/state/").json()), {})

        rows = self.ask("robin", "/me/log/").json()["results"]
        text = json.dumps(rows)
        self.fact("P6", "Robin's log shows Alice and Dora", "Alice Ward" in text and "Dora Klein" in text, text[:300])
        self.fact("P6", "the log is complete: 1 to n, none missing", state().get("is_complete"), state())
        # Exporting the log is itself its newest entry, so the entries of these exports may still wait to be counted.
        path = self.state / "check" / "log.json"
        exports = 0

        def complete():
            nonlocal exports
            exports += 1
            self.write("log.json", self.ask("robin", f"/me/log/{self.robin}/export/").content)
            result = self.check("--log", path)
            counted = re.search(r"Entries 1 to (\d+) are complete and unchanged", result.stdout)
            there = json.loads(path.read_bytes())["count"]
            return result.returncode == 0 and counted and there - int(counted.group(1)) <= exports

        time.sleep(6)
        holds = self.wait(complete, 60, every=8)
        said = self.check("--log", path).stdout
        self.fact("P6", "the offline checker finds the log complete up to the export itself", holds, said)
        damaged = path.read_bytes().replace(b"records", b"recorbs", 1)
        result = self.check("--log", self.write("log-altered.json", damaged))
        self.fact(
            "P6",
            "and finds a changed entry",
            result.returncode not in (0, 2) and "altered" in result.stdout,
            result.stdout,
        )

    def write(self, name, content):
        path = self.state / "check" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    def check(self, *arguments):
        rpc = [word for url in self.rpc_urls for word in ("--rpc", url)]
        command = [sys.executable, CHECKER, *map(str, arguments), *rpc]
        return subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60)

    def receipts(self):
        for chains, (_, name, content) in self.files.items():
            answer = self.ask("robin", f"/me/records/{self.records[chains]}/receipt/")
            receipt = self.write(f"receipt-{chains}.json", answer.content)
            result = self.check(receipt, self.write(name, content))
            self.fact(
                "P8",
                f"offline, file and receipt for {chains} are authentic on the chain itself",
                result.returncode == 0 and "authentic" in result.stdout,
                result.stdout + result.stderr,
            )
            changed = bytearray(content)
            changed[len(changed) // 2] ^= 1
            result = self.check(receipt, self.write("changed-" + name, bytes(changed)))
            self.fact(
                "P8",
                f"offline, one changed bit in the file for {chains} is found",
                "altered" in result.stdout,
                result.stdout,
            )

    def nothing_leaked(self):
        needle = self.canary.encode()
        found = [
            str(path.relative_to(self.state))
            for path in self.state.rglob("*")
            if path.is_file() and path.parent.name != "check" and needle in path.read_bytes()
        ]
        self.fact(
            "sealed", "no plaintext stands anywhere in the state directory, logs and Redis included", not found, found
        )

    def tamper(self):
        receipt = json.loads((self.state / "check" / "receipt-SUP.json").read_bytes())
        digest = json.loads(receipt["epoch"]["manifest"])["ct_sha256"]
        blob = self.state / "blobs" / digest[:2] / digest
        content = bytearray(blob.read_bytes())
        content[len(content) // 2] ^= 1
        blob.chmod(0o600)
        blob.write_bytes(bytes(content))
        answer = self.content("robin", "/me", "SUP")
        self.fact(
            "tamper",
            "a byte changed on the disk: the record is not shown",
            answer.content != self.files["SUP"][2] and answer.status_code >= 400,
            answer.status_code,
        )
        view = self.ask("robin", f"/me/records/{self.records['SUP']}/").json()
        self.fact("tamper", "and its proof says “altered”", view.get("proof") == "altered", view)
