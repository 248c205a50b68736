// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {Council} from "../../src/Council.sol";
import {Registry} from "../../src/Registry.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";

/// @dev The hand-over at the end of a deployment, step by step: afterwards no single key has the admin's rights.
library Governance {
    uint32 internal constant DELAY = 2 days;
    uint64 internal constant ADMIN_ROLE = 0;
    uint64 internal constant REGULATOR_ROLE = 1;
    uint64 internal constant RELEASE_ROLE = 2;

    function regulatorFunctions() internal pure returns (bytes4[] memory selectors) {
        selectors = new bytes4[](6);
        selectors[0] = IRegistry.admitOrganisation.selector;
        selectors[1] = IRegistry.suspendOrganisation.selector;
        selectors[2] = IRegistry.reinstateOrganisation.selector;
        selectors[3] = IRegistry.expelOrganisation.selector;
        selectors[4] = IRegistry.confirmRecovery.selector;
        selectors[5] = IRegistry.rejectRecovery.selector;
    }

    /// @dev The caller is the deployer, the AccessManager's first admin.
    function handOver(AccessManager manager, Council council, Registry registry, address regulator) internal {
        bytes4[] memory release = new bytes4[](1);
        release[0] = IRegistry.announceRelease.selector;
        bytes4[] memory officers = new bytes4[](1);
        officers[0] = Council.setOfficers.selector;
        manager.setTargetFunctionRole(address(registry), regulatorFunctions(), REGULATOR_ROLE);
        manager.setTargetFunctionRole(address(registry), release, RELEASE_ROLE);
        manager.setTargetFunctionRole(address(council), officers, RELEASE_ROLE);
        manager.grantRole(REGULATOR_ROLE, regulator, 0);
        manager.grantRole(RELEASE_ROLE, address(council), DELAY);
        manager.grantRole(ADMIN_ROLE, address(council), DELAY);
        manager.renounceRole(ADMIN_ROLE, address(this));
    }
}
