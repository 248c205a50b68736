// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";

/// @dev Analysed with the real sources and never deployed: if slither does not report this one, it reports nothing.
contract Planted {
    mapping(bytes32 id => bool) private _isDone;

    function execute(IAccessManager manager, bytes32 id, address target, bytes calldata data) external {
        require(!_isDone[id], "done");
        manager.execute(target, data);
        _isDone[id] = true;
    }
}
