"""The part of the story in which a new contract version comes: two officers, a waiting time, nobody alone."""

import re
import subprocess
import sys

from django.conf import settings

CHAIN, CONTRACT = "MED", "AnchorLog"
PAGE = "/regulator/releases/"
PROPOSAL = re.compile(rf"{PAGE}{CHAIN}/(0x[0-9a-f]{{64}})/")
WAITING_SECONDS = 60


class Release:
    def __init__(self, story):
        self.story, self.path = story, ""

    def propose(self):
        story = self.story
        listed = self.listed()
        wrong = [row for row in listed if row["state"] != "match"]
        story.fact("G7", f"all {len(listed)} published contracts match their chains", listed and not wrong, wrong)
        address = self.deployed()
        if not story.fact("G4", f"version 2 of {CONTRACT} is put beside the first, used by nothing", address):
            return
        fields = {"chain": CHAIN, "contract": CONTRACT, "address": address, "reason": "Writes fewer bytes."}
        asked = f"{PAGE}new/?chain={CHAIN}&contract={CONTRACT}&address={address}"
        story.as_("reg").post(f"{PAGE}new/", fields, page=asked)
        found = story.wait(lambda: PROPOSAL.search(story.as_("reg").get(PAGE).text))
        if not story.fact("G4", "Reg proposes to announce it, with a reason", found):
            return
        self.path = found.group(0)
        text = story.as_("reg").post(self.path, {"act": "approve"}).text
        story.fact("G4", "Reg cannot approve the own proposal", "Another officer has to approve" in text)
        story.as_("mara").post(self.path, {"act": "approve"})
        text = story.wait(lambda: self.shows("Approved, waiting time"))
        story.fact("G4", "Mara, the second officer, approves; the waiting time begins", text)
        text = story.as_("ivo").post(self.path, {"act": "execute"}).text
        story.fact("G4", "before its end nobody can put it into effect", "The waiting time is not over" in text)

    def take_effect(self):
        story = self.story
        if not self.path:
            return
        story.wait(lambda: self.shows("Can take effect"), WAITING_SECONDS)
        story.as_("ivo").post(self.path, {"act": "execute"})
        story.fact(
            "G4", "after it any officer can; the chain confirms it", story.wait(lambda: self.shows("In effect</span>"))
        )
        rows = [row for row in self.listed() if (row["chain"], row["name"], row["version"]) == (CHAIN, CONTRACT, 2)]
        roles = [approval["role"] for row in rows for approval in row["approvals"]]
        story.fact(
            "G7",
            "everybody can see who approved version 2, by role, and that it matches",
            roles == ["Officer 1 of 3", "Officer 2 of 3"] and rows[0]["state"] == "match",
            rows,
        )

    def listed(self):
        return self.story.ask("reg", "/contracts/").json()

    def shows(self, words):
        text = self.story.as_("mara").get(self.path).text
        return text if words in text else None

    def deployed(self):
        command = [sys.executable, "manage.py", "chain_deploy", "--chain", CHAIN, "--candidate", CONTRACT]
        done = subprocess.run(
            command, cwd=settings.BASE_DIR, env=self.story.environment, capture_output=True, text=True, timeout=120
        )
        found = re.search(r"stands at (0x[0-9a-fA-F]{40})", done.stdout)
        return found.group(1) if found else None
