"""Our ABI and signing against the contracts themselves."""

import secrets

import pytest

from chain import codec, merkle
from chain.errors import Reverted
from chain.gateway import address_of, consent_digest, consent_sign, gateway, keccak, recover


def test_view_calls_decode_to_bytes_and_numbers(chains):
    node = gateway("MED")
    assert node.call("Registry", "organisationStatus", b"\x11" * 20) == (0, 0)
    assert node.call("AnchorLog", "nextSeq", b"\x11" * 20) == 0
    assert node.call("Consents", "stateOf", b"\x22" * 32) == (b"\0" * 20, 0, 0)


def test_a_refusal_carries_its_name_and_arguments(chains):
    node = gateway("SUP")
    data = codec.function("AnchorLog", "anchor").encode([b"\x01" * 32, 0, 1, 0])
    from chain.artefacts import deployment

    with pytest.raises(Reverted) as caught:
        node.estimate(sender=b"\x33" * 20, to=deployment("SUP")["AnchorLog"].address, data=data)
    assert caught.value.name == "AnchorLogNotActiveOrganisation"
    assert caught.value.error_args == (b"\x33" * 20,)


def test_consent_digest_is_the_one_of_the_contract(chains):
    key = secrets.token_bytes(32)
    consent = {
        "patientKey": b"\x01" * 32,
        "grantee": address_of(key),
        "scope": b"laboratory".ljust(32, b"\0"),
        "purpose": b"TREAT".ljust(32, b"\0"),
        "notBefore": 1,
        "expiresAt": 2**40,
        "statement": "Dr A may read my laboratory results – until 1 January 2027",
        "salt": secrets.token_bytes(32),
    }
    digest = consent_digest("MED", consent)
    assert gateway("MED").call("Consents", "digestOf", consent) == digest
    assert recover(digest, consent_sign(key, "MED", consent)) == address_of(key)
    assert consent_digest("SUP", consent) != digest


def test_the_deployer_may_do_what_the_regulator_does(chains, deployer):
    from chain.artefacts import deployment

    data = codec.function("Registry", "admitOrganisation").encode([b"\x44" * 20, 1, b"\x01" * 32])
    gateway("MED").estimate(sender=deployer, to=deployment("MED")["Registry"].address, data=data)
    version, address, code_hash = gateway("MED").call("Registry", "releaseOf", b"AnchorLog".ljust(32, b"\0"))
    place = deployment("MED")["AnchorLog"]
    assert (version, address, code_hash) == (1, place.address, place.code_hash)
    assert keccak(gateway("MED").code(place.address)) == code_hash
    assert merkle.leaf_hash(b"") != merkle.leaf_hash(b"\0")
