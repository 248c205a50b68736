// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {Council} from "../src/Council.sol";
import {Registry} from "../src/Registry.sol";
import {ICouncil} from "../src/interfaces/ICouncil.sol";
import {IConsents} from "../src/interfaces/IConsents.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {Governance} from "./support/Governance.sol";

/// @dev A target that tries to have its own proposal executed a second time.
contract Reentrant {
    Council private immutable _council;
    bytes32 public id;
    bool public wasRefused;

    constructor(Council council_) {
        _council = council_;
    }

    function setId(bytes32 id_) external {
        id = id_;
    }

    function enter() external {
        try _council.execute(id) {}
        catch (bytes memory refusal) {
            bytes memory expected =
                abi.encodeWithSelector(ICouncil.CouncilWrongState.selector, id, ICouncil.State.Executed);
            wasRefused = keccak256(refusal) == keccak256(expected);
        }
    }
}

contract CouncilTest is Fixture {
    bytes32 private constant REASON = keccak256("salted reason");

    bytes private _release;
    address private _fourth;
    address private _fifth;

    function setUp() public override {
        super.setUp();
        bytes32 codeHash = address(anchorLog).codehash;
        _release = abi.encodeCall(registry.announceRelease, ("AnchorLog", 1, address(anchorLog), codeHash));
        _fourth = _account("fourthOfficer");
        _fifth = _account("fifthOfficer");
    }

    // ---------------------------------------------------------------- hand-over

    function test_TheDeployerAnnouncesTheFirstVersionsAndKeepsNothing() public {
        AccessManager fresh = new AccessManager(address(this));
        Council freshCouncil = new Council(fresh, _threeOfficers(), 2);
        Registry freshRegistry = new Registry(address(fresh));
        bytes32 codeHash = address(anchorLog).codehash;
        freshRegistry.announceRelease("AnchorLog", 1, address(anchorLog), codeHash);
        Governance.handOver(fresh, freshCouncil, freshRegistry, regulator);

        (uint32 version,,) = freshRegistry.releaseOf("AnchorLog");
        vm.assertEq(version, 1);
        vm.expectRevert(_unauthorised(address(this)));
        freshRegistry.announceRelease("AnchorLog", 2, address(anchorLog), codeHash);
        vm.expectRevert(_noAdmin(address(this)));
        fresh.grantRole(Governance.ADMIN_ROLE, address(this), 0);
    }

    function test_NoSingleKeyAnnouncesOrGivesItselfARight() public {
        address[4] memory keys = [regulator, officer, secondOfficer, address(this)];
        for (uint256 i = 0; i < keys.length; ++i) {
            vm.startPrank(keys[i]);
            vm.expectRevert(_unauthorised(keys[i]));
            registry.announceRelease("AnchorLog", 1, address(anchorLog), address(anchorLog).codehash);
            vm.expectRevert(_noAdmin(keys[i]));
            manager.grantRole(Governance.RELEASE_ROLE, keys[i], 0);
            vm.expectRevert(_noAdmin(keys[i]));
            manager.grantRole(Governance.ADMIN_ROLE, keys[i], 0);
            vm.expectRevert(_noAdmin(keys[i]));
            manager.setTargetFunctionRole(address(registry), Governance.regulatorFunctions(), type(uint64).max);
            vm.expectRevert(_noAdmin(keys[i]));
            manager.setTargetClosed(address(registry), true);
            vm.expectRevert(_noAdmin(keys[i]));
            manager.updateAuthority(address(registry), keys[i]);
            vm.expectRevert();
            manager.schedule(address(registry), _release, 0);
            vm.expectRevert();
            manager.execute(address(registry), _release);
            vm.stopPrank();
        }
    }

    function test_NotEvenTheCouncilSkipsTheWaitingTime() public {
        bytes32 operation = manager.hashOperation(address(council), address(registry), _release);
        vm.startPrank(address(council));
        vm.expectRevert(abi.encodeWithSelector(IAccessManager.AccessManagerNotScheduled.selector, operation));
        registry.announceRelease("AnchorLog", 1, address(anchorLog), address(anchorLog).codehash);
        vm.expectRevert(abi.encodeWithSelector(IAccessManager.AccessManagerNotScheduled.selector, operation));
        manager.execute(address(registry), _release);
    }

    function test_TheWaitingTimeIsShortenedOnlyAfterItself() public {
        bytes memory shorten =
            abi.encodeCall(manager.grantRole, (Governance.RELEASE_ROLE, address(council), 1 hours));
        bytes32 id = _ripe(address(manager), shorten);
        council.execute(id);
        bytes32 next = _agree(address(registry), _release);
        vm.warp(block.timestamp + 1 hours);
        _assertNotReady(next, START_TIME + 2 * Governance.DELAY);
    }

    // --------------------------------------------------------------- deployment

    /// @dev A call of its own: when a `new` in the test itself reverts, forge ends the test there and calls it passed.
    function deploy(address[] calldata officers, uint8 threshold) external returns (Council) {
        return new Council(manager, officers, threshold);
    }

    function test_DeployRefusesBadOfficers() public {
        address[] memory none = new address[](0);
        vm.expectRevert(ICouncil.CouncilBadOfficers.selector);
        this.deploy(none, 0);
        address[5] memory bad = [address(0), officer, address(manager), secondOfficer, address(0)];
        for (uint256 i = 0; i < bad.length; ++i) {
            address[] memory four = new address[](4);
            (four[0], four[1], four[2], four[3]) = (officer, secondOfficer, thirdOfficer, bad[i]);
            vm.expectRevert(ICouncil.CouncilBadOfficers.selector);
            this.deploy(four, 2);
        }
        vm.expectRevert(ICouncil.CouncilBadOfficers.selector);
        this.deploy(_crowd(17), 2);
        vm.assertEq(this.deploy(_crowd(16), 16).officers().length, 16);
    }

    function test_DeployRefusesBadThresholds() public {
        uint8[4] memory bad = [0, 1, 4, 255];
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectRevert(ICouncil.CouncilBadThreshold.selector);
            this.deploy(_threeOfficers(), bad[i]);
        }
        vm.expectRevert(ICouncil.CouncilBadThreshold.selector);
        this.deploy(_crowd(1), 0);
        vm.expectRevert(ICouncil.CouncilBadThreshold.selector);
        this.deploy(_crowd(1), 2);
        vm.assertEq(this.deploy(_crowd(1), 1).threshold(), 1);
    }

    function test_DeployKeepsAndShowsTheOfficers() public {
        vm.recordLogs();
        Council other = new Council(manager, _threeOfficers(), 3);
        vm.assertEq(
            keccak256(vm.getRecordedLogs()[0].data), keccak256(abi.encode(_threeOfficers(), uint8(3))), "event"
        );
        vm.assertEq(keccak256(abi.encode(other.officers())), keccak256(abi.encode(_threeOfficers())));
        vm.assertEq(other.threshold(), 3);
        vm.assertEq(address(other.accessManager()), address(manager));
        vm.assertTrue(other.isOfficer(officer) && other.isOfficer(secondOfficer) && other.isOfficer(thirdOfficer));
        vm.assertFalse(other.isOfficer(regulator));
    }

    // ------------------------------------------------------------------ propose

    function test_ProposeCountsAsTheFirstApproval() public {
        vm.recordLogs();
        bytes32 id = _propose(address(registry), _release);
        vm.assertEq(vm.getRecordedLogs().length, 2, "events");

        _assertProposal(id, 1, ICouncil.State.Proposed, 0);
        vm.assertTrue(council.hasApproved(id, officer));
        vm.assertFalse(council.hasApproved(id, secondOfficer));
        vm.assertEq(manager.getNonce(manager.hashOperation(address(council), address(registry), _release)), 0);
    }

    function test_ProposeEmitsWhatIsDecided() public {
        bytes32 id = keccak256(
            abi.encode(block.chainid, address(council), uint64(1), address(registry), _release, REASON)
        );
        vm.expectEmit(address(council));
        emit ICouncil.Proposed(id, officer, address(registry), _release, REASON);
        vm.expectEmit(address(council));
        emit ICouncil.Approved(id, officer, 1);
        vm.assertEq(_propose(address(registry), _release), id);
        vm.assertTrue(_propose(address(registry), _release) != id);
    }

    function test_ProposeNeedsAReason() public {
        vm.expectRevert(ICouncil.CouncilNoReason.selector);
        vm.prank(officer);
        council.propose(address(registry), _release, bytes32(0));
    }

    function test_ProposeToItselfOnlyWhatCanBeExecuted() public {
        vm.startPrank(officer);
        vm.expectRevert(ICouncil.CouncilBadOfficers.selector);
        council.propose(address(council), "", REASON);
        vm.expectRevert(ICouncil.CouncilBadOfficers.selector);
        council.propose(address(council), abi.encodeCall(council.officers, ()), REASON);
        vm.expectRevert(ICouncil.CouncilBadOfficers.selector);
        council.propose(address(council), abi.encodeCall(council.setOfficers, (_crowd(17), 2)), REASON);
        vm.expectRevert(ICouncil.CouncilBadThreshold.selector);
        council.propose(address(council), abi.encodeCall(council.setOfficers, (_crowd(2), 1)), REASON);
        address[] memory itself = _crowd(2);
        itself[1] = address(council);
        vm.expectRevert(ICouncil.CouncilBadOfficers.selector);
        council.propose(address(council), abi.encodeCall(council.setOfficers, (itself, 2)), REASON);
        vm.expectRevert();
        council.propose(address(council), abi.encodePacked(ICouncil.setOfficers.selector, uint8(1)), REASON);
    }

    function test_ACouncilOfOneOnlyWaits() public {
        Council single = new Council(manager, _crowd(1), 1);
        _decide(address(manager), abi.encodeCall(manager.grantRole, (Governance.RELEASE_ROLE, address(single), 1 days)));
        vm.prank(_crowd(1)[0]);
        bytes32 id = single.propose(address(registry), _release, REASON);
        (,,, uint8 approvals, ICouncil.State state, uint48 due) = single.proposalOf(id);
        vm.assertEq(approvals, 1);
        vm.assertEq(uint256(state), uint256(ICouncil.State.Scheduled));
        vm.assertEq(due, block.timestamp + 1 days);
    }

    // ------------------------------------------------------------------ approve

    function test_TheThresholdSchedules() public {
        bytes32 id = _propose(address(registry), _release);
        uint48 due = uint48(block.timestamp + Governance.DELAY);
        vm.expectEmit(address(council));
        emit ICouncil.Approved(id, thirdOfficer, 2);
        vm.expectEmit(address(council));
        emit ICouncil.Scheduled(id, due);
        vm.prank(thirdOfficer);
        council.approve(id);

        _assertProposal(id, 2, ICouncil.State.Scheduled, due);
        bytes32 operation = manager.hashOperation(address(council), address(registry), _release);
        vm.assertEq(manager.getSchedule(operation), due);
    }

    function test_ThreeOfThreeNeedsAllThree() public {
        _decide(address(council), abi.encodeCall(council.setOfficers, (_threeOfficers(), 3)));
        bytes32 id = _agree(address(registry), _release);
        _assertProposal(id, 2, ICouncil.State.Proposed, 0);
        vm.prank(thirdOfficer);
        council.approve(id);
        _assertProposal(id, 3, ICouncil.State.Scheduled, uint48(block.timestamp + Governance.DELAY));
    }

    function test_ApproveRefusals() public {
        bytes32 id = _propose(address(registry), _release);
        vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilAlreadyApproved.selector, id, officer));
        vm.prank(officer);
        council.approve(id);
        bytes32 unknown = keccak256("unknown");
        _expectWrongState(unknown, ICouncil.State.None);
        vm.prank(secondOfficer);
        council.approve(unknown);
        vm.prank(secondOfficer);
        council.approve(id);
        _expectWrongState(id, ICouncil.State.Scheduled);
        vm.prank(thirdOfficer);
        council.approve(id);
    }

    function test_TheCouncilHasOnlyItsOwnRights() public {
        bytes memory admit =
            abi.encodeCall(registry.admitOrganisation, (applicant, IRegistry.Kind.Hospital, EVIDENCE));
        bytes32 id = _propose(address(registry), admit);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessManager.AccessManagerUnauthorizedCall.selector,
                address(council),
                address(registry),
                registry.admitOrganisation.selector
            )
        );
        vm.prank(secondOfficer);
        council.approve(id);
        _assertState(id, ICouncil.State.Proposed);
    }

    function test_TheSameCallWaitsOnlyOnce() public {
        _agree(address(registry), _release);
        bytes32 again = _propose(address(registry), _release);
        bytes32 operation = manager.hashOperation(address(council), address(registry), _release);
        vm.expectRevert(abi.encodeWithSelector(IAccessManager.AccessManagerAlreadyScheduled.selector, operation));
        vm.prank(thirdOfficer);
        council.approve(again);
    }

    // ------------------------------------------------------------------ execute

    function test_AnybodyExecutesAfterTheWaitingTime() public {
        bytes32 id = _agree(address(registry), _release);
        uint256 due = block.timestamp + Governance.DELAY;
        _assertNotReady(id, due);
        vm.warp(due - 1);
        _assertNotReady(id, due);
        vm.warp(due);
        vm.expectEmit(address(council));
        emit ICouncil.Executed(id);
        vm.expectEmit(address(registry));
        emit IRegistry.ReleaseAnnounced("AnchorLog", 1, address(anchorLog), address(anchorLog).codehash);
        vm.prank(stranger);
        council.execute(id);

        _assertProposal(id, 2, ICouncil.State.Executed, 0);
        (uint32 version,,) = registry.releaseOf("AnchorLog");
        vm.assertEq(version, 1);
        _expectWrongState(id, ICouncil.State.Executed);
        council.execute(id);
    }

    function test_ExecuteNeedsTheThreshold() public {
        bytes32 id = _propose(address(registry), _release);
        vm.warp(block.timestamp + 30 days);
        _expectWrongState(id, ICouncil.State.Proposed);
        council.execute(id);
        _expectWrongState(keccak256("unknown"), ICouncil.State.None);
        council.execute(keccak256("unknown"));
    }

    function test_AFailedCallChangesNothingAndCanBeTriedAgain() public {
        bytes memory wrong = abi.encodeCall(registry.announceRelease, ("AnchorLog", 1, applicant, keccak256(hex"00")));
        bytes32 id = _ripe(address(registry), wrong);
        vm.expectRevert(
            abi.encodeWithSelector(IRegistry.RegistryCodeMismatch.selector, applicant, applicant.codehash)
        );
        council.execute(id);
        _assertState(id, ICouncil.State.Scheduled);
        vm.etch(applicant, hex"00");
        council.execute(id);
        _assertState(id, ICouncil.State.Executed);
    }

    function test_ALapsedCallIsProposedAnewAndTheOldOneStaysDead() public {
        bytes32 old = _ripe(address(registry), _release);
        vm.warp(block.timestamp + manager.expiration());
        vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilLapsed.selector, old));
        council.execute(old);
        _assertProposal(old, 2, ICouncil.State.Scheduled, 0);

        bytes32 fresh = _ripe(address(registry), _release);
        vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilLapsed.selector, old));
        council.execute(old);
        vm.prank(officer);
        council.cancel(old);
        council.execute(fresh);
        _assertState(old, ICouncil.State.Cancelled);
        _assertState(fresh, ICouncil.State.Executed);
    }

    function test_ATargetCannotExecuteItsProposalTwice() public {
        Reentrant target = new Reentrant(council);
        bytes32 id = _ripe(address(target), abi.encodeCall(target.enter, ()));
        target.setId(id);
        council.execute(id);
        vm.assertTrue(target.wasRefused());
    }

    // ------------------------------------------------------------------- cancel

    function test_AnySingleOfficerStopsAnything() public {
        bytes32 operation = manager.hashOperation(address(council), address(registry), _release);
        address[3] memory all = [officer, secondOfficer, thirdOfficer];
        for (uint256 i = 0; i < all.length; ++i) {
            bytes32 open = _propose(address(registry), _release);
            bytes32 waiting = _agree(address(registry), _release);
            vm.startPrank(all[i]);
            vm.expectEmit(address(council));
            emit ICouncil.Cancelled(open, all[i]);
            council.cancel(open);
            council.cancel(waiting);
            vm.stopPrank();

            _assertProposal(open, 1, ICouncil.State.Cancelled, 0);
            _assertProposal(waiting, 2, ICouncil.State.Cancelled, 0);
            vm.assertEq(manager.getSchedule(operation), 0);
            vm.warp(block.timestamp + Governance.DELAY);
            _expectWrongState(waiting, ICouncil.State.Cancelled);
            council.execute(waiting);
            _expectWrongState(open, ICouncil.State.Cancelled);
            vm.prank(secondOfficer);
            council.approve(open);
            _expectWrongState(open, ICouncil.State.Cancelled);
            vm.prank(secondOfficer);
            council.cancel(open);
        }
        _decide(address(registry), _release);
    }

    function test_WhatIsDoneCannotBeCancelled() public {
        bytes32 id = _ripe(address(registry), _release);
        council.execute(id);
        _expectWrongState(id, ICouncil.State.Executed);
        vm.prank(officer);
        council.cancel(id);
        _expectWrongState(keccak256("unknown"), ICouncil.State.None);
        vm.prank(officer);
        council.cancel(keccak256("unknown"));
    }

    function test_WhatTheAccessManagerNoLongerHoldsIsLapsed() public {
        bytes32 id = _ripe(address(registry), _release);
        vm.prank(address(council));
        manager.cancel(address(council), address(registry), _release);
        vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilLapsed.selector, id));
        council.execute(id);
        vm.prank(thirdOfficer);
        council.cancel(id);
        _assertState(id, ICouncil.State.Cancelled);
    }

    // ----------------------------------------------------------------- officers

    function test_OfficersChangeByTheirOwnDecision() public {
        bytes memory data = abi.encodeCall(council.setOfficers, (_others(), 2));
        bytes32 id = _ripe(address(council), data);
        vm.expectEmit(address(council));
        emit ICouncil.OfficersChanged(_others(), 2);
        council.execute(id);

        vm.assertEq(keccak256(abi.encode(council.officers())), keccak256(abi.encode(_others())));
        vm.assertFalse(council.isOfficer(officer) || council.isOfficer(secondOfficer));
        vm.assertTrue(council.isOfficer(thirdOfficer) && council.isOfficer(_fourth) && council.isOfficer(_fifth));
        _expectNotOfficer(officer);
        council.propose(address(registry), _release, REASON);
    }

    function test_NobodyElseChangesThem() public {
        address[4] memory senders = [officer, regulator, address(manager), address(council)];
        for (uint256 i = 0; i < senders.length; ++i) {
            vm.expectRevert(ICouncil.CouncilNotItself.selector);
            vm.prank(senders[i]);
            council.setOfficers(_others(), 2);
        }
    }

    function test_AnotherHolderOfTheRoleDoesNotChangeThem() public {
        bytes memory data = abi.encodeCall(council.setOfficers, (_others(), 2));
        _decide(address(council), data);
        vm.startPrank(stranger);
        vm.expectRevert(ICouncil.CouncilNotItself.selector);
        council.setOfficers(_others(), 2);
        vm.stopPrank();
        _decideAs(
            thirdOfficer,
            _fourth,
            address(manager),
            abi.encodeCall(manager.grantRole, (Governance.RELEASE_ROLE, stranger, 1))
        );
        vm.startPrank(stranger);
        // The very call that the council made last.
        manager.schedule(address(council), data, 0);
        vm.warp(block.timestamp + 1);
        vm.expectRevert(ICouncil.CouncilNotItself.selector);
        manager.execute(address(council), data);
    }

    function test_ApprovalsOfThoseWhoLeftNoLongerCount() public {
        bytes32 id = _propose(address(registry), _release);
        _decide(address(council), abi.encodeCall(council.setOfficers, (_others(), 2)));
        _assertProposal(id, 0, ICouncil.State.Proposed, 0);
        vm.assertTrue(council.hasApproved(id, officer));
        vm.prank(thirdOfficer);
        council.approve(id);
        _assertProposal(id, 1, ICouncil.State.Proposed, 0);
        vm.prank(_fourth);
        council.approve(id);
        _assertProposal(id, 2, ICouncil.State.Scheduled, uint48(block.timestamp + Governance.DELAY));
    }

    function test_ANewOfficerStopsWhatTheOldOnesAgreed() public {
        bytes32 change = _ripe(address(council), abi.encodeCall(council.setOfficers, (_others(), 2)));
        bytes32 id = _agree(address(registry), _release);
        council.execute(change);
        _expectNotOfficer(officer);
        council.cancel(id);
        vm.prank(_fifth);
        council.cancel(id);
        _assertState(id, ICouncil.State.Cancelled);
    }

    function test_AStolenKeyCannotKeepItsSeat() public {
        bytes memory data = abi.encodeCall(council.setOfficers, (_others(), 2));
        bytes32 id = _ripe(address(council), data);
        address[2] memory leaving = [officer, secondOfficer];
        for (uint256 i = 0; i < leaving.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilOwnRemoval.selector, id, leaving[i]));
            vm.prank(leaving[i]);
            council.cancel(id);
        }
        uint256 snapshot = vm.snapshotState();
        vm.prank(thirdOfficer);
        council.cancel(id);
        _assertState(id, ICouncil.State.Cancelled);
        vm.revertToState(snapshot);
        council.execute(id);
        vm.assertFalse(council.isOfficer(officer));
    }

    // ----------------------------------------------------- what nobody can stop

    function test_ClosingEverythingStopsNothingThatProtectsAPatient() public {
        IConsents.Consent memory consent = _consent();
        consent.expiresAt += 30 days;
        bytes32 digest = consents.digestOf(consent);
        bytes memory signature = _sign("patient", digest);
        vm.startPrank(hospital);
        consents.record(digest, _revocationLock(_secret()));
        registry.proposeRecovery(PATIENT, keccak256("thief"), keccak256("thief"));
        vm.stopPrank();
        address[6] memory targets = [
            address(registry),
            address(consents),
            address(accessLog),
            address(anchorLog),
            address(store),
            address(council)
        ];
        for (uint256 i = 0; i < targets.length; ++i) {
            _decide(address(manager), abi.encodeCall(manager.setTargetClosed, (targets[i], true)));
            vm.assertTrue(manager.isTargetClosed(targets[i]));
        }
        vm.expectRevert(_unauthorised(regulator));
        vm.prank(regulator);
        registry.admitOrganisation(applicant, IRegistry.Kind.Hospital, EVIDENCE);

        _checkEverythingGoesOn(consent, digest, signature);
        // The council can always open again what it closed.
        _decide(address(manager), abi.encodeCall(manager.setTargetClosed, (address(registry), false)));
        vm.prank(regulator);
        registry.suspendOrganisation(hospital);
    }

    function _checkEverythingGoesOn(IConsents.Consent memory consent, bytes32 digest, bytes memory signature)
        private
    {
        vm.assertTrue(consents.isAuthorised(consent, _identity(), signature, _access()));
        vm.assertTrue(registry.hasCareLink(PATIENT, doctor));
        vm.prank(stranger);
        consents.revoke(digest, _secret());
        vm.assertFalse(consents.isAuthorised(consent, _identity(), signature, _access()));
        bytes32[] memory leaves = new bytes32[](1);
        leaves[0] = keccak256("leaf");
        vm.startPrank(hospital);
        accessLog.append(0, leaves);
        accessLog.emergency(leaves[0]);
        registry.removePractitioner(nurse);
        vm.stopPrank();
        vm.assertFalse(registry.hasCareLink(PATIENT, nurse));
        vm.startPrank(stranger);
        registry.cancelRecovery(PATIENT, _preimage());
        bytes32 seal = keccak256(abi.encode(PATIENT, PREIMAGE_2, keccak256("new"), keccak256("new lock")));
        registry.announceRotation(seal);
        vm.roll(block.number + registry.ROTATION_BLOCKS());
        registry.rotateIdentity(PATIENT, PREIMAGE_2, keccak256("new"), keccak256("new lock"));
        vm.stopPrank();
        (, bytes32 commitment) = registry.patientOf(PATIENT);
        vm.assertEq(commitment, keccak256("new"));
    }

    // --------------------------------------------------------------------- fuzz

    function testFuzz_OnlyThresholdDistinctOfficersSchedule(uint256 size, uint256 needed, uint256 order) public {
        size = _bound(size, 2, 7);
        needed = _bound(needed, 2, size);
        address[] memory crowd = _crowd(size);
        _decide(address(council), abi.encodeCall(council.setOfficers, (crowd, uint8(needed))));
        vm.prank(crowd[0]);
        bytes32 id = council.propose(address(registry), _release, REASON);
        uint256 approved = 1;
        for (uint256 i = 0; i < 20 && approved < needed; ++i) {
            address next = crowd[uint256(keccak256(abi.encode(order, i))) % size];
            if (council.hasApproved(id, next)) {
                vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilAlreadyApproved.selector, id, next));
            } else {
                ++approved;
            }
            vm.prank(next);
            council.approve(id);
            (,,, uint8 count, ICouncil.State state,) = council.proposalOf(id);
            vm.assertEq(count, approved);
            vm.assertEq(state == ICouncil.State.Scheduled, approved >= needed, "scheduled");
        }
    }

    function testFuzz_StrangersDoNothing(address sender) public {
        vm.assume(!council.isOfficer(sender));
        bytes32 id = _propose(address(registry), _release);
        _expectNotOfficer(sender);
        council.propose(address(registry), _release, REASON);
        _expectNotOfficer(sender);
        council.approve(id);
        _expectNotOfficer(sender);
        council.cancel(id);
    }

    function testFuzz_NotBeforeItsTime(uint256 early) public {
        bytes32 id = _agree(address(registry), _release);
        uint256 due = block.timestamp + Governance.DELAY;
        vm.warp(due - _bound(early, 1, Governance.DELAY));
        _assertNotReady(id, due);
    }

    // ------------------------------------------------------------------ helpers

    function _decide(address target, bytes memory data) private {
        council.execute(_ripe(target, data));
    }

    function _decideAs(address first, address second, address target, bytes memory data) private {
        vm.prank(first);
        bytes32 id = council.propose(target, data, REASON);
        vm.prank(second);
        council.approve(id);
        vm.warp(block.timestamp + Governance.DELAY);
        council.execute(id);
    }

    function _others() private view returns (address[] memory next) {
        next = new address[](3);
        (next[0], next[1], next[2]) = (thirdOfficer, _fourth, _fifth);
    }

    function _crowd(uint256 size) private pure returns (address[] memory crowd) {
        crowd = new address[](size);
        for (uint256 i = 0; i < size; ++i) {
            crowd[i] = address(uint160(0xC000 + i));
        }
    }

    function _unauthorised(address sender) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, sender);
    }

    function _noAdmin(address sender) private pure returns (bytes memory) {
        return abi.encodeWithSelector(
            IAccessManager.AccessManagerUnauthorizedAccount.selector, sender, Governance.ADMIN_ROLE
        );
    }

    function _expectWrongState(bytes32 id, ICouncil.State state) private {
        vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilWrongState.selector, id, state));
    }

    function _expectNotOfficer(address sender) private {
        vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilNotOfficer.selector, sender));
        vm.prank(sender);
    }

    function _assertNotReady(bytes32 id, uint256 due) private {
        vm.expectRevert(abi.encodeWithSelector(ICouncil.CouncilNotReady.selector, id, uint48(due)));
        council.execute(id);
    }

    function _assertState(bytes32 id, ICouncil.State expected) private view {
        (,,,, ICouncil.State state,) = council.proposalOf(id);
        vm.assertEq(uint256(state), uint256(expected), "state");
    }

    function _assertProposal(bytes32 id, uint8 approvals, ICouncil.State state, uint48 due) private view {
        (address target, bytes32 dataHash, address proposer, uint8 count, ICouncil.State actual, uint48 since) =
            council.proposalOf(id);
        vm.assertEq(target, address(registry), "target");
        vm.assertEq(dataHash, keccak256(_release), "data");
        vm.assertEq(proposer, officer, "proposer");
        vm.assertEq(count, approvals, "approvals");
        vm.assertEq(uint256(actual), uint256(state), "state");
        vm.assertEq(since, due, "executable");
    }
}
