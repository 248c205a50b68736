// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {Registry} from "../../src/Registry.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {Vm} from "../support/Vm.sol";
import {IdentityHandler} from "./IdentityHandler.sol";

contract IdentityInvariantsTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    IdentityHandler private handler;

    function setUp() public {
        vm.warp(1_800_000_000);
        vm.roll(1000);
        address regulator = address(0x6001);
        address hospital = address(0x6002);
        address doctor = address(0x6003);
        Registry registry = new Registry(address(new AccessManager(regulator)));
        vm.prank(regulator);
        registry.admitOrganisation(hospital, IRegistry.Kind.Hospital, keccak256("evidence"));
        vm.prank(hospital);
        registry.registerPractitioner(doctor, IRegistry.Role.Doctor);
        handler = new IdentityHandler(registry, regulator, doctor, hospital);
        handler.register(0);
        handler.register(1);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_NoRuleIsBroken() external view {
        if (handler.faultCount() != 0) vm.assertEq(handler.faults(0), "");
    }

    function afterInvariant() external view {
        _assertStorageIsAsTold();
    }

    /// @dev The campaign is worth nothing if its steps do not happen.
    function test_TheHandlerReachesEveryStep() external {
        for (uint256 i = 0; i < 1500; ++i) {
            _randomStep(uint256(keccak256(abi.encode("seed", i))));
        }
        string[10] memory steps = [
            "register", "announce", "rotate", "rotate sealed", "propose", "confirm", "reject", "cancel", "execute", "standing"
        ];
        for (uint256 i = 0; i < steps.length; ++i) {
            vm.assertGe(handler.successes(steps[i]), 1, steps[i]);
        }
        if (handler.faultCount() != 0) vm.assertEq(handler.faults(0), "");
        _assertStorageIsAsTold();
    }

    function _randomStep(uint256 seed) private {
        uint256 a = seed >> 8;
        uint256 b = seed >> 40;
        uint256 step = seed % 13;
        if (step == 0) handler.register(a);
        if (step == 1) handler.announce(a, b % 2 == 0);
        if (step == 2 || step == 3) handler.rotate(a, b);
        if (step == 4 || step == 5) handler.propose(a, b);
        if (step == 6) handler.confirm(a, b);
        if (step == 7) handler.reject(a, b);
        if (step == 8) handler.cancel(a, b);
        if (step == 9) handler.execute(a);
        if (step == 10) handler.standing(b);
        if (step > 10) handler.pass(b);
    }

    function _assertStorageIsAsTold() private view {
        Registry registry = handler.registry();
        for (uint256 i = 0; i < handler.PATIENTS(); ++i) {
            bytes32 key = handler.patientKey(i);
            (bytes32 commitment,, uint256 links) = handler.patients(key);
            (address hospital, bytes32 kept) = registry.patientOf(key);
            vm.assertEq(hospital, links == 0 ? address(0) : handler.hospital(), "hospital");
            vm.assertEq(kept, commitment, "commitment");
            vm.assertEq(registry.rotationLockOf(key), handler.lockOf(key), "lock");
            _assertRecovery(registry, key);
        }
    }

    function _assertRecovery(Registry registry, bytes32 key) private view {
        (bytes32 commitment,, uint48 proposedAt, uint48 executableAt) = handler.recoveries(key);
        (bytes32 kept, bytes32 lock, uint48 keptProposedAt, uint48 keptExecutableAt) = registry.recoveryOf(key);
        vm.assertEq(kept, commitment, "new commitment");
        vm.assertEq(lock, handler.recoveryLockOf(key), "new lock");
        vm.assertEq(keptProposedAt, proposedAt, "proposed");
        vm.assertEq(keptExecutableAt, executableAt, "executable");
    }
}
