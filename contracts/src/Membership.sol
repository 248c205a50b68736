// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IRegistry} from "./interfaces/IRegistry.sol";

/// @dev What the logs and stores share: the registry they ask, fixed at deployment.
abstract contract Membership {
    IRegistry private immutable _registry;

    constructor(IRegistry registry_) {
        _registry = registry_;
    }

    function registry() public view virtual returns (IRegistry) {
        return _registry;
    }

    function _isActiveOrganisation(address account) internal view returns (bool) {
        // The kind does not matter here.
        // slither-disable-next-line unused-return
        (, IRegistry.Status status) = _registry.organisationStatus(account);
        return status == IRegistry.Status.Active;
    }
}
