// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {AccessLog} from "../../src/AccessLog.sol";
import {AnchorLog} from "../../src/AnchorLog.sol";
import {Consents} from "../../src/Consents.sol";
import {RecordStore} from "../../src/RecordStore.sol";
import {Registry} from "../../src/Registry.sol";
import {IAnchorLog} from "../../src/interfaces/IAnchorLog.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {Vm} from "../support/Vm.sol";
import {Handler} from "./Handler.sol";

contract InvariantsTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    Handler private handler;

    function setUp() public {
        vm.warp(1_800_000_000);
        vm.roll(1000);
        address regulator = vm.addr(uint256(keccak256("regulator")));
        AccessManager manager = new AccessManager(regulator);
        Registry registry = new Registry(address(manager));
        handler = new Handler(
            registry,
            new AnchorLog(registry),
            new AccessLog(registry),
            new Consents(registry),
            new RecordStore(registry),
            regulator
        );
        // Half of the cast is there from the start, so that short runs come far.
        for (uint256 i = 0; i < 3; ++i) {
            handler.admit(i, 0, true);
            handler.registerPractitioner(i, i, 0);
            handler.registerPatient(i, i);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_NoRuleIsBroken() external view {
        if (handler.faultCount() != 0) vm.assertEq(handler.faults(0), "");
    }

    /// @dev Once a run: forge calls it after the last step.
    function afterInvariant() external view {
        _assertStorageEqualsEvents();
    }

    function _assertStorageEqualsEvents() private view {
        for (uint256 i = 0; i < handler.ORGANISATIONS(); ++i) {
            _assertOrganisation(handler.organisation(i));
        }
        for (uint256 i = 0; i < handler.PRACTITIONERS(); ++i) {
            _assertPractitioner(handler.practitioner(i));
        }
        for (uint256 i = 0; i < handler.rootCount(); ++i) {
            _assertAnchor(handler.roots(i));
        }
        for (uint256 i = 0; i < handler.CONSENTS(); ++i) {
            bytes32 digest = handler.consents().digestOf(handler.consent(i));
            (, uint48 recordedAt, uint48 revokedAt) = handler.consents().stateOf(digest);
            vm.assertEq(recordedAt, handler.recordedAt(digest), "recorded");
            vm.assertEq(revokedAt, handler.revokedAt(digest), "revoked");
        }
        for (uint256 i = 0; i < 16; ++i) {
            _assertSeries(vm.toString(i));
        }
    }

    /// @dev The campaign is worth nothing if its steps do not happen.
    function test_TheHandlerReachesEveryStep() external {
        for (uint256 i = 0; i < 800; ++i) {
            _randomStep(uint256(keccak256(abi.encode("seed", i))));
        }
        string[16] memory steps = [
            "admit",
            "suspend",
            "reinstate",
            "expel",
            "registerPractitioner",
            "removePractitioner",
            "anchor",
            "append",
            "emergency",
            "record",
            "recordMany",
            "revoke",
            "revokeMany",
            "ask",
            "storeData",
            "registerPatient"
        ];
        for (uint256 i = 0; i < steps.length; ++i) {
            vm.assertGe(handler.successes(steps[i]), 1, steps[i]);
        }
        if (handler.faultCount() != 0) vm.assertEq(handler.faults(0), "");
        _assertStorageEqualsEvents();
    }

    function _randomStep(uint256 seed) private {
        uint256 a = seed >> 8;
        uint256 b = seed >> 40;
        uint256 c = seed >> 80;
        uint256 step = seed % 18;
        if (step == 0) handler.admit(a, b, true);
        if (step == 1) handler.suspend(a, c % 4 == 0);
        if (step == 2) handler.reinstate(a, true);
        if (step == 3) handler.expel(a, c % 200);
        if (step == 4) handler.registerPractitioner(a, b, c);
        if (step == 5) handler.removePractitioner(a, b, c % 3);
        if (step == 6) handler.anchor(a, b, uint32(c), seed >> 160);
        if (step == 7) handler.append(a, b, c);
        if (step == 8) handler.recordConsent(a, b);
        if (step == 9) handler.storeData(a, b, c, c % 2 == 0);
        if (step == 10) handler.registerPatient(a, b);
        if (step == 11 && c % 4 == 0) handler.revokeConsent(a, b);
        if (step == 12 || step == 13) handler.ask(a, b, true);
        if (step == 14) handler.pass(a);
        if (step == 15) handler.recordMany(a, b, c);
        if (step == 16 && c % 4 == 0) handler.revokeMany(a, c >> 8);
        if (step == 17) handler.emergency(a, b);
    }

    function _assertOrganisation(address account) private view {
        (IRegistry.Kind kind, IRegistry.Status status) = handler.registry().organisationStatus(account);
        vm.assertEq(uint256(kind), uint256(handler.kind(account)), "kind");
        vm.assertEq(uint256(status), uint256(handler.status(account)), "status");
        vm.assertEq(handler.anchorLog().nextSeq(account), handler.nextSeq(account), "sequence");
        (bytes24 head, uint64 count) = handler.accessLog().head(account);
        vm.assertEq(bytes32(head), bytes32(handler.logHead(account)), "head");
        vm.assertEq(count, handler.logCount(account), "count");
    }

    function _assertPractitioner(address account) private view {
        (address employer, IRegistry.Role role, IRegistry.Status status) = handler.registry().practitionerOf(account);
        vm.assertEq(employer, handler.employer(account), "employer");
        vm.assertEq(uint256(role), uint256(handler.role(account)), "role");
        vm.assertEq(uint256(status), uint256(handler.status(account)), "status");
        bool isActive = status == IRegistry.Status.Active && handler.status(employer) == IRegistry.Status.Active;
        vm.assertEq(handler.registry().isActiveMember(account), isActive, "active");
        for (uint256 i = 0; i < 4; ++i) {
            bytes32 key = handler.patientKey(i);
            (address hospital,) = handler.registry().patientOf(key);
            vm.assertEq(hospital, handler.hospitalOf(key), "hospital");
            bool isLinked = isActive && hospital != address(0) && hospital == employer;
            vm.assertEq(handler.registry().hasCareLink(key, account), isLinked, "care link");
        }
    }

    function _assertAnchor(bytes32 root) private view {
        (uint64 blockNumber, uint64 time, uint64 firstSeq, uint32 count, IAnchorLog.Kind kind) = handler.anchored(root);
        (uint64 storedBlock, uint64 storedTime, uint32 storedCount, uint64 storedFirst, IAnchorLog.Kind storedKind) =
            handler.anchorLog().anchorOf(root);
        vm.assertEq(storedBlock, blockNumber, "block");
        vm.assertEq(storedTime, time, "time");
        vm.assertEq(storedCount, count, "count");
        vm.assertEq(storedFirst, firstSeq, "first");
        vm.assertEq(uint256(storedKind), uint256(kind), "kind");
    }

    function _assertSeries(string memory identifier) private view {
        (address organisation, uint32 count, bytes32 digest) = handler.series(keccak256(bytes(identifier)));
        (address owner, uint32 stored) = handler.store().versionsOf(identifier);
        vm.assertEq(owner, organisation, "owner");
        vm.assertEq(stored, count, "versions");
        if (count != 0) vm.assertEq(keccak256(bytes(handler.store().getData(identifier))), digest, "data");
    }
}
