// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @title Who takes part: organisations, their practitioners, and patients as opaque keys
/// @notice Nothing of a patient is on chain but a random key per hospital and a salted commitment to an identity.
interface IRegistry {
    /// @notice What an organisation is. `None` stands for an address that was never admitted.
    enum Kind {
        None,
        Hospital,
        ResearchInstitute,
        Insurer,
        Manufacturer,
        Regulator
    }

    /// @notice Standing of a member. A removed practitioner reads `Expelled`; both are for ever.
    enum Status {
        None,
        Active,
        Suspended,
        Expelled
    }

    /// @notice What a practitioner may do. Only a doctor registers patients.
    enum Role {
        None,
        Doctor,
        Nurse
    }

    /// @notice The regulator admitted an organisation.
    event OrganisationAdmitted(address indexed organisation, Kind kind, bytes32 evidence, address by);
    /// @notice The regulator suspended an organisation; it and its practitioners fail every check from this block on.
    event OrganisationSuspended(address indexed organisation, address by);
    /// @notice The regulator lifted a suspension; everything is as before it.
    event OrganisationReinstated(address indexed organisation, address by);
    /// @notice The regulator expelled an organisation, for ever.
    event OrganisationExpelled(address indexed organisation, address by);
    /// @notice An organisation registered a practitioner.
    event PractitionerRegistered(address indexed organisation, address indexed practitioner, Role role);
    /// @notice An organisation removed a practitioner, for ever under that address.
    event PractitionerRemoved(address indexed organisation, address indexed practitioner);
    /// @notice A doctor registered a patient; the care link to the doctor's hospital is open.
    event PatientRegistered(
        bytes32 indexed patientKey, address indexed organisation, address indexed practitioner
    );
    /// @notice A rotation was sealed, to be revealed by `rotateIdentity` some blocks later.
    event RotationAnnounced(bytes32 indexed seal);
    /// @notice A patient's identity changed by the preimage of its lock.
    event IdentityRotated(bytes32 indexed patientKey);
    /// @notice The patient's hospital proposed a recovery without the preimage.
    event RecoveryProposed(bytes32 indexed patientKey, address indexed organisation);
    /// @notice The regulator confirmed a recovery, which can be executed from `executableAt` on.
    event RecoveryConfirmed(bytes32 indexed patientKey, uint48 executableAt, address by);
    /// @notice The regulator rejected a recovery.
    event RecoveryRejected(bytes32 indexed patientKey, address by);
    /// @notice The holder of the preimage cancelled a recovery.
    event RecoveryCancelled(bytes32 indexed patientKey);
    /// @notice A confirmed recovery took effect after its waiting time.
    event RecoveryExecuted(bytes32 indexed patientKey);
    /// @notice The regulator announced a contract version; the code at the address had this hash.
    event ReleaseAnnounced(bytes32 indexed name, uint32 version, address deployed, bytes32 codeHash);

    /// @notice An address, key or commitment was zero.
    error RegistryZeroValue();
    /// @notice The organisation kind or practitioner role was `None`.
    error RegistryNoKind();
    /// @notice An admission came without the digest of its evidence.
    error RegistryMissingEvidence();
    /// @notice The address is or was a member already; an address is used once.
    error RegistryAlreadyMember(address member);
    /// @notice The organisation is not in a state from which this step leads on.
    error RegistryWrongStatus(address organisation, Status status);
    /// @notice The sender is not an active organisation.
    error RegistryNotActiveOrganisation(address sender);
    /// @notice The practitioner is not an active one of this organisation.
    error RegistryNotPractitionerOf(address practitioner, address organisation);
    /// @notice The sender or signer is not an active doctor of an active hospital.
    error RegistryNotActiveDoctor(address practitioner);
    /// @notice The patient key is taken.
    error RegistryPatientExists(bytes32 patientKey);
    /// @notice No patient has this key.
    error RegistryUnknownPatient(bytes32 patientKey);
    /// @notice The signed registration is too old.
    error RegistryDeadlinePassed(uint256 deadline);
    /// @notice The signature is not the practitioner's over exactly these values.
    error RegistryBadSignature(address practitioner);
    /// @notice The value does not open the rotation lock.
    error RegistryWrongPreimage(bytes32 patientKey);
    /// @notice The rotation was not announced, or less than `ROTATION_BLOCKS` blocks ago.
    error RegistryRotationNotReady(bytes32 seal);
    /// @notice The seal was announced before.
    error RegistryAlreadyAnnounced(bytes32 seal);
    /// @notice The sender is not the active hospital that registered the patient.
    error RegistryNotPatientsHospital(bytes32 patientKey, address sender);
    /// @notice A recovery is under way for this patient.
    error RegistryRecoveryPending(bytes32 patientKey);
    /// @notice No recovery is under way for this patient.
    error RegistryNoRecovery(bytes32 patientKey);
    /// @notice The recovery was confirmed before.
    error RegistryRecoveryConfirmed(bytes32 patientKey);
    /// @notice The recovery is not confirmed, or its waiting time is not over.
    error RegistryRecoveryNotReady(bytes32 patientKey, uint48 executableAt);
    /// @notice The version is not above the last announced one.
    error RegistryOldVersion(bytes32 name, uint32 last);
    /// @notice The code at the address is missing or has another hash.
    error RegistryCodeMismatch(address deployed, bytes32 actual);

    /// @notice Admits an organisation under an address never used before.
    /// @dev Regulator only, by the AccessManager. No mapping from address to name is kept on chain.
    /// @param organisation The organisation's account.
    /// @param kind What it is.
    /// @param evidence Salted digest of the evidence that the decision rests on.
    function admitOrganisation(address organisation, Kind kind, bytes32 evidence) external;

