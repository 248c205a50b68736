// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Registry} from "../src/Registry.sol";
import {Fixture} from "./support/Fixture.sol";
import {Wallet} from "./support/Wallet.sol";

contract RegistryTest is Fixture {
    bytes32 private constant KEY = keccak256("Quinn at A");
    bytes32 private constant COMMITMENT = keccak256("commitment");
    bytes32 private constant LOCK = keccak256("lock");

    // ------------------------------------------------------------ organisations

    function test_Admit() public {
        vm.expectEmit(address(registry));
        emit IRegistry.OrganisationAdmitted(applicant, IRegistry.Kind.ResearchInstitute, EVIDENCE, regulator);
        vm.prank(regulator);
        registry.admitOrganisation(applicant, IRegistry.Kind.ResearchInstitute, EVIDENCE);

        _assertOrganisation(applicant, IRegistry.Kind.ResearchInstitute, IRegistry.Status.Active);
        vm.assertTrue(registry.isActiveMember(applicant));
    }

    function test_AdmitRefusesIncompleteApplications() public {
        vm.startPrank(regulator);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.admitOrganisation(address(0), IRegistry.Kind.Hospital, EVIDENCE);
        vm.expectRevert(IRegistry.RegistryNoKind.selector);
        registry.admitOrganisation(applicant, IRegistry.Kind.None, EVIDENCE);
        vm.expectRevert(IRegistry.RegistryMissingEvidence.selector);
        registry.admitOrganisation(applicant, IRegistry.Kind.Hospital, bytes32(0));
    }

    function test_AnAddressIsUsedOnce() public {
        address[5] memory used = [hospital, suspendedHospital, expelledHospital, doctor, removedDoctor];
        for (uint256 i = 0; i < used.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryAlreadyMember.selector, used[i]));
            vm.prank(regulator);
            registry.admitOrganisation(used[i], IRegistry.Kind.Hospital, EVIDENCE);
            vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryAlreadyMember.selector, used[i]));
            vm.prank(otherHospital);
            registry.registerPractitioner(used[i], IRegistry.Role.Doctor);
        }
    }

    function test_SuspendBitesAtOnceAndReinstateRestoresAll() public {
        vm.expectEmit(address(registry));
        emit IRegistry.OrganisationSuspended(hospital, regulator);
        vm.prank(regulator);
        registry.suspendOrganisation(hospital);

        _assertOrganisation(hospital, IRegistry.Kind.Hospital, IRegistry.Status.Suspended);
        vm.assertFalse(registry.isActiveMember(hospital));
        vm.assertFalse(registry.isActiveMember(doctor));
        vm.assertFalse(registry.hasCareLink(PATIENT, doctor));
        _assertPractitioner(doctor, hospital, IRegistry.Role.Doctor, IRegistry.Status.Active);

        vm.expectEmit(address(registry));
        emit IRegistry.OrganisationReinstated(hospital, regulator);
        vm.prank(regulator);
        registry.reinstateOrganisation(hospital);

        vm.assertTrue(registry.isActiveMember(hospital));
        vm.assertTrue(registry.isActiveMember(doctor));
        vm.assertTrue(registry.hasCareLink(PATIENT, doctor));
    }

    function test_ExpelFromActiveAndSuspended() public {
        vm.startPrank(regulator);
        vm.expectEmit(address(registry));
        emit IRegistry.OrganisationExpelled(hospital, regulator);
        registry.expelOrganisation(hospital);
        registry.expelOrganisation(suspendedHospital);
        vm.stopPrank();

        _assertOrganisation(hospital, IRegistry.Kind.Hospital, IRegistry.Status.Expelled);
        _assertOrganisation(suspendedHospital, IRegistry.Kind.Hospital, IRegistry.Status.Expelled);
        vm.assertFalse(registry.isActiveMember(doctor));
        vm.assertFalse(registry.hasCareLink(PATIENT, doctor));
    }

    function test_OnlyTheStatedSteps() public {
        vm.startPrank(regulator);
        address[5] memory notActive = [suspendedHospital, expelledHospital, applicant, doctor, address(0)];
        for (uint256 i = 0; i < notActive.length; ++i) {
            vm.expectRevert(_wrongStatus(notActive[i]));
            registry.suspendOrganisation(notActive[i]);
        }
        address[4] memory notSuspended = [hospital, expelledHospital, applicant, doctor];
        for (uint256 i = 0; i < notSuspended.length; ++i) {
            vm.expectRevert(_wrongStatus(notSuspended[i]));
            registry.reinstateOrganisation(notSuspended[i]);
        }
        address[3] memory notMember = [expelledHospital, applicant, doctor];
        for (uint256 i = 0; i < notMember.length; ++i) {
            vm.expectRevert(_wrongStatus(notMember[i]));
            registry.expelOrganisation(notMember[i]);
        }
    }

    // ----------------------------------------------------------------- releases

    function test_AnnounceRelease() public {
        bytes32 codeHash = address(anchorLog).codehash;
        bytes32 third = _release("AnchorLog", 3, address(anchorLog), codeHash);
        vm.expectEmit(address(registry));
        emit IRegistry.ReleaseAnnounced("AnchorLog", 3, address(anchorLog), codeHash);
        council.execute(third);
        council.execute(_release("AnchorLog", 4, address(accessLog), address(accessLog).codehash));

        (uint32 version, address deployed, bytes32 hash) = registry.releaseOf("AnchorLog");
        vm.assertEq(version, 4);
        vm.assertEq(deployed, address(accessLog));
        vm.assertEq(hash, address(accessLog).codehash);
        (deployed, hash) = registry.releaseAt("AnchorLog", 3);
        vm.assertEq(deployed, address(anchorLog));
        vm.assertEq(hash, codeHash);
        (version,,) = registry.releaseOf("Consents");
        vm.assertEq(version, 0);
    }

    function test_AnnounceReleaseRefusals() public {
        bytes32 codeHash = address(anchorLog).codehash;
        council.execute(_release("AnchorLog", 3, address(anchorLog), codeHash));

        bytes32 id = _release(bytes32(0), 1, address(anchorLog), codeHash);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        council.execute(id);
        for (uint32 version = 0; version <= 3; ++version) {
            id = _release("AnchorLog", version, address(anchorLog), codeHash);
            vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryOldVersion.selector, bytes32("AnchorLog"), 3));
            council.execute(id);
        }
        id = _release("AnchorLog", 4, address(anchorLog), keccak256("other code"));
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.RegistryCodeMismatch.selector, address(anchorLog), codeHash)
        );
        council.execute(id);
        // An account that was paid but has no code has the hash of nothing.
        id = _release("AnchorLog", 4, stranger, stranger.codehash);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.RegistryCodeMismatch.selector, stranger, stranger.codehash)
        );
        council.execute(id);
    }

    // ------------------------------------------------------------ practitioners

    function test_RegisterPractitioner() public {
        vm.expectEmit(address(registry));
        emit IRegistry.PractitionerRegistered(hospital, stranger, IRegistry.Role.Nurse);
        _register(hospital, stranger, IRegistry.Role.Nurse);

        _assertPractitioner(stranger, hospital, IRegistry.Role.Nurse, IRegistry.Status.Active);
        vm.assertTrue(registry.isActiveMember(stranger));
        _assertOrganisation(stranger, IRegistry.Kind.None, IRegistry.Status.None);
    }

    function test_RegisterPractitionerRefusals() public {
        vm.startPrank(hospital);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.registerPractitioner(address(0), IRegistry.Role.Doctor);
        vm.expectRevert(IRegistry.RegistryNoKind.selector);
        registry.registerPractitioner(stranger, IRegistry.Role.None);
    }

    function test_RemovedPractitionerNeverReturns() public {
        vm.expectEmit(address(registry));
        emit IRegistry.PractitionerRemoved(hospital, doctor);
        vm.prank(hospital);
        registry.removePractitioner(doctor);

        _assertPractitioner(doctor, hospital, IRegistry.Role.Doctor, IRegistry.Status.Expelled);
        vm.assertFalse(registry.isActiveMember(doctor));
        vm.assertFalse(registry.hasCareLink(PATIENT, doctor));
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryAlreadyMember.selector, doctor));
        vm.prank(hospital);
        registry.registerPractitioner(doctor, IRegistry.Role.Doctor);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.RegistryNotPractitionerOf.selector, doctor, hospital)
        );
        vm.prank(hospital);
        registry.removePractitioner(doctor);
    }

    function test_RemoveOnlyOwnPractitioners() public {
        address[3] memory others = [doctor, hospital, stranger];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IRegistry.RegistryNotPractitionerOf.selector, others[i], otherHospital)
            );
            vm.prank(otherHospital);
            registry.removePractitioner(others[i]);
        }
    }

    // ----------------------------------------------------------------- patients

    function test_RegisterPatient() public {
        vm.expectEmit(address(registry));
        emit IRegistry.PatientRegistered(KEY, hospital, doctor);
        vm.prank(doctor);
        registry.registerPatient(KEY, COMMITMENT, LOCK);
        _assertPatient(KEY, hospital, COMMITMENT, LOCK);
    }

    function test_CareLinkIsTheRegisteringHospitalsOnly() public view {
        vm.assertTrue(registry.hasCareLink(PATIENT, doctor));
        vm.assertTrue(registry.hasCareLink(PATIENT, nurse));
        address[6] memory without = [removedDoctor, otherDoctor, hospital, insurersDoctor, patient, stranger];
        for (uint256 i = 0; i < without.length; ++i) {
            vm.assertFalse(registry.hasCareLink(PATIENT, without[i]));
        }
        vm.assertFalse(registry.hasCareLink(KEY, doctor));
        vm.assertFalse(registry.hasCareLink(KEY, stranger));
        vm.assertFalse(registry.hasCareLink(KEY, hospital));
    }

    function test_RegisterPatientRefusals() public {
        vm.startPrank(doctor);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.registerPatient(bytes32(0), COMMITMENT, LOCK);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.registerPatient(KEY, bytes32(0), LOCK);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.registerPatient(KEY, COMMITMENT, bytes32(0));
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryPatientExists.selector, PATIENT));
        vm.prank(otherDoctor);
        registry.registerPatient(PATIENT, COMMITMENT, LOCK);
    }

    function test_RegisterPatientFor() public {
        uint256 deadline = block.timestamp;
        bytes memory signature = _sign("doctor", _registrationDigest(doctor, KEY, COMMITMENT, LOCK, deadline));
        vm.expectEmit(address(registry));
        emit IRegistry.PatientRegistered(KEY, hospital, doctor);
        vm.prank(hospital);
        registry.registerPatientFor(doctor, KEY, COMMITMENT, LOCK, deadline, signature);
        _assertPatient(KEY, hospital, COMMITMENT, LOCK);

        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryPatientExists.selector, KEY));
        vm.prank(hospital);
        registry.registerPatientFor(doctor, KEY, COMMITMENT, LOCK, deadline, signature);
    }

    function test_RegisterPatientForASmartWallet() public {
        Wallet wallet = new Wallet(doctor);
        _register(hospital, address(wallet), IRegistry.Role.Doctor);
        uint256 deadline = block.timestamp;
        bytes32 digest = _registrationDigest(address(wallet), KEY, COMMITMENT, LOCK, deadline);
        vm.prank(hospital);
        registry.registerPatientFor(address(wallet), KEY, COMMITMENT, LOCK, deadline, _sign("doctor", digest));
        _assertPatient(KEY, hospital, COMMITMENT, LOCK);
    }

    function test_RegisterPatientForNeedsADoctor() public {
        uint256 deadline = block.timestamp;
        string[2] memory names = ["nurse", "removedDoctor"];
        for (uint256 i = 0; i < names.length; ++i) {
            address signer = vm.addr(_key(names[i]));
            bytes memory signature = _sign(names[i], _registrationDigest(signer, KEY, COMMITMENT, LOCK, deadline));
            vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNotActiveDoctor.selector, signer));
            vm.prank(hospital);
            registry.registerPatientFor(signer, KEY, COMMITMENT, LOCK, deadline, signature);
        }
    }

    function test_RegisterPatientForNeedsThisSignature() public {
        uint256 deadline = block.timestamp + 1 hours;
        bytes32 digest = _registrationDigest(doctor, KEY, COMMITMENT, LOCK, deadline);
        bytes memory signature = _sign("doctor", digest);

        _expectBadSignature(KEY, COMMITMENT, LOCK, deadline, _sign("nurse", digest));
        _expectBadSignature(KEY, COMMITMENT, LOCK, deadline, "");
        _expectBadSignature(keccak256("other"), COMMITMENT, LOCK, deadline, signature);
        _expectBadSignature(KEY, keccak256("other"), LOCK, deadline, signature);
        _expectBadSignature(KEY, COMMITMENT, keccak256("other"), deadline, signature);
        _expectBadSignature(KEY, COMMITMENT, LOCK, deadline + 1, signature);

        uint256 id = block.chainid;
        vm.chainId(id + 1);
        _expectBadSignature(KEY, COMMITMENT, LOCK, deadline, signature);
        vm.chainId(id);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryDeadlinePassed.selector, deadline));
        vm.prank(hospital);
        registry.registerPatientFor(doctor, KEY, COMMITMENT, LOCK, deadline, signature);
    }

    function test_RegisterPatientForIsBoundToItsRegistry() public {
        bytes memory signature = _sign("doctor", _registrationDigest(doctor, KEY, COMMITMENT, LOCK, block.timestamp));
        Registry other = new Registry(address(new AccessManager(regulator)));
        vm.prank(regulator);
        other.admitOrganisation(hospital, IRegistry.Kind.Hospital, EVIDENCE);
        vm.startPrank(hospital);
        other.registerPractitioner(doctor, IRegistry.Role.Doctor);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryBadSignature.selector, doctor));
        other.registerPatientFor(doctor, KEY, COMMITMENT, LOCK, block.timestamp, signature);
    }

    // ----------------------------------------------------------------- rotation

    function test_HospitalRotatesAtOnce() public {
        bytes32 preimage = _preimage();
        vm.expectEmit(address(registry));
        emit IRegistry.IdentityRotated(PATIENT);
        vm.prank(hospital);
        registry.rotateIdentity(PATIENT, preimage, COMMITMENT, LOCK);
        _assertPatient(PATIENT, hospital, COMMITMENT, LOCK);

        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryWrongPreimage.selector, PATIENT));
        vm.prank(hospital);
        registry.rotateIdentity(PATIENT, preimage, COMMITMENT, LOCK);
    }

    function test_AnyoneRotatesWhatWasSealed() public {
        bytes32 seal = keccak256(abi.encode(PATIENT, _preimage(), COMMITMENT, LOCK));
        vm.expectEmit(address(registry));
        emit IRegistry.RotationAnnounced(seal);
        vm.prank(stranger);
        registry.announceRotation(seal);

        vm.roll(START_BLOCK + registry.ROTATION_BLOCKS() - 1);
        _expectNotReady(otherDoctor, PATIENT, COMMITMENT, LOCK);
        vm.roll(START_BLOCK + registry.ROTATION_BLOCKS());
        // Who saw the preimage in the pool has sealed nothing with values of their own.
        _expectNotReady(stranger, PATIENT, keccak256("thief"), LOCK);
        _expectNotReady(stranger, PATIENT, COMMITMENT, keccak256("thief"));
        vm.prank(otherDoctor);
        registry.rotateIdentity(PATIENT, _preimage(), COMMITMENT, LOCK);
        _assertPatient(PATIENT, hospital, COMMITMENT, LOCK);
    }

    function test_ASuspendedHospitalGoesTheLongWay() public {
        vm.prank(regulator);
        registry.suspendOrganisation(hospital);
        _expectNotReady(hospital, PATIENT, COMMITMENT, LOCK);
    }

    function test_SealOnce() public {
        registry.announceRotation(LOCK);
        vm.roll(block.number + 3);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryAlreadyAnnounced.selector, LOCK));
        registry.announceRotation(LOCK);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.announceRotation(bytes32(0));
    }

    function test_RotateRefusals() public {
        vm.startPrank(hospital);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryUnknownPatient.selector, KEY));
        registry.rotateIdentity(KEY, _preimage(), COMMITMENT, LOCK);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryWrongPreimage.selector, PATIENT));
        registry.rotateIdentity(PATIENT, LOCK, COMMITMENT, LOCK);
        bytes32 preimage = _preimage();
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.rotateIdentity(PATIENT, preimage, bytes32(0), LOCK);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.rotateIdentity(PATIENT, preimage, COMMITMENT, bytes32(0));
    }

    function test_RotationEndsARecovery() public {
        _proposeRecovery();
        _expectNotReady(hospital, PATIENT, keccak256("new"), keccak256("new lock"));
        vm.prank(stranger);
        registry.announceRotation(keccak256(abi.encode(PATIENT, _preimage(), keccak256("new"), keccak256("new lock"))));
        vm.roll(block.number + registry.ROTATION_BLOCKS());
        vm.expectEmit(address(registry));
        emit IRegistry.IdentityRotated(PATIENT);
        vm.expectEmit(address(registry));
        emit IRegistry.RecoveryCancelled(PATIENT);
        registry.rotateIdentity(PATIENT, _preimage(), keccak256("new"), keccak256("new lock"));
        _assertNoRecovery();
        _assertPatient(PATIENT, hospital, keccak256("new"), keccak256("new lock"));
    }

    // ----------------------------------------------------------------- recovery

    function test_RecoveryTakesHospitalRegulatorAndTime() public {
        vm.expectEmit(address(registry));
        emit IRegistry.RecoveryProposed(PATIENT, hospital);
        _proposeRecovery();
        (bytes32 newCommitment, bytes32 newLock, uint48 proposedAt, uint48 executableAt) =
            registry.recoveryOf(PATIENT);
        vm.assertEq(newCommitment, COMMITMENT);
        vm.assertEq(newLock, LOCK);
        vm.assertEq(proposedAt, START_TIME);
        vm.assertEq(executableAt, 0);

        vm.warp(START_TIME + 30 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryRecoveryNotReady.selector, PATIENT, 0));
        registry.executeRecovery(PATIENT);

        uint48 expected = uint48(START_TIME + 30 days + 7 days);
        vm.expectEmit(address(registry));
        emit IRegistry.RecoveryConfirmed(PATIENT, expected, regulator);
        vm.prank(regulator);
        registry.confirmRecovery(PATIENT);
        (,,, executableAt) = registry.recoveryOf(PATIENT);
        vm.assertEq(executableAt, expected);

        vm.warp(expected - 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryRecoveryNotReady.selector, PATIENT, expected));
        registry.executeRecovery(PATIENT);
        vm.warp(expected);
        vm.expectEmit(address(registry));
        emit IRegistry.RecoveryExecuted(PATIENT);
        vm.prank(stranger);
        registry.executeRecovery(PATIENT);

        _assertPatient(PATIENT, hospital, COMMITMENT, LOCK);
        _assertNoRecovery();
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoRecovery.selector, PATIENT));
        registry.executeRecovery(PATIENT);
    }

    function test_ProposeRefusals() public {
        vm.startPrank(hospital);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryUnknownPatient.selector, KEY));
        registry.proposeRecovery(KEY, COMMITMENT, LOCK);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.proposeRecovery(PATIENT, bytes32(0), LOCK);
        vm.expectRevert(IRegistry.RegistryZeroValue.selector);
        registry.proposeRecovery(PATIENT, COMMITMENT, bytes32(0));
        registry.proposeRecovery(PATIENT, COMMITMENT, LOCK);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryRecoveryPending.selector, PATIENT));
        registry.proposeRecovery(PATIENT, keccak256("swapped"), LOCK);
        vm.stopPrank();
        vm.prank(regulator);
        registry.suspendOrganisation(hospital);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.RegistryNotPatientsHospital.selector, PATIENT, hospital)
        );
        vm.prank(hospital);
        registry.proposeRecovery(PATIENT, COMMITMENT, LOCK);
    }

    function test_ConfirmOnceAndOnlyWhatWasProposed() public {
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoRecovery.selector, PATIENT));
        vm.prank(regulator);
        registry.confirmRecovery(PATIENT);
        _proposeRecovery();
        vm.startPrank(regulator);
        registry.confirmRecovery(PATIENT);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryRecoveryConfirmed.selector, PATIENT));
        registry.confirmRecovery(PATIENT);
    }

    function test_RejectBeforeAndAfterTheConfirmation() public {
        vm.startPrank(regulator);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoRecovery.selector, PATIENT));
        registry.rejectRecovery(PATIENT);
        vm.stopPrank();
        for (uint256 round = 0; round < 2; ++round) {
            _proposeRecovery();
            vm.startPrank(regulator);
            if (round == 1) registry.confirmRecovery(PATIENT);
            vm.expectEmit(address(registry));
            emit IRegistry.RecoveryRejected(PATIENT, regulator);
            registry.rejectRecovery(PATIENT);
            vm.stopPrank();
            _assertNoRecovery();
        }
        _assertPatient(PATIENT, hospital, _commitment(patient), _lock(_preimage()));
    }

    function test_CancelSpendsOneLink() public {
        bytes32 preimage = _preimage();
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryNoRecovery.selector, PATIENT));
        registry.cancelRecovery(PATIENT, preimage);
        _proposeRecovery();
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryWrongPreimage.selector, PATIENT));
        registry.cancelRecovery(PATIENT, LOCK);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryUnknownPatient.selector, KEY));
        registry.cancelRecovery(KEY, preimage);

        vm.expectEmit(address(registry));
        emit IRegistry.RecoveryCancelled(PATIENT);
        vm.prank(stranger);
        registry.cancelRecovery(PATIENT, preimage);
        _assertNoRecovery();
        _assertPatient(PATIENT, hospital, _commitment(patient), preimage);

        // The preimage is public now and opens nothing; the next link of the chain does.
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryWrongPreimage.selector, PATIENT));
        vm.prank(hospital);
        registry.rotateIdentity(PATIENT, preimage, COMMITMENT, LOCK);
        vm.prank(hospital);
        registry.rotateIdentity(PATIENT, PREIMAGE_2, COMMITMENT, LOCK);
    }

    function test_ASuspendedHospitalsRecoveryWaits() public {
        _proposeRecovery();
        vm.startPrank(regulator);
        registry.confirmRecovery(PATIENT);
        registry.suspendOrganisation(hospital);
        vm.stopPrank();
        vm.warp(block.timestamp + 8 days);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.RegistryNotPatientsHospital.selector, PATIENT, hospital)
        );
        registry.executeRecovery(PATIENT);
        vm.prank(regulator);
        registry.reinstateOrganisation(hospital);
        registry.executeRecovery(PATIENT);
        _assertPatient(PATIENT, hospital, COMMITMENT, LOCK);
    }

    // -------------------------------------------------------------------- views

    function test_ActiveOrganisationOf() public view {
        _assertActiveOrganisation(hospital, hospital, IRegistry.Kind.Hospital);
        _assertActiveOrganisation(doctor, hospital, IRegistry.Kind.Hospital);
        _assertActiveOrganisation(insurersDoctor, insurer, IRegistry.Kind.Insurer);
        address[7] memory none =
            [suspendedHospital, expelledHospital, removedDoctor, suspendedDoctor, expelledDoctor, stranger, address(0)];
        for (uint256 i = 0; i < none.length; ++i) {
            _assertActiveOrganisation(none[i], address(0), IRegistry.Kind.None);
            vm.assertFalse(registry.isActiveMember(none[i]));
        }
    }

    function test_LookUpsOfOrganisationsAreNotPractitioners() public view {
        _assertPractitioner(hospital, address(0), IRegistry.Role.None, IRegistry.Status.None);
        _assertPractitioner(stranger, address(0), IRegistry.Role.None, IRegistry.Status.None);
        _assertPractitioner(removedDoctor, hospital, IRegistry.Role.Doctor, IRegistry.Status.Expelled);
    }

    function test_OneSlotPerMember() public view {
        // _members is in slot 3: organisation 160 bits, kind, role, status 8 each.
        bytes32 slot = vm.load(address(registry), keccak256(abi.encode(doctor, uint256(3))));
        vm.assertEq(uint256(slot), uint256(uint160(hospital)) | (1 << 168) | (1 << 176));
    }

    // --------------------------------------------------------------------- fuzz

    function testFuzz_OnlyThePreimageRotates(bytes32 preimage, bytes32 commitment, bytes32 lock) public {
        vm.assume(preimage != _preimage());
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryWrongPreimage.selector, PATIENT));
        vm.prank(hospital);
        registry.rotateIdentity(PATIENT, preimage, commitment, lock);
    }

    function testFuzz_StrangersAreNothing(address account) public view {
        address[11] memory members = [
            hospital,
            otherHospital,
            suspendedHospital,
            expelledHospital,
            insurer,
            doctor,
            nurse,
            removedDoctor,
            otherDoctor,
            suspendedDoctor,
            insurersDoctor
        ];
        for (uint256 i = 0; i < members.length; ++i) {
            vm.assume(account != members[i]);
        }
        vm.assume(account != expelledDoctor);
        vm.assertFalse(registry.isActiveMember(account));
        vm.assertFalse(registry.hasCareLink(PATIENT, account));
        _assertOrganisation(account, IRegistry.Kind.None, IRegistry.Status.None);
    }

    function testFuzz_RegisterPatientForIsBoundToEveryField(uint8 field, bytes32 change) public {
        vm.assume(change != bytes32(0));
        uint256 deadline = block.timestamp + 1 hours;
        bytes memory signature = _sign("doctor", _registrationDigest(doctor, KEY, COMMITMENT, LOCK, deadline));
        field = uint8(_bound(field, 0, 3));
        uint256 delta = _bound(uint256(change), 1, 365 days);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryBadSignature.selector, doctor));
        vm.prank(hospital);
        registry.registerPatientFor(
            doctor,
            field == 0 ? KEY ^ change : KEY,
            field == 1 ? COMMITMENT ^ change : COMMITMENT,
            field == 2 ? LOCK ^ change : LOCK,
            field == 3 ? deadline + delta : deadline,
            signature
        );
    }

    // ------------------------------------------------------------------ helpers

    function _release(bytes32 name, uint32 version, address deployed, bytes32 codeHash) private returns (bytes32) {
        return _ripe(
            address(registry), abi.encodeCall(registry.announceRelease, (name, version, deployed, codeHash))
        );
    }

    function _proposeRecovery() private {
        vm.prank(hospital);
        registry.proposeRecovery(PATIENT, COMMITMENT, LOCK);
    }

    function _expectNotReady(address sender, bytes32 key, bytes32 commitment, bytes32 lock) private {
        bytes32 preimage = _preimage();
        bytes32 seal = keccak256(abi.encode(key, preimage, commitment, lock));
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryRotationNotReady.selector, seal));
        vm.prank(sender);
        registry.rotateIdentity(key, preimage, commitment, lock);
    }

    function _expectBadSignature(
        bytes32 key,
        bytes32 commitment,
        bytes32 lock,
        uint256 deadline,
        bytes memory signature
    ) private {
        vm.expectRevert(abi.encodeWithSelector(IRegistry.RegistryBadSignature.selector, doctor));
        vm.prank(hospital);
        registry.registerPatientFor(doctor, key, commitment, lock, deadline, signature);
    }

    function _wrongStatus(address organisation) private view returns (bytes memory) {
        (, IRegistry.Status status) = registry.organisationStatus(organisation);
        return abi.encodeWithSelector(IRegistry.RegistryWrongStatus.selector, organisation, status);
    }

    function _assertOrganisation(address account, IRegistry.Kind kind, IRegistry.Status status) private view {
        (IRegistry.Kind actualKind, IRegistry.Status actual) = registry.organisationStatus(account);
        vm.assertEq(uint256(actualKind), uint256(kind), "kind");
        vm.assertEq(uint256(actual), uint256(status), "status");
    }

    function _assertPractitioner(address account, address organisation, IRegistry.Role role, IRegistry.Status status)
        private
        view
    {
        (address employer, IRegistry.Role actualRole, IRegistry.Status actual) = registry.practitionerOf(account);
        vm.assertEq(employer, organisation, "organisation");
        vm.assertEq(uint256(actualRole), uint256(role), "role");
        vm.assertEq(uint256(actual), uint256(status), "status");
    }

    function _assertActiveOrganisation(address account, address organisation, IRegistry.Kind kind) private view {
        (address actual, IRegistry.Kind actualKind) = registry.activeOrganisationOf(account);
        vm.assertEq(actual, organisation, "organisation");
        vm.assertEq(uint256(actualKind), uint256(kind), "kind");
    }

    function _assertPatient(bytes32 key, address organisation, bytes32 commitment, bytes32 lock) private view {
        (address actual, bytes32 actualCommitment) = registry.patientOf(key);
        vm.assertEq(actual, organisation, "hospital");
        vm.assertEq(actualCommitment, commitment, "commitment");
        vm.assertEq(registry.rotationLockOf(key), lock, "lock");
    }

    function _assertNoRecovery() private view {
        (bytes32 commitment, bytes32 lock, uint48 proposedAt, uint48 executableAt) = registry.recoveryOf(PATIENT);
        vm.assertEq(uint256(commitment) | uint256(lock) | proposedAt | executableAt, 0);
    }
}
