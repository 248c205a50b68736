"""How a production portal gets its regulator and its officers, without a demo."""

import secrets

import pytest
from django.core.management import CommandError, call_command

from chain import council
from chain.deploying import officer_keys
from chain.gateway import address_of, checksum
from hospitals.actors import member_actor
from hospitals.keyring import chain_signing_key
from hospitals.models import Membership, Organisation
from hospitals.services import officer_standing
from hospitals.types import OrganisationKind, OrganisationStatus, Role

pytestmark = [pytest.mark.django_db, pytest.mark.chain, pytest.mark.scenario("G4")]
PERSON = ("Health Authority", "reg@authority.example.org", "Rita Holt")


@pytest.fixture
def regulator(chains, db):
    call_command("regulator_add", *PERSON)
    return Organisation.objects.get(kind=OrganisationKind.REGULATOR)


def test_the_founding_admitted_the_regulator(regulator, deployer, capsys):
    assert bytes(regulator.account_address) == deployer
    assert regulator.status == OrganisationStatus.ACTIVE
    assert regulator.chain_status == {"SUP": "active", "MED": "active"}
    call_command("regulator_add", *PERSON)
    assert capsys.readouterr().out.endswith("Health Authority: active\n")
    assert Organisation.objects.filter(kind=OrganisationKind.REGULATOR).count() == 1


def test_an_officer_with_a_key_and_one_with_an_own_wallet(regulator, drive, tmp_path):
    keys = officer_keys()
    path = tmp_path / "rita.key"
    path.write_text(keys[0].hex())
    call_command("officer_add", "reg@authority.example.org", "Rita Holt", f"--key-file={path}")
    wallet = checksum(address_of(keys[1]))
    call_command("officer_add", "mara@authority.example.org", "Mara Lind", address=wallet)
    drive()
    rita, mara = (
        Membership.objects.select_related("user", "hospital").get(user__email=f"{name}@authority.example.org")
        for name in ("reg", "mara")
    )
    assert rita.role == mara.role == Role.REGULATOR
    assert chain_signing_key(bytes(rita.chain_address)) == keys[0]
    standing = officer_standing(actor=member_actor(rita), chain="MED")
    assert (standing.is_officer, standing.is_hosted) == (True, True)
    standing = officer_standing(actor=member_actor(mara), chain="MED")
    assert (standing.is_officer, standing.is_hosted) == (True, False)
    assert council.council("MED").officers[1] == standing.checksum == wallet


def test_what_is_no_account_is_refused(regulator, tmp_path):
    for option, words in (
        ("--address=nobody", "40 hex digits"),
        (f"--key-file={tmp_path / 'absent'}", "cannot be read"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("officer_add", "x@authority.example.org", "X", option)
    short = tmp_path / "short.key"
    short.write_text("abcd")
    with pytest.raises(CommandError, match="does not hold"):
        call_command("officer_add", "x@authority.example.org", "X", f"--key-file={short}")
    address = checksum(secrets.token_bytes(20))
    call_command("officer_add", "a@authority.example.org", "A", address=address)
    with pytest.raises(CommandError, match="somebody else"):
        call_command("officer_add", "b@authority.example.org", "B", address=address)
    assert not Membership.objects.filter(user__email="b@authority.example.org").exists()


def test_officers_need_a_regulator_first(chains, db):
    with pytest.raises(CommandError, match="does not exist yet"):
        call_command("officer_add", "a@authority.example.org", "A", address=checksum(secrets.token_bytes(20)))
