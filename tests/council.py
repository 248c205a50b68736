"""The council at work in tests: officers of the regulator who sign with the keys that founded it."""

import secrets

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

from chain import council, deploying, releasing
from chain.artefacts import deployment_path
from chain.services import call_enqueue
from hospitals import services

CHAIN = "MED"
REASON = "The next version writes fewer bytes."
NAMES = ("Rita Holt", "Mara Lind", "Ivo Sander")


@pytest.fixture
def officers(chains, drive, deployer):
    """Call it with the regulator's organisation: three officers, with the founding in the index."""

    def make(authority):
        account = bytes(authority.account_address)
        for chain, anvil in chains.items():
            anvil.fund(account)
            call_enqueue(
                chain=chain,
                sender=deployer,
                contract="Registry",
                function="admitOrganisation",
                args=[account, deploying.REGULATOR_KIND, secrets.token_bytes(32)],
                ref=f"authority:{chain}",
            )
        found = []
        for name, key in zip(NAMES, deploying.officer_keys(), strict=True):
            email = f"{name.split()[0].lower()}@authority.example.org"
            member, _ = services.officer_add(email=email, name=name, key=key)
            TOTP.activate(member.user, generate_totp_secret())
            chains["SUP"].fund(bytes(member.chain_address))
            found.append(member)
        drive()
        return found

    return make


@pytest.fixture
def candidate(chains):
    """Call it to deploy a next version of one contract."""

    def make(contract="AnchorLog", chain=CHAIN):
        return releasing.candidate_deploy(chain, contract, wait=chains[chain].mine)

    # The chains go back after a test, so what is recorded of them has to go back, too.
    paths = [deployment_path(anvil.chain_id) for anvil in chains.values()]
    before = {path: path.read_text() for path in paths}
    yield make
    for path, text in before.items():
        path.write_text(text)


@pytest.fixture
def waited(chains, drive):
    """Call it to let a chain's clock run over the waiting time."""

    def run(chain=CHAIN, seconds=61):
        chains[chain].rpc("evm_increaseTime", hex(seconds))
        drive()

    return run


def newest(chain=CHAIN):
    return council.proposals(chain)[0]
