"""Keys of chain accounts: addresses, transactions, EIP-712. Only with the constant-time signer."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from eth_abi import encode as abi_encode
from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_keys import keys
from eth_keys.backends import get_backend_class
from eth_keys.backends.coincurve import CoinCurveECCBackend
from eth_keys.exceptions import BadSignature
from eth_utils import keccak as _keccak
from eth_utils import to_checksum_address

from chain.artefacts import deployment
from chain.errors import SignerRefused
from chain.types import Fees, Signed

CONSENT_FIELDS = (
    ("patientKey", "bytes32"),
    ("grantee", "address"),
    ("scope", "bytes32"),
    ("purpose", "bytes32"),
    ("notBefore", "uint64"),
    ("expiresAt", "uint64"),
    ("statement", "string"),
    ("salt", "bytes32"),
)
REGISTRATION_FIELDS = (
    ("practitioner", "address"),
    ("patientKey", "bytes32"),
    ("identityCommitment", "bytes32"),
    ("rotationLock", "bytes32"),
    ("deadline", "uint256"),
)


@cache
def _signer_ready() -> bool:
    # Without coincurve the library signs in pure Python: sixty times slower and not in constant time.
    if get_backend_class() is not CoinCurveECCBackend:
        raise SignerRefused("coincurve is missing: install requirements.txt; pure-Python signing is refused")
    return True


def keccak(data: bytes) -> bytes:
    return _keccak(data)


def address_of(private_key: bytes) -> bytes:
    _signer_ready()
    return keys.PrivateKey(private_key).public_key.to_canonical_address()


def checksum(address: bytes) -> str:
    """EIP-55 text, for the edges."""
    return to_checksum_address(bytes(address))


def sign_transaction(
    private_key: bytes,
    *,
    chain_id: int,
    account_nonce: int,
    to: bytes | None,
    value: int,
    data: bytes,
    gas_limit: int,
    fees: Fees,
) -> Signed:
    _signer_ready()
    fields: dict[str, Any] = {
        "chainId": chain_id,
        "nonce": account_nonce,
        "value": value,
        "data": data,
        "gas": gas_limit,
        **fees.fields,
    }
    if to is not None:
        fields["to"] = to_checksum_address(to)
    signed = Account.sign_transaction(fields, private_key)
    return Signed(raw=bytes(signed.raw_transaction), tx_hash=bytes(signed.hash))


def sign_digest(private_key: bytes, digest: bytes) -> bytes:
    """65 bytes r || s || v, low s, v 27 or 28: what contracts recover."""
    _signer_ready()
    return bytes(Account.unsafe_sign_hash(digest, private_key).signature)


def recover(digest: bytes, signature: bytes) -> bytes | None:
    """The address that signed; None when the signature is none."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        return None
    try:
        found = keys.Signature(signature[:64] + bytes([signature[64] - 27])).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValueError):
        return None
    return found.to_canonical_address()


def message_digest(message: SignableMessage) -> bytes:
    return _keccak(b"\x19" + message.version + message.header + message.body)


def _typed(
    chain: str, contract: str, domain: str, kind: str, fields: tuple[tuple[str, str], ...], value: Mapping[str, Any]
) -> bytes:
    if set(value) != {name for name, _ in fields}:
        raise ValueError(f"{kind} takes exactly {', '.join(name for name, _ in fields)}")
    place = deployment(chain)
    message = {name: to_checksum_address(value[name]) if of == "address" else value[name] for name, of in fields}
    return message_digest(
        encode_typed_data(
            {
                "name": domain,
                "version": "1",
                "chainId": place.chain_id,
                "verifyingContract": place[contract].checksum,
            },
            {kind: [{"name": name, "type": of} for name, of in fields]},
            message,
        )
    )


def consent_digest(chain: str, consent: Mapping[str, Any]) -> bytes:
    """The EIP-712 digest that Consents.digestOf gives for the same opening."""
    return _typed(chain, "Consents", "Portal consent", "Consent", CONSENT_FIELDS, consent)


def consent_sign(private_key: bytes, chain: str, consent: Mapping[str, Any]) -> bytes:
    return sign_digest(private_key, consent_digest(chain, consent))


def registration_digest(chain: str, registration: Mapping[str, Any]) -> bytes:
    """What a doctor signs so that the hospital may send registerPatientFor."""
    return _typed(chain, "Registry", "Portal registry", "PatientRegistration", REGISTRATION_FIELDS, registration)


def registration_sign(private_key: bytes, chain: str, registration: Mapping[str, Any]) -> bytes:
    return sign_digest(private_key, registration_digest(chain, registration))


def consent_typed_data(chain: str, consent: Mapping[str, Any]) -> dict[str, Any]:
    """The eth_signTypedData_v4 form of a consent, for a patient's own wallet."""
    place = deployment(chain)
    return {
        "domain": {
            "name": "Portal consent",
            "version": "1",
            "chainId": place.chain_id,
            "verifyingContract": place["Consents"].checksum,
        },
        "primaryType": "Consent",
        "types": {"Consent": [{"name": name, "type": of} for name, of in CONSENT_FIELDS]},
        "message": {
            name: "0x" + bytes(value).hex() if isinstance(value, bytes) else value for name, value in consent.items()
        },
    }


def identity_commitment(identity: bytes, salt: bytes) -> bytes:
    return _keccak(abi_encode(["address", "bytes32"], [to_checksum_address(identity), salt]))


def lock_of(preimage: bytes) -> bytes:
    """keccak256(abi.encode(bytes32)): rotation locks in full, revocation locks by their first 20 bytes."""
    return _keccak(abi_encode(["bytes32"], [preimage]))


def revocation_lock(secret: bytes) -> bytes:
    return lock_of(secret)[:20]
