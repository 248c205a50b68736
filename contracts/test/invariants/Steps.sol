// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Vm} from "../support/Vm.sol";

/// @dev One step of a campaign: it happens or not, and either must be what the model says is due.
abstract contract Steps {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    mapping(string step => uint256) public successes;
    string[] public faults;

    function faultCount() external view returns (uint256) {
        return faults.length;
    }

    /// @dev What an indexer would make of an event.
    function _apply(bytes32[] memory topics, bytes memory data) internal virtual;

    function _step(string memory name, address sender, address target, bytes memory data, bool isDue)
        internal
        returns (bool success)
    {
        vm.recordLogs();
        vm.prank(sender);
        (success,) = target.call(data);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        // forge also records what was emitted before a revert.
        for (uint256 i = 0; success && i < logs.length; ++i) {
            _apply(logs[i].topics, logs[i].data);
        }
        if (success) ++successes[name];
        if (success != isDue) _fault(string.concat(name, success ? " by the wrong one" : " refused"));
    }

    function _fault(string memory what) internal {
        faults.push(what);
    }
}