    /// @notice Suspends an active organisation.
    function suspendOrganisation(address organisation) external;

    /// @notice Lifts a suspension.
    function reinstateOrganisation(address organisation) external;

    /// @notice Expels an active or suspended organisation, for ever.
    function expelOrganisation(address organisation) external;

    /// @notice Publishes a contract version (its code must already be at the address).
    /// @param name Contract name in ASCII, left aligned.
    /// @param version Above the last announced version of this name.
    /// @param deployed Where the contract is.
    /// @param codeHash keccak256 of its runtime code.
    function announceRelease(bytes32 name, uint32 version, address deployed, bytes32 codeHash) external;

    /// @notice Registers a practitioner of the sending organisation, under an address never used before.
    function registerPractitioner(address practitioner, Role role) external;

    /// @notice Removes an own practitioner. The address never returns: old grants cannot come back with a re-hire.
    function removePractitioner(address practitioner) external;

    /// @notice Registers a patient; the sender is an active doctor of an active hospital.
    /// @param patientKey Random per patient and hospital, so that two hospitals' registrations do not link.
    /// @param identityCommitment keccak256(abi.encode(address identity, bytes32 identitySalt)).
    /// @param rotationLock keccak256(abi.encode(bytes32 preimage)); best the end of a hash chain, see `cancelRecovery`.
    function registerPatient(bytes32 patientKey, bytes32 identityCommitment, bytes32 rotationLock) external;

    /// @notice The same, relayed by the doctor's hospital with the doctor's EIP-712 signature over
    /// `PatientRegistration(address practitioner,bytes32 patientKey,bytes32 identityCommitment,bytes32 rotationLock,uint256 deadline)`.
    /// @dev A key is registered once, so a signature cannot be replayed and needs no counter.
    function registerPatientFor(
        address practitioner,
        bytes32 patientKey,
        bytes32 identityCommitment,
        bytes32 rotationLock,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Seals a rotation that somebody other than the patient's hospital will send.
    /// @param seal keccak256(abi.encode(patientKey, preimage, newCommitment, newLock)).
    function announceRotation(bytes32 seal) external;

    /// @notice Changes a patient's identity with the preimage of the rotation lock, so that no address is shown.
    /// @dev The patient's active hospital may send this at once (not during a recovery). Anybody else must have sealed
    /// it `ROTATION_BLOCKS` blocks before: a preimage seen in the pool is then useless with other values.
    /// Ends a recovery that is under way.
    function rotateIdentity(bytes32 patientKey, bytes32 preimage, bytes32 newCommitment, bytes32 newLock) external;

    /// @notice Proposes a new identity for a patient whose preimage is lost; by the hospital that registered them.
    function proposeRecovery(bytes32 patientKey, bytes32 newCommitment, bytes32 newLock) external;

    /// @notice Confirms a proposed recovery and starts its waiting time. Regulator only.
    function confirmRecovery(bytes32 patientKey) external;

    /// @notice Rejects a recovery, confirmed or not. Regulator only.
    function rejectRecovery(bytes32 patientKey) external;

    /// @notice Stops a recovery with the preimage of the rotation lock; anyone may send it.
    /// @dev The preimage is public afterwards, so it becomes the new lock: the next preimage is one link further
    /// down the patient's hash chain.
    function cancelRecovery(bytes32 patientKey, bytes32 preimage) external;

    /// @notice Puts a confirmed recovery into effect after `RECOVERY_DELAY`; anyone may send it.
    function executeRecovery(bytes32 patientKey) external;

    /// @notice Kind and status of an organisation; both `None` for any other address.
    function organisationStatus(address organisation) external view returns (Kind kind, Status status);

    /// @notice Organisation, role and own status of a practitioner, whatever the organisation's status.
    function practitionerOf(address practitioner)
        external
        view
        returns (address organisation, Role role, Status status);

    /// @notice True for an active organisation and for an active practitioner of an active organisation.
    function isActiveMember(address member) external view returns (bool);

    /// @notice The organisation a member acts for when it is active (an organisation acts for itself), else zero.
    function activeOrganisationOf(address member) external view returns (address organisation, Kind kind);

    /// @notice Hospital that registered a patient and the commitment to the patient's identity; zero if unknown.
    function patientOf(bytes32 patientKey) external view returns (address organisation, bytes32 identityCommitment);

    /// @notice The lock whose preimage rotates the identity or cancels a recovery.
    function rotationLockOf(bytes32 patientKey) external view returns (bytes32);

    /// @notice The recovery under way: zero when there is none, `executableAt` zero before the confirmation.
    function recoveryOf(bytes32 patientKey)
        external
        view
        returns (bytes32 newCommitment, bytes32 newLock, uint48 proposedAt, uint48 executableAt);

    /// @notice True if the practitioner is active, in the hospital that registered the patient, and that is active.
    function hasCareLink(bytes32 patientKey, address practitioner) external view returns (bool);

    /// @notice The last announced version of a contract; zero if none.
    function releaseOf(bytes32 name) external view returns (uint32 version, address deployed, bytes32 codeHash);

    /// @notice One announced version of a contract; zero if none.
    function releaseAt(bytes32 name, uint32 version) external view returns (address deployed, bytes32 codeHash);

    /// @notice Blocks between `announceRotation` and `rotateIdentity` by others than the patient's hospital.
    function ROTATION_BLOCKS() external view returns (uint256);

    /// @notice Seconds between a confirmation and `executeRecovery`.
    function RECOVERY_DELAY() external view returns (uint48);
}
