// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {AccessLog} from "../../src/AccessLog.sol";
import {AnchorLog} from "../../src/AnchorLog.sol";
import {Consents} from "../../src/Consents.sol";
import {Council} from "../../src/Council.sol";
import {RecordStore} from "../../src/RecordStore.sol";
import {Registry} from "../../src/Registry.sol";
import {IConsents} from "../../src/interfaces/IConsents.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {Governance} from "./Governance.sol";
import {Vm} from "./Vm.sol";

/// @dev The cast of the scenarios on a fresh set of contracts.
abstract contract Fixture {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    // forge takes contracts with this for tests.
    bool public constant IS_TEST = true;

    uint256 internal constant START_TIME = 1_800_000_000;
    uint256 internal constant START_BLOCK = 1000;
    bytes32 internal constant EVIDENCE = keccak256("salted evidence");
    bytes32 internal constant PATIENT = keccak256("Pat at A");
    bytes32 internal constant PREIMAGE_2 = keccak256("Pat's second link");
    bytes32 internal constant IDENTITY_SALT = keccak256("Pat's salt");

    AccessManager internal manager;
    Council internal council;
    Registry internal registry;
    AnchorLog internal anchorLog;
    AccessLog internal accessLog;
    Consents internal consents;
    RecordStore internal store;

    address internal regulator;
    address internal officer; // three officers, two of whom decide
    address internal secondOfficer;
    address internal thirdOfficer;
    address internal hospital; // A
    address internal otherHospital; // B
    address internal suspendedHospital;
    address internal expelledHospital;
    address internal applicant; // C
    address internal insurer;
    address internal doctor; // Alice of A
    address internal nurse; // of A
    address internal removedDoctor; // Adam of A
    address internal otherDoctor; // Dora of B
    address internal suspendedDoctor;
    address internal expelledDoctor;
    address internal insurersDoctor;
    address internal patient; // Pat's identity
    address internal stranger;

    function setUp() public virtual {
        vm.warp(START_TIME);
        vm.roll(START_BLOCK);
        regulator = _account("regulator");
        officer = _account("officer");
        secondOfficer = _account("secondOfficer");
        thirdOfficer = _account("thirdOfficer");
        hospital = _account("hospital");
        otherHospital = _account("otherHospital");
        suspendedHospital = _account("suspendedHospital");
        expelledHospital = _account("expelledHospital");
        applicant = _account("applicant");
        insurer = _account("insurer");
        doctor = _account("doctor");
        nurse = _account("nurse");
        removedDoctor = _account("removedDoctor");
        otherDoctor = _account("otherDoctor");
        suspendedDoctor = _account("suspendedDoctor");
        expelledDoctor = _account("expelledDoctor");
        insurersDoctor = _account("insurersDoctor");
        patient = _account("patient");
        stranger = _account("stranger");

        manager = new AccessManager(address(this));
        council = new Council(manager, _threeOfficers(), 2);
        registry = new Registry(address(manager));
        anchorLog = new AnchorLog(registry);
        accessLog = new AccessLog(registry);
        consents = new Consents(registry);
        store = new RecordStore(registry);
        Governance.handOver(manager, council, registry, regulator);

        vm.startPrank(regulator);
        registry.admitOrganisation(hospital, IRegistry.Kind.Hospital, EVIDENCE);
        registry.admitOrganisation(otherHospital, IRegistry.Kind.Hospital, EVIDENCE);
        registry.admitOrganisation(suspendedHospital, IRegistry.Kind.Hospital, EVIDENCE);
        registry.admitOrganisation(expelledHospital, IRegistry.Kind.Hospital, EVIDENCE);
        registry.admitOrganisation(insurer, IRegistry.Kind.Insurer, EVIDENCE);
        vm.stopPrank();

        _register(hospital, doctor, IRegistry.Role.Doctor);
        _register(hospital, nurse, IRegistry.Role.Nurse);
        _register(hospital, removedDoctor, IRegistry.Role.Doctor);
        _register(otherHospital, otherDoctor, IRegistry.Role.Doctor);
        _register(suspendedHospital, suspendedDoctor, IRegistry.Role.Doctor);
        _register(expelledHospital, expelledDoctor, IRegistry.Role.Doctor);
        _register(insurer, insurersDoctor, IRegistry.Role.Doctor);

        vm.prank(doctor);
        registry.registerPatient(PATIENT, _commitment(patient), _lock(_preimage()));

        vm.prank(hospital);
        registry.removePractitioner(removedDoctor);
        vm.startPrank(regulator);
        registry.suspendOrganisation(suspendedHospital);
        registry.expelOrganisation(expelledHospital);
        vm.stopPrank();
    }

    /// @dev Every value of the range, whatever the fuzzer gives.
    function _bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    // --------------------------------------------------------------- accounts

    function _key(string memory name) internal pure returns (uint256) {
        return uint256(keccak256(bytes(name)));
    }

    function _account(string memory name) internal returns (address account) {
        account = vm.addr(_key(name));
        vm.label(account, name);
    }

    function _sign(string memory name, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(_key(name), digest);
        return abi.encodePacked(r, s, v);
    }

    // ---------------------------------------------------------------- council

    function _threeOfficers() internal view returns (address[] memory three) {
        three = new address[](3);
        (three[0], three[1], three[2]) = (officer, secondOfficer, thirdOfficer);
    }

    function _propose(address target, bytes memory data) internal returns (bytes32) {
        vm.prank(officer);
        return council.propose(target, data, keccak256("salted reason"));
    }

    /// @dev Two officers agree; the waiting time begins.
    function _agree(address target, bytes memory data) internal returns (bytes32 id) {
        id = _propose(target, data);
        vm.prank(secondOfficer);
        council.approve(id);
    }

    /// @dev Agreed, waited, and ready for `execute`.
    function _ripe(address target, bytes memory data) internal returns (bytes32 id) {
        id = _agree(target, data);
        vm.warp(block.timestamp + Governance.DELAY);
    }

    // --------------------------------------------------------------- registry

    function _register(address organisation, address practitioner, IRegistry.Role role) internal {
        vm.prank(organisation);
        registry.registerPractitioner(practitioner, role);
    }

    function _commitment(address identity) internal pure returns (bytes32) {
        return keccak256(abi.encode(identity, IDENTITY_SALT));
    }

    /// @dev Two links of a chain: the lock is made from this one, this one from `PREIMAGE_2`.
    function _preimage() internal pure returns (bytes32) {
        return _lock(PREIMAGE_2);
    }

    function _lock(bytes32 preimage) internal pure returns (bytes32) {
        return keccak256(abi.encode(preimage));
    }

    function _domain(string memory name, address target) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                target
            )
        );
    }

    function _registrationDigest(address practitioner, bytes32 patientKey, bytes32 commitment, bytes32 lock, uint256 deadline)
        internal
        view
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "PatientRegistration(address practitioner,bytes32 patientKey,bytes32 identityCommitment,bytes32 rotationLock,uint256 deadline)"
        );
        bytes32 structHash =
            keccak256(abi.encode(typeHash, practitioner, patientKey, commitment, lock, deadline));
        return keccak256(abi.encodePacked(hex"1901", _domain("Portal registry", address(registry)), structHash));
    }

    // --------------------------------------------------------------- consents

    function _consent() internal view returns (IConsents.Consent memory) {
        return IConsents.Consent({
            patientKey: PATIENT,
            grantee: otherDoctor,
            scope: "laboratory",
            purpose: "TREAT",
            notBefore: uint64(block.timestamp),
            expiresAt: uint64(block.timestamp + 7 days),
            statement: "Dr Dora may read my laboratory results for 7 days",
            salt: keccak256("consent salt")
        });
    }

    function _identity() internal view returns (IConsents.Identity memory) {
        return IConsents.Identity({identity: patient, salt: IDENTITY_SALT});
    }

    function _access() internal view returns (IConsents.Access memory) {
        return IConsents.Access({
            reader: otherDoctor,
            recordKey: keccak256("a laboratory report"),
            category: "laboratory",
            purpose: "TREAT"
        });
    }

    function _secret() internal pure returns (bytes32) {
        return keccak256("revocation secret");
    }

    function _revocationLock(bytes32 secret) internal pure returns (bytes20) {
        return bytes20(keccak256(abi.encode(secret)));
    }
}
