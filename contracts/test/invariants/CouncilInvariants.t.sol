// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {Council} from "../../src/Council.sol";
import {Registry} from "../../src/Registry.sol";
import {ICouncil} from "../../src/interfaces/ICouncil.sol";
import {Governance} from "../support/Governance.sol";
import {Vm} from "../support/Vm.sol";
import {CouncilHandler} from "./CouncilHandler.sol";

contract CouncilInvariantsTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    CouncilHandler private handler;

    function setUp() public {
        vm.warp(1_800_000_000);
        address[] memory officers = new address[](3);
        for (uint256 i = 0; i < 3; ++i) {
            officers[i] = address(uint160(0x4000 + i));
        }
        AccessManager manager = new AccessManager(address(this));
        Council council = new Council(manager, officers, 2);
        Registry registry = new Registry(address(manager));
        // The regulator's key is one of those that try everything.
        Governance.handOver(manager, council, registry, address(0x4006));
        handler = new CouncilHandler(manager, council, registry, address(manager));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_NoRuleIsBroken() external view {
        if (handler.faultCount() != 0) vm.assertEq(handler.faults(0), "");
    }

    function afterInvariant() external view {
        _assertStorageEqualsEvents();
    }

    /// @dev The campaign is worth nothing if its steps do not happen.
    function test_TheHandlerReachesEveryStep() external {
        for (uint256 i = 0; i < 1500; ++i) {
            _randomStep(uint256(keccak256(abi.encode("seed", i))));
        }
        string[6] memory steps = ["propose", "approve", "execute", "cancel", "decide", "change officers"];
        for (uint256 i = 0; i < steps.length; ++i) {
            vm.assertGe(handler.successes(steps[i]), 1, steps[i]);
        }
        vm.assertEq(handler.successes("usurp"), 0, "usurp");
        if (handler.faultCount() != 0) vm.assertEq(handler.faults(0), "");
        _assertStorageEqualsEvents();
    }

    function _randomStep(uint256 seed) private {
        uint256 a = seed >> 8;
        uint256 b = seed >> 40;
        uint256 c = seed >> 80;
        uint256 step = seed % 12;
        if (step == 0) handler.propose(a, b, c);
        if (step > 0 && step < 5) handler.approve(a, b);
        if (step > 4 && step < 8) handler.execute(a, b);
        if (step == 8) handler.cancel(a, b, c);
        if (step == 9) handler.usurp(a, b);
        if (step > 9) handler.pass(a);
    }

    function _assertStorageEqualsEvents() private view {
        Council council = handler.council();
        address[] memory officers = handler.officers();
        vm.assertEq(keccak256(abi.encode(council.officers())), keccak256(abi.encode(officers)), "officers");
        vm.assertEq(council.threshold(), handler.threshold(), "threshold");
        vm.assertTrue(officers.length == 1 || council.threshold() > 1, "no single key of several");
        for (uint256 i = 0; i < handler.PEOPLE(); ++i) {
            address person = handler.person(i);
            vm.assertEq(council.isOfficer(person), handler.isOfficer(person), "officer");
        }
        for (uint256 i = 0; i < handler.proposalCount(); ++i) {
            _assertProposal(handler.ids(i));
            _assertApprovals(handler.ids(i));
        }
        (uint32 version,,) = handler.registry().releaseOf("AnchorLog");
        vm.assertEq(version, handler.lastVersion(), "version");
    }

    function _assertProposal(bytes32 id) private view {
        (address target, address proposer, ICouncil.State state,, bytes32 dataHash) = handler.entries(id);
        (address kept, bytes32 keptHash, address by, uint8 approvals, ICouncil.State keptState, uint48 due) =
            handler.council().proposalOf(id);
        vm.assertEq(kept, target, "target");
        vm.assertEq(keptHash, dataHash, "data");
        vm.assertEq(by, proposer, "proposer");
        vm.assertEq(approvals, handler.approvals(id), "approvals");
        vm.assertEq(uint256(keptState), uint256(state), "state");
        vm.assertEq(due, handler.executableAt(id), "executable");
    }

    function _assertApprovals(bytes32 id) private view {
        for (uint256 i = 0; i < handler.PEOPLE(); ++i) {
            address person = handler.person(i);
            vm.assertEq(handler.council().hasApproved(id, person), handler.approvedBy(id, person), "approved");
        }
    }
}
