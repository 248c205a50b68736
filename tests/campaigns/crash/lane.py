"""One lane of the campaign: a process with two chains of its own that plays rounds in forked children.

Reads one plan a line and answers one result a line, both as JSON; tests.campaigns.crash.pool is the other side.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

HUNG_SECONDS = 180  # far beyond what a loaded machine needs: only a process that waits for ever is ended
REFUSED = 3
UNPLANTED = 6
TOLD_TO_EXIT = 7


class Lane:
    def __init__(self, folder):
        from django.conf import settings

        self.folder = folder
        self.settings = settings
        self.database = settings.DATABASES["default"]
        self.is_postgres = self.database["ENGINE"].endswith("postgresql")
        self.blobs = folder / "blobs"
        self.kept = folder / "kept"
        self.kept.mkdir()
        self.journal = folder / "journal.jsonl"
        self.errors = folder / "errors.txt"
        self.before = {}

    # -- the state each round begins with

    def set_up(self, chains):
        """People on both chains, three records, a consent in use: made once, copied before every round."""
        from django.core.management import call_command
        from django.db import connections

        from chain import gateway
        from chain.artefacts import deployment_path
        from tests.campaigns.crash.chainside import Chain
        from tests.campaigns.crash.reading import Node

        self.anvils = {name: chains[name] for name in ("SUP", "MED")}
        self.nodes = {name: Node(anvil.url) for name, anvil in self.anvils.items()}
        if self.is_postgres:
            self.postgres(f'CREATE DATABASE "{self.database["NAME"]}"')
        call_command("migrate", verbosity=0)
        self.journal_base = self.make_cast()
        self.seen = {
            name: Chain(self.nodes[name], deployment_path(anvil.chain_id)) for name, anvil in self.anvils.items()
        }
        connections.close_all()
        gateway.gateways_close()
        self.keep()

    def make_cast(self):
        from hospitals import keyring
        from tests.campaigns.crash import story
        from tests.campaigns.crash.template import cast_make

        journal = story.Journal(self.journal)
        self.cast = cast_make(self.nodes, journal)
        from cryptography.hazmat.primitives import serialization as form

        self.wrap_keys = {}
        for organisation in (self.cast.a, self.cast.b):
            _, private = keyring._private(keyring.wrap_kid(organisation))
            self.wrap_keys[organisation.pk.hex] = private.private_bytes(
                form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption()
            )
        return self.journal.read_text()

    def source(self):
        if not self.is_postgres:
            return str(self.database["NAME"])
        return "postgresql://{USER}@/{NAME}?host={HOST}".format(**self.database)

    def keep(self):
        from tests.campaigns.crash.reading import Database
        from tests.campaigns.crash.rules_state import rows_of

        with Database(self.source()) as db:
            self.bystander_before = rows_of(db, self.cast.b.pk.hex)
            if not self.is_postgres:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if self.is_postgres:
            self.postgres(f'CREATE DATABASE "{self.database["NAME"]}_kept" TEMPLATE "{self.database["NAME"]}"')
        else:
            shutil.copy(self.database["NAME"], self.kept / "database")
        shutil.copytree(self.blobs, self.kept / "blobs")
        self.before = {name: node("evm_snapshot") for name, node in self.nodes.items()}

    def restore(self):
        name = str(self.database["NAME"])
        if self.is_postgres:
            self.postgres(f'DROP DATABASE "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}" TEMPLATE "{name}_kept"')
        else:
            for path in Path(name).parent.glob(Path(name).name + "*"):
                path.unlink()
            shutil.copy(self.kept / "database", name)
        shutil.rmtree(self.blobs)
        shutil.copytree(self.kept / "blobs", self.blobs)
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        (self.folder / "tmp").mkdir()
        for chain, node in self.nodes.items():
            node("anvil_dropAllTransactions")
            assert node("evm_revert", self.before[chain])
            self.before[chain] = node("evm_snapshot")
            node("evm_setTime", int(time.time()))
            node.mine(4)  # anvil forgets the states of old blocks: what is final must be of this round
        self.journal.write_text(self.journal_base)
        self.errors.write_text("")

    def postgres(self, *statements):
        import psycopg

        place = {"host": self.database["HOST"], "user": self.database["USER"], "dbname": "postgres"}
        with psycopg.connect(**place, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    # -- a round

    def play(self, plan):
        """Kill, recover with more kills, recover for good, look at everything."""
        self.restore()
        faults = []
        phases = [phase for phase in plan["faults"] if phase.startswith("acts")] or ["acts"]
        phases += [phase for phase in plan["faults"] if phase.startswith("recover")]
        for phase in phases:
            faults += self.live(plan, phase)
            self.time_passes()
        faults += self.live(plan, "finish")
        verdict, journal = self.checked()
        faults += verdict.faults
        fired = [line for line in journal if line["kind"] == "fault"]
        hits = {}
        for line in journal:
            if line["kind"] == "lived":
                hits[line["phase"]] = line["hits"]
        return {
            "faults": faults,
            "fired": [(line["name"], line["how"]) for line in fired],
            "hits": hits,
            "looked_at": dict(verdict.looked_at),
        }

    def live(self, plan, phase):
        """One process from birth to death; what it did wrong while it lived."""
        child = self.fork(plan, phase)
        status = self.wait(child, os.WUNTRACED)
        faults = []
        if status is not None and os.WIFSTOPPED(status):
            faults += self.overtaken(plan)
            before = self.protected()
            os.kill(child, signal.SIGCONT)
            status = self.wait(child, 0)
            if self.is_late() and self.protected() != before:
                faults.append(f"late: a process that lost its lease changed rows of the chain ({self.last_fault()})")
        if status is None:
            faults.append(f"I9: a process did not end within {HUNG_SECONDS} s in {phase}")
        elif os.WIFSIGNALED(status):
            if os.WTERMSIG(status) != signal.SIGKILL:
                faults.append(f"{phase}: a process died of signal {os.WTERMSIG(status)}")
        elif os.WEXITSTATUS(status) == UNPLANTED:
            faults.append(f"not planted: {self.error_text()}")
        elif os.WEXITSTATUS(status) not in (0, REFUSED, TOLD_TO_EXIT):
            faults.append(f"I9: {phase} ended with {os.WEXITSTATUS(status)}: {self.error_text()}")
        elif os.WEXITSTATUS(status) == REFUSED and phase == "finish":
            faults.append("I9: the clean run was refused its lease")
        return faults

    def overtaken(self, plan):
        """While the first process stands still, its lease ends and another one does all the work."""
        self.time_passes()
        return self.live({**plan, "faults": {}}, "overtake")

    def fork(self, plan, phase):
        for node in self.nodes.values():
            node.close()
        child = os.fork()
        if child:
            return child
        try:
            from chain.errors import LeaseLost
            from tests.campaigns.crash import planted, story

            code = UNPLANTED
            if plan.get("plant"):
                planted.plant(plan["plant"])
            code = 5
            try:
                story.play(plan, self.cast, self.nodes, self.journal, phase)
                code = 0
            except LeaseLost:
                code = REFUSED
            except SystemExit:
                code = TOLD_TO_EXIT
        except BaseException:  # noqa: BLE001 - told to the parent, which cannot see it otherwise
            self.errors.write_text(traceback.format_exc())
        finally:
            os._exit(code)

    def wait(self, child, options):
        """Its status; None when it had to be ended."""
        until = time.monotonic() + HUNG_SECONDS
        signal.set_wakeup_fd(-1)
        while time.monotonic() < until:
            found, status = os.waitpid(child, options | os.WNOHANG)
            if found:
                return status
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None

    def time_passes(self):
        from tests.campaigns.crash.reading import Database
        from tests.campaigns.crash.story import time_statements

        with Database(self.source()) as db:
            for statement in time_statements(self.is_postgres):
                db.execute(statement)

    # -- looking

    def journal_lines(self):
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def last_fault(self):
        return [line for line in self.journal_lines() if line["kind"] == "fault"][-1]["name"]

    def is_late(self):
        from tests.campaigns.crash.story import late

        return late(self.last_fault())

    def protected(self):
        """Everything that only the holder of a lease may change."""
        from tests.campaigns.crash.reading import Database

        with Database(self.source()) as db:
            return db.fingerprint(
                {
                    "chain_transaction": {"error"},
                    "chain_attempt": {"sent_at"},
                    "chain_outboxitem": {"error", "retry_at"},
                    "chain_account": set(),
                    "chain_chainevent": set(),
                    "chain_block": set(),
                    "chain_chainstate": {"checked_at"},
                }
            )

    def error_text(self):
        return " | ".join(line.strip() for line in self.errors.read_text().splitlines()[-6:])

    def checked(self):
        from tests.campaigns.crash.checker import Facts, check

        journal = self.journal_lines()
        facts = Facts(
            database=self.source(),
            blobs=self.blobs,
            chains=self.seen,
            journal=journal,
            wrap_keys=self.wrap_keys,
            needles=[b"CANARY-", *needles(journal)],
            bystander=self.cast.b.pk.hex,
            bystander_before=self.bystander_before,
            scanned=[self.folder / "state", self.folder / "tmp"],
        )
        return check(facts), journal


def needles(journal):
    for line in journal:
        if line["kind"] == "key":
            yield bytes.fromhex(line["hex"])
            yield line["hex"].encode()


def main():
    import django

    from portal import env

    env.default_settings("portal.settings.test")
    folder = Path(tempfile.mkdtemp(prefix="portal-campaign-"))
    try:
        with contextlib.ExitStack() as stack:
            serve(folder, django, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def serve(folder, django, stack):
    from django.conf import settings

    tempfile.tempdir = str(folder)
    state = folder / "state"
    state.mkdir()
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        settings.DATABASES["default"]["NAME"] = state / "campaign.sqlite3"
    else:
        settings.DATABASES["default"] |= {"CONN_MAX_AGE": 0, "NAME": f"lane{os.getpid()}"}
    settings.RECORDS = {**settings.RECORDS, "blob_dir": folder / "blobs"}
    django.setup()
    (folder / "tmp").mkdir()
    tempfile.tempdir = str(folder / "tmp")  # whatever the product spills is looked at, too
    from django.test import override_settings

    from tests.chain_fixtures import chains_running

    chains = stack.enter_context(chains_running(folder))
    values = {**chains["settings"], "resend_seconds": 5, "retry_seconds": 0}
    values["signer"] = settings.CHAIN["signer"]
    stack.enter_context(override_settings(CHAIN=values))
    lane = Lane(folder)
    lane.set_up(chains)
    say({"ready": True})
    for line in sys.stdin:
        plan = json.loads(line)
        begun = time.monotonic()
        try:
            result = lane.play(plan)
        except Exception:  # noqa: BLE001 - the other side reports it with the seed
            result = {"faults": ["lane: " + traceback.format_exc()], "fired": [], "hits": {}, "looked_at": {}}
        say({"index": plan["index"], "seconds": time.monotonic() - begun, **result})


def say(result):
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
