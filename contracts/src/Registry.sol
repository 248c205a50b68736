// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Signatures} from "./Signatures.sol";

/// @notice The interface says what every function does and refuses.
contract Registry is IRegistry, AccessManaged, EIP712 {
    using Signatures for address;

    /// @dev One slot for every address: an organisation has `kind`, a practitioner has `organisation` and `role`.
    struct Member {
        address organisation;
        Kind kind;
        Role role;
        Status status;
    }

    struct PatientEntry {
        address organisation;
        bytes32 identityCommitment;
        bytes32 rotationLock;
    }

    struct Recovery {
        bytes32 newCommitment;
        bytes32 newLock;
        uint48 proposedAt;
        uint48 executableAt;
    }

    struct Release {
        address deployed;
        bytes32 codeHash;
    }

    /// @inheritdoc IRegistry
    uint256 public constant ROTATION_BLOCKS = 5;
    /// @inheritdoc IRegistry
    uint48 public constant RECOVERY_DELAY = 7 days;

    bytes32 private constant _REGISTRATION_TYPEHASH = keccak256(
        "PatientRegistration(address practitioner,bytes32 patientKey,bytes32 identityCommitment,bytes32 rotationLock,uint256 deadline)"
    );

    mapping(address member => Member) private _members;
    mapping(bytes32 patientKey => PatientEntry) private _patients;
    mapping(bytes32 patientKey => Recovery) private _recoveries;
    mapping(bytes32 seal => uint256 blockNumber) private _rotationSeals;
    mapping(bytes32 name => uint32 version) private _lastVersions;
    mapping(bytes32 name => mapping(uint32 version => Release)) private _releases;

    constructor(address authority) AccessManaged(authority) EIP712("Portal registry", "1") {}

    modifier onlyActiveOrganisation() {
        Member storage sender = _members[msg.sender];
        require(
            sender.kind != Kind.None && sender.status == Status.Active, RegistryNotActiveOrganisation(msg.sender)
        );
        _;
    }

    // ---------------------------------------------------------------- regulator

    /// @inheritdoc IRegistry
    function admitOrganisation(address organisation, Kind kind, bytes32 evidence) external restricted {
        require(organisation != address(0), RegistryZeroValue());
        require(kind != Kind.None, RegistryNoKind());
        require(evidence != bytes32(0), RegistryMissingEvidence());
        require(_members[organisation].status == Status.None, RegistryAlreadyMember(organisation));

        _members[organisation] =
            Member({organisation: address(0), kind: kind, role: Role.None, status: Status.Active});
        emit OrganisationAdmitted(organisation, kind, evidence, msg.sender);
    }

    /// @inheritdoc IRegistry
    function suspendOrganisation(address organisation) external restricted {
        Status status = _organisationStatus(organisation);
        require(status == Status.Active, RegistryWrongStatus(organisation, status));

        _members[organisation].status = Status.Suspended;
        emit OrganisationSuspended(organisation, msg.sender);
    }

    /// @inheritdoc IRegistry
    function reinstateOrganisation(address organisation) external restricted {
        Status status = _organisationStatus(organisation);
        require(status == Status.Suspended, RegistryWrongStatus(organisation, status));

        _members[organisation].status = Status.Active;
        emit OrganisationReinstated(organisation, msg.sender);
    }

    /// @inheritdoc IRegistry
    function expelOrganisation(address organisation) external restricted {
        Status status = _organisationStatus(organisation);
        require(
            status == Status.Active || status == Status.Suspended, RegistryWrongStatus(organisation, status)
        );

        _members[organisation].status = Status.Expelled;
        emit OrganisationExpelled(organisation, msg.sender);
    }

    /// @inheritdoc IRegistry
    function announceRelease(bytes32 name, uint32 version, address deployed, bytes32 codeHash)
        external
        restricted
    {
        require(name != bytes32(0), RegistryZeroValue());
        require(version > _lastVersions[name], RegistryOldVersion(name, _lastVersions[name]));
        bytes32 actual = deployed.codehash;
        require(deployed.code.length != 0 && actual == codeHash, RegistryCodeMismatch(deployed, actual));

        _lastVersions[name] = version;
        _releases[name][version] = Release({deployed: deployed, codeHash: codeHash});
        emit ReleaseAnnounced(name, version, deployed, codeHash);
    }

    // ------------------------------------------------------------- organisation

    /// @inheritdoc IRegistry
    function registerPractitioner(address practitioner, Role role) external onlyActiveOrganisation {
        require(practitioner != address(0), RegistryZeroValue());
        require(role != Role.None, RegistryNoKind());
        require(_members[practitioner].status == Status.None, RegistryAlreadyMember(practitioner));

        _members[practitioner] =
            Member({organisation: msg.sender, kind: Kind.None, role: role, status: Status.Active});
        emit PractitionerRegistered(msg.sender, practitioner, role);
    }

    /// @inheritdoc IRegistry
    function removePractitioner(address practitioner) external onlyActiveOrganisation {
        Member storage member = _members[practitioner];
        require(
            member.organisation == msg.sender && member.status == Status.Active,
            RegistryNotPractitionerOf(practitioner, msg.sender)
        );

        member.status = Status.Expelled;
        emit PractitionerRemoved(msg.sender, practitioner);
    }

    // ------------------------------------------------------------------ patient

    /// @inheritdoc IRegistry
    function registerPatient(bytes32 patientKey, bytes32 identityCommitment, bytes32 rotationLock) external {
        _registerPatient(msg.sender, patientKey, identityCommitment, rotationLock);
    }

    /// @inheritdoc IRegistry
    function registerPatientFor(
        address practitioner,
        bytes32 patientKey,
        bytes32 identityCommitment,
        bytes32 rotationLock,
        uint256 deadline,
        bytes calldata signature
    ) external onlyActiveOrganisation {
        require(
            _members[practitioner].organisation == msg.sender, RegistryNotPractitionerOf(practitioner, msg.sender)
        );
        require(block.timestamp <= deadline, RegistryDeadlinePassed(deadline));
        bytes32 digest = _hashTypedDataV4(
            keccak256(
                abi.encode(
                    _REGISTRATION_TYPEHASH, practitioner, patientKey, identityCommitment, rotationLock, deadline
                )
            )
        );
        require(practitioner.isValid(digest, signature), RegistryBadSignature(practitioner));

        _registerPatient(practitioner, patientKey, identityCommitment, rotationLock);
    }

    /// @inheritdoc IRegistry
    function announceRotation(bytes32 seal) external {
        require(seal != bytes32(0), RegistryZeroValue());
        // The first announcement counts: nobody can push a patient's waiting time back by repeating it.
        // Zero is "never", not a block.
        // slither-disable-next-line incorrect-equality
        require(_rotationSeals[seal] == 0, RegistryAlreadyAnnounced(seal));

        _rotationSeals[seal] = block.number;
        emit RotationAnnounced(seal);
    }

    /// @inheritdoc IRegistry
    function rotateIdentity(bytes32 patientKey, bytes32 preimage, bytes32 newCommitment, bytes32 newLock)
        external
    {
        PatientEntry storage patient = _patients[patientKey];
        _requireOpens(patient, patientKey, preimage);
        require(newCommitment != bytes32(0) && newLock != bytes32(0), RegistryZeroValue());

        bool isPending = _recoveries[patientKey].proposedAt != 0;
        // During a recovery the hospital is a party to the dispute and goes the long way like everybody else.
        if (isPending || patient.organisation != msg.sender || _organisationStatus(msg.sender) != Status.Active) {
            bytes32 seal = keccak256(abi.encode(patientKey, preimage, newCommitment, newLock));
            uint256 announcedAt = _rotationSeals[seal];
            require(
                announcedAt != 0 && block.number >= announcedAt + ROTATION_BLOCKS, RegistryRotationNotReady(seal)
            );
        }

        patient.identityCommitment = newCommitment;
        patient.rotationLock = newLock;
        emit IdentityRotated(patientKey);
        if (isPending) {
            delete _recoveries[patientKey];
            emit RecoveryCancelled(patientKey);
        }
    }

    // ----------------------------------------------------------------- recovery

    /// @inheritdoc IRegistry
    function proposeRecovery(bytes32 patientKey, bytes32 newCommitment, bytes32 newLock) external {
        _requirePatientsHospital(patientKey, msg.sender);
        require(newCommitment != bytes32(0) && newLock != bytes32(0), RegistryZeroValue());
        // Not replaceable, so that what the regulator read is what the regulator confirms.
        require(_recoveries[patientKey].proposedAt == 0, RegistryRecoveryPending(patientKey));

        _recoveries[patientKey] = Recovery({
            newCommitment: newCommitment,
            newLock: newLock,
            proposedAt: uint48(block.timestamp),
            executableAt: 0
        });
        emit RecoveryProposed(patientKey, msg.sender);
    }

    /// @inheritdoc IRegistry
    function confirmRecovery(bytes32 patientKey) external restricted {
        Recovery storage recovery = _recoveries[patientKey];
        require(recovery.proposedAt != 0, RegistryNoRecovery(patientKey));
        require(recovery.executableAt == 0, RegistryRecoveryConfirmed(patientKey));

        uint48 executableAt = uint48(block.timestamp) + RECOVERY_DELAY;
        recovery.executableAt = executableAt;
        emit RecoveryConfirmed(patientKey, executableAt, msg.sender);
    }

    /// @inheritdoc IRegistry
    function rejectRecovery(bytes32 patientKey) external restricted {
        require(_recoveries[patientKey].proposedAt != 0, RegistryNoRecovery(patientKey));

        delete _recoveries[patientKey];
        emit RecoveryRejected(patientKey, msg.sender);
    }

    /// @inheritdoc IRegistry
    function cancelRecovery(bytes32 patientKey, bytes32 preimage) external {
        PatientEntry storage patient = _patients[patientKey];
        _requireOpens(patient, patientKey, preimage);
        require(_recoveries[patientKey].proposedAt != 0, RegistryNoRecovery(patientKey));

        delete _recoveries[patientKey];
        patient.rotationLock = preimage;
        emit RecoveryCancelled(patientKey);
    }

    /// @inheritdoc IRegistry
    function executeRecovery(bytes32 patientKey) external {
        Recovery memory recovery = _recoveries[patientKey];
        require(recovery.proposedAt != 0, RegistryNoRecovery(patientKey));
        require(
            recovery.executableAt != 0 && block.timestamp >= recovery.executableAt,
            RegistryRecoveryNotReady(patientKey, recovery.executableAt)
        );
        // A hospital suspended in the waiting time gets nothing through; lifting the suspension lets it go on.
        PatientEntry storage patient = _patients[patientKey];
        _requirePatientsHospital(patientKey, patient.organisation);

        delete _recoveries[patientKey];
        patient.identityCommitment = recovery.newCommitment;
        patient.rotationLock = recovery.newLock;
        emit RecoveryExecuted(patientKey);
    }

    // -------------------------------------------------------------------- views

    /// @inheritdoc IRegistry
    function organisationStatus(address organisation) external view returns (Kind kind, Status status) {
        kind = _members[organisation].kind;
        status = _organisationStatus(organisation);
    }

    /// @inheritdoc IRegistry
    function practitionerOf(address practitioner)
        external
        view
        returns (address organisation, Role role, Status status)
    {
        Member storage member = _members[practitioner];
        if (member.role != Role.None) return (member.organisation, member.role, member.status);
    }

    /// @inheritdoc IRegistry
    function isActiveMember(address member) external view returns (bool) {
        (address organisation,) = activeOrganisationOf(member);
        return organisation != address(0);
    }

    /// @inheritdoc IRegistry
    function activeOrganisationOf(address member) public view returns (address organisation, Kind kind) {
        Member memory entry = _members[member];
        if (entry.status != Status.Active) return (address(0), Kind.None);
        if (entry.kind != Kind.None) return (member, entry.kind);
        Member memory employer = _members[entry.organisation];
        if (employer.status != Status.Active) return (address(0), Kind.None);
        return (entry.organisation, employer.kind);
    }

    /// @inheritdoc IRegistry
    function patientOf(bytes32 patientKey)
        external
        view
        returns (address organisation, bytes32 identityCommitment)
    {
        PatientEntry storage patient = _patients[patientKey];
        return (patient.organisation, patient.identityCommitment);
    }

    /// @inheritdoc IRegistry
    function rotationLockOf(bytes32 patientKey) external view returns (bytes32) {
        return _patients[patientKey].rotationLock;
    }

    /// @inheritdoc IRegistry
    function recoveryOf(bytes32 patientKey)
        external
        view
        returns (bytes32 newCommitment, bytes32 newLock, uint48 proposedAt, uint48 executableAt)
    {
        Recovery storage recovery = _recoveries[patientKey];
        return (recovery.newCommitment, recovery.newLock, recovery.proposedAt, recovery.executableAt);
    }

    /// @inheritdoc IRegistry
    function hasCareLink(bytes32 patientKey, address practitioner) external view returns (bool) {
        Member storage member = _members[practitioner];
        address hospital = _patients[patientKey].organisation;
        return hospital != address(0) && member.organisation == hospital && member.status == Status.Active
            && _members[hospital].status == Status.Active;
    }

    /// @inheritdoc IRegistry
    function releaseOf(bytes32 name) external view returns (uint32 version, address deployed, bytes32 codeHash) {
        version = _lastVersions[name];
        Release storage release = _releases[name][version];
        return (version, release.deployed, release.codeHash);
    }

    /// @inheritdoc IRegistry
    function releaseAt(bytes32 name, uint32 version) external view returns (address deployed, bytes32 codeHash) {
        Release storage release = _releases[name][version];
        return (release.deployed, release.codeHash);
    }

    // ---------------------------------------------------------------- internals

    function _registerPatient(
        address practitioner,
        bytes32 patientKey,
        bytes32 identityCommitment,
        bytes32 rotationLock
    ) private {
        Member memory member = _members[practitioner];
        Member memory employer = _members[member.organisation];
        require(
            member.role == Role.Doctor && member.status == Status.Active && employer.kind == Kind.Hospital
                && employer.status == Status.Active,
            RegistryNotActiveDoctor(practitioner)
        );
        require(
            patientKey != bytes32(0) && identityCommitment != bytes32(0) && rotationLock != bytes32(0),
            RegistryZeroValue()
        );
        require(_patients[patientKey].organisation == address(0), RegistryPatientExists(patientKey));

        _patients[patientKey] = PatientEntry({
            organisation: member.organisation,
            identityCommitment: identityCommitment,
            rotationLock: rotationLock
        });
        emit PatientRegistered(patientKey, member.organisation, practitioner);
    }

    function _organisationStatus(address account) private view returns (Status) {
        Member storage member = _members[account];
        return member.kind == Kind.None ? Status.None : member.status;
    }

    function _requireOpens(PatientEntry storage patient, bytes32 patientKey, bytes32 preimage) private view {
        require(patient.organisation != address(0), RegistryUnknownPatient(patientKey));
        require(
            keccak256(abi.encode(preimage)) == patient.rotationLock, RegistryWrongPreimage(patientKey)
        );
    }

    function _requirePatientsHospital(bytes32 patientKey, address account) private view {
        address hospital = _patients[patientKey].organisation;
        require(hospital != address(0), RegistryUnknownPatient(patientKey));
        require(
            account == hospital && _members[hospital].status == Status.Active,
            RegistryNotPatientsHospital(patientKey, account)
        );
    }
}
