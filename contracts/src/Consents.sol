// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IConsents} from "./interfaces/IConsents.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Membership} from "./Membership.sol";
import {Signatures} from "./Signatures.sol";

/// @notice The interface says what every function does and refuses.
contract Consents is IConsents, Membership, EIP712 {
    using Signatures for address;

    /// @dev One slot.
    struct State {
        bytes20 lock;
        uint48 recordedAt;
        uint48 revokedAt;
    }

    /// @notice The scope that covers every record of the patient at that hospital.
    bytes32 public constant SCOPE_ALL = "all";

    bytes32 private constant _CONSENT_TYPEHASH = keccak256(
        "Consent(bytes32 patientKey,address grantee,bytes32 scope,bytes32 purpose,uint64 notBefore,uint64 expiresAt,string statement,bytes32 salt)"
    );

    mapping(bytes32 digest => State) private _states;

    constructor(IRegistry registry_) Membership(registry_) EIP712("Portal consent", "1") {}

    modifier onlyActiveOrganisation() {
        require(_isActiveOrganisation(msg.sender), ConsentsNotActiveOrganisation(msg.sender));
        _;
    }

    /// @inheritdoc IConsents
    function record(bytes32 digest, bytes20 revocationLock) external onlyActiveOrganisation {
        _record(digest, revocationLock);
    }

    /// @inheritdoc IConsents
    function recordMany(bytes32[] calldata digests, bytes20[] calldata revocationLocks)
        external
        onlyActiveOrganisation
    {
        _requirePairs(digests.length, revocationLocks.length);
        for (uint256 i = 0; i < digests.length; ++i) {
            _record(digests[i], revocationLocks[i]);
        }
    }

    /// @inheritdoc IConsents
    function revoke(bytes32 digest, bytes32 secret) external {
        _revoke(digest, secret);
    }

    /// @inheritdoc IConsents
    function revokeMany(bytes32[] calldata digests, bytes32[] calldata secrets) external {
        _requirePairs(digests.length, secrets.length);
        for (uint256 i = 0; i < digests.length; ++i) {
            _revoke(digests[i], secrets[i]);
        }
    }

    /// @inheritdoc IConsents
    function stateOf(bytes32 digest)
        external
        view
        returns (bytes20 revocationLock, uint48 recordedAt, uint48 revokedAt)
    {
        State memory state = _states[digest];
        return (state.lock, state.recordedAt, state.revokedAt);
    }

    /// @inheritdoc IConsents
    function digestOf(Consent calldata consent) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    _CONSENT_TYPEHASH,
                    consent.patientKey,
                    consent.grantee,
                    consent.scope,
                    consent.purpose,
                    consent.notBefore,
                    consent.expiresAt,
                    keccak256(bytes(consent.statement)),
                    consent.salt
                )
            )
        );
    }

    /// @inheritdoc IConsents
    function isAuthorised(
        Consent calldata consent,
        Identity calldata identity,
        bytes calldata signature,
        Access calldata access
    ) external view returns (bool) {
        return refusalOf(consent, identity, signature, access) == Refusal.None;
    }

    /// @inheritdoc IConsents
    function refusalOf(
        Consent calldata consent,
        Identity calldata identity,
        bytes calldata signature,
        Access calldata access
    ) public view returns (Refusal) {
        bytes32 digest = digestOf(consent);
        State memory state = _states[digest];
        if (state.recordedAt == 0) return Refusal.NotRecorded;
        if (state.revokedAt != 0) return Refusal.Revoked;
        if (!_isIdentityOf(consent.patientKey, identity)) return Refusal.BadIdentity;
        if (!identity.identity.isValid(digest, signature)) return Refusal.BadSignature;
        if (block.timestamp < consent.notBefore) return Refusal.NotYetValid;
        if (block.timestamp >= consent.expiresAt) return Refusal.Expired;
        return _refusalOfAccess(consent, access);
    }

    /// @inheritdoc IConsents
    function registry() public view override(IConsents, Membership) returns (IRegistry) {
        return Membership.registry();
    }

    function _refusalOfAccess(Consent calldata consent, Access calldata access) private view returns (Refusal) {
        if (access.reader != consent.grantee) {
            // Role and status are asked for below.
            // slither-disable-next-line unused-return
            (address employer,,) = registry().practitionerOf(access.reader);
            if (employer == address(0) || employer != consent.grantee) return Refusal.WrongGrantee;
        }
        if (!registry().isActiveMember(access.reader)) return Refusal.InactiveMember;
        if (!_isCovered(consent.scope, access)) return Refusal.WrongScope;
        if (consent.purpose == bytes32(0) || access.purpose != consent.purpose) return Refusal.WrongPurpose;
        return Refusal.None;
    }

    function _isIdentityOf(bytes32 patientKey, Identity calldata identity) private view returns (bool) {
        (address hospital, bytes32 commitment) = registry().patientOf(patientKey);
        return hospital != address(0) && commitment == keccak256(abi.encode(identity.identity, identity.salt));
    }

    function _isCovered(bytes32 scope, Access calldata access) private pure returns (bool) {
        // An empty scope matches nothing, not even an access that leaves its category out.
        if (scope == bytes32(0)) return false;
        return scope == SCOPE_ALL || scope == access.category || scope == access.recordKey;
    }

    function _record(bytes32 digest, bytes20 revocationLock) private {
        require(digest != bytes32(0) && revocationLock != bytes20(0), ConsentsEmpty());
        // Zero is "never", not a time.
        // slither-disable-next-line incorrect-equality
        require(_states[digest].recordedAt == 0, ConsentsAlreadyRecorded(digest));

        _states[digest] = State({lock: revocationLock, recordedAt: uint48(block.timestamp), revokedAt: 0});
        emit ConsentRecorded(digest);
    }

    function _revoke(bytes32 digest, bytes32 secret) private {
        State storage state = _states[digest];
        require(state.recordedAt != 0, ConsentsNotRecorded(digest));
        require(state.revokedAt == 0, ConsentsAlreadyRevoked(digest));
        require(bytes20(keccak256(abi.encode(secret))) == state.lock, ConsentsWrongSecret(digest));

        state.revokedAt = uint48(block.timestamp);
        emit ConsentRevoked(digest);
    }

    function _requirePairs(uint256 digests, uint256 others) private pure {
        require(digests == others, ConsentsLengthMismatch(digests, others));
        require(digests != 0, ConsentsEmpty());
    }
}
