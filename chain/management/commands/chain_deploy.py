"""manage.py chain_deploy: the contracts on each chain, once."""

import subprocess
import sys

from django.core.management.base import BaseCommand, CommandError

from chain import releasing
from chain.artefacts import BUILD, deployment
from chain.conf import conf
from chain.deploying import ANNOUNCED, deploy
from chain.errors import ChainError
from chain.identity import verify_deployment
from chain.types import hex0x


class Command(BaseCommand):
    help = (
        "Deploys the contracts to SUP and MED (RPC and key from the environment) and records chain id, addresses, "
        "blocks, transactions, code hashes and compiler. Run again it changes nothing; killed half-way it finishes."
    )

    def add_arguments(self, parser):
        parser.add_argument("--chain", choices=sorted(conf().chains), help="only this chain")
        parser.add_argument(
            "--compile", action="store_true", help="first compile with the pinned solc and run the tests"
        )
        parser.add_argument("--again", action="store_true", help="a whole new set, for a chain that lost its data")
        parser.add_argument(
            "--candidate",
            metavar="CONTRACT",
            choices=ANNOUNCED,
            help="deploy one contract anew, for the council to announce; nothing is used before that",
        )
        parser.add_argument("--adopt", action="store_true", help="use the versions that the council has announced")

    def handle(self, *args, chain=None, again=False, candidate=None, adopt=False, verbosity=1, **options):
        if options["compile"]:
            self._compile()
        say = self.stdout.write if verbosity else (lambda line: None)
        for name in [chain] if chain else conf().chains:
            try:
                if candidate:
                    self._candidate(name, candidate, say)
                elif adopt:
                    self._adopt(name, say)
                else:
                    self._one(name, again, say)
            except ChainError as error:
                raise CommandError(str(error)) from error

    def _candidate(self, name, contract, say):
        item = releasing.candidate_deploy(name, contract, say=say)
        say(f"{name}: {contract} version {item.version} stands at {item.checksum} (block {item.block_number})")
        say(f"  code hash {hex0x(item.code_hash)}")
        say("  nothing uses it yet: an officer proposes it on the regulator's page “Releases”")

    def _adopt(self, name, say):
        done = releasing.adopt(name)
        for item in done:
            say(f"{name}: {item.contract} version {item.version} at {item.address} is in use from now on")
        if done:
            say(f"  restart the portal, then run `manage.py chain_reindex --chain {name}`")
        else:
            say(f"{name}: unchanged; every announced version that the portal can move to is in use")

    def _compile(self):
        """Compiles into contracts/build and runs forge's tests; a failure deploys nothing."""
        contracts = BUILD.parent
        forge = next(contracts.parent.glob("node_modules/@foundry-rs/forge-*/bin/forge"), None)
        if forge is None:
            raise CommandError("forge is missing: run `make install` first")
        for step in ([sys.executable, contracts / "tools" / "artefacts.py"], [forge, "test"]):
            if subprocess.run(step, cwd=contracts).returncode:
                raise CommandError("the contracts do not compile or their tests fail; nothing was deployed")

    def _one(self, name, again, say):
        is_new = deploy(name, again=again, say=say)
        verify_deployment(name)
        place = deployment(name)
        if is_new and place.previous:
            say(f"{name}: restart the portal, then run `manage.py chain_reindex --chain {name}`")
        say(f"{name} (chain id {place.chain_id}): {'deployed' if is_new else 'unchanged'}")
        for item in place.contracts.values():
            say(f"  {item.name:<14}{item.checksum}  version {item.version}, block {item.block_number}")
