// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IRegistry} from "./IRegistry.sol";

/// @title What patients allowed, as digests that only patient and gate can open
/// @notice The contract decides, inside a call that nobody else sees; the public sees neither who nor whom.
interface IConsents {
    /// @notice What the patient signs (EIP-712, domain "Portal consent", version "1").
    struct Consent {
        /// The patient's registration at the hospital whose records this is about.
        bytes32 patientKey;
        /// A practitioner, or an organisation and then every active practitioner of it.
        address grantee;
        /// A category in ASCII, left aligned; a record's key; or "all".
        bytes32 scope;
        /// HL7 ActReason code in ASCII, left aligned.
        bytes32 purpose;
        /// First second in which it holds.
        uint64 notBefore;
        /// First second in which it no longer holds.
        uint64 expiresAt;
        /// The readable sentence that the wallet shows.
        string statement;
        /// Random; without it nobody can guess what a digest stands for.
        bytes32 salt;
    }

    /// @notice Opens the commitment that the patient's registration holds.
    struct Identity {
        address identity;
        bytes32 salt;
    }

    /// @notice The access that is asked about.
    struct Access {
        /// The member who reads.
        address reader;
        bytes32 recordKey;
        bytes32 category;
        bytes32 purpose;
    }

    /// @notice The first rule that an access fails, in the order in which they are checked.
    enum Refusal {
        None,
        NotRecorded,
        Revoked,
        BadIdentity,
        BadSignature,
        NotYetValid,
        Expired,
        WrongGrantee,
        InactiveMember,
        WrongScope,
        WrongPurpose
    }

    /// @notice A consent was recorded.
    event ConsentRecorded(bytes32 indexed digest);
    /// @notice A consent was revoked, for ever.
    event ConsentRevoked(bytes32 indexed digest);

    /// @notice The sender is not an active organisation.
    error ConsentsNotActiveOrganisation(address sender);
    /// @notice The digest or the lock was zero, or the list empty.
    error ConsentsEmpty();
    /// @notice The two lists have different lengths.
    error ConsentsLengthMismatch(uint256 digests, uint256 others);
    /// @notice The digest was recorded before; that happens once for ever.
    error ConsentsAlreadyRecorded(bytes32 digest);
    /// @notice The digest was never recorded.
    error ConsentsNotRecorded(bytes32 digest);
    /// @notice The digest is revoked already.
    error ConsentsAlreadyRevoked(bytes32 digest);
    /// @notice The secret does not open the revocation lock.
    error ConsentsWrongSecret(bytes32 digest);

    /// @notice Records a consent. Active organisations only; the patient signs and pays nothing.
    /// @param digest What `digestOf` gives for the consent.
    /// @param revocationLock bytes20(keccak256(abi.encode(bytes32 secret))).
    function record(bytes32 digest, bytes20 revocationLock) external;

    /// @notice Records several consents, all or none.
    function recordMany(bytes32[] calldata digests, bytes20[] calldata revocationLocks) external;

    /// @notice Revokes a consent from this block on. Whoever knows the secret may, from any address, at any time.
    function revoke(bytes32 digest, bytes32 secret) external;

    /// @notice Revokes several consents, all or none.
    function revokeMany(bytes32[] calldata digests, bytes32[] calldata secrets) external;

    /// @notice State of a digest; all zero if it was never recorded.
    function stateOf(bytes32 digest)
        external
        view
        returns (bytes20 revocationLock, uint48 recordedAt, uint48 revokedAt);

    /// @notice The EIP-712 digest of a consent for this contract on this chain.
    function digestOf(Consent calldata consent) external view returns (bytes32);

    /// @notice Whether the consent covers the access now.
    /// @param consent The opening of the digest.
    /// @param identity The opening of the patient's commitment.
    /// @param signature The identity's signature over the digest: ECDSA, else ERC-1271.
    /// @param access What is asked.
    function isAuthorised(
        Consent calldata consent,
        Identity calldata identity,
        bytes calldata signature,
        Access calldata access
    ) external view returns (bool);

    /// @notice The same with the reason; `None` means authorised.
    function refusalOf(
        Consent calldata consent,
        Identity calldata identity,
        bytes calldata signature,
        Access calldata access
    ) external view returns (Refusal);

    /// @notice The registry that says who is active and who the patient is.
    function registry() external view returns (IRegistry);
}
