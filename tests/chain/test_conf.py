"""Settings that are wrong say so; the slow signer is refused."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from chain import signing
from chain.conf import Finality, conf
from chain.errors import SignerRefused
from chain.fields import AddressField, Bytes32Field


def test_unknown_keys_are_refused(settings):
    settings.CHAIN = {**settings.CHAIN, "batch_leafs": 5}
    with pytest.raises(ImproperlyConfigured, match="batch_leafs"):
        conf()


def test_unknown_keys_of_a_chain_are_refused(settings):
    chains = settings.CHAIN["chains"]
    settings.CHAIN = {**settings.CHAIN, "chains": {**chains, "SUP": {**chains["SUP"], "rpc": "x"}}}
    with pytest.raises(ImproperlyConfigured, match="SUP.*rpc"):
        conf()


@pytest.mark.parametrize("text", ["depth", "depth:0", "depth:-1", "tag:3", "soon", ""])
def test_finality_is_spelled_out(text):
    with pytest.raises(ImproperlyConfigured):
        Finality.parse(text)


def test_the_three_kinds_of_finality():
    assert Finality.parse("instant") == Finality("instant")
    assert Finality.parse("tag") == Finality("tag")
    assert Finality.parse("depth:12") == Finality("depth", 12)


def test_the_pure_python_signer_is_refused(monkeypatch):
    from eth_keys.backends.native import NativeECCBackend

    signing._signer_ready.cache_clear()
    monkeypatch.setattr(signing, "get_backend_class", lambda: NativeECCBackend)
    try:
        for use in (lambda: signing.address_of(b"\1" * 32), lambda: signing.sign_digest(b"\1" * 32, b"\2" * 32)):
            with pytest.raises(SignerRefused, match="coincurve"):
                use()
    finally:
        signing._signer_ready.cache_clear()


def test_a_signature_names_its_signer_and_nothing_else_does():
    key, digest = b"\7" * 32, b"\3" * 32
    signature = signing.sign_digest(key, digest)
    assert signing.recover(digest, signature) == signing.address_of(key)
    assert signing.recover(b"\4" * 32, signature) != signing.address_of(key)
    for broken in (signature[:-1], signature[:-1] + b"\x05", b"\0" * 64 + b"\x1b", b""):
        assert signing.recover(digest, broken) is None


@pytest.mark.parametrize(("field", "size"), [(Bytes32Field(), 32), (AddressField(), 20)])
def test_a_column_takes_its_length_only(field, size):
    from django.db import connection

    assert field.get_db_prep_value(b"\1" * size, connection) is not None
    with pytest.raises(ValueError):
        field.get_db_prep_value(b"\1" * (size - 1), connection)
    with pytest.raises(TypeError):
        field.get_db_prep_value("0x" + "01" * size, connection)
    assert field.to_python("0x" + "ab" * size) == b"\xab" * size
