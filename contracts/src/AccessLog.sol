// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessLog} from "./interfaces/IAccessLog.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Membership} from "./Membership.sol";

/// @notice The interface says what every function does and refuses.
contract AccessLog is IAccessLog, Membership {
    /// @dev One slot.
    struct Head {
        bytes24 rolling;
        uint64 count;
    }

    mapping(address organisation => Head) private _heads;

    constructor(IRegistry registry_) Membership(registry_) {}

    /// @inheritdoc IAccessLog
    function append(uint64 firstSeq, bytes32[] calldata leaves) external {
        _requireOrganisation(msg.sender);
        require(leaves.length != 0, AccessLogEmpty());
        Head memory current = _heads[msg.sender];
        require(firstSeq == current.count, AccessLogWrongSequence(current.count, firstSeq));

        bytes24 rolling = current.rolling;
        for (uint256 i = 0; i < leaves.length; ++i) {
            rolling = bytes24(sha256(abi.encodePacked(rolling, leaves[i])));
        }
        _heads[msg.sender] = Head({rolling: rolling, count: current.count + uint64(leaves.length)});
        emit AccessLogged(msg.sender, firstSeq, leaves);
    }

    /// @inheritdoc IAccessLog
    function emergency(bytes32 leaf) external {
        _requireOrganisation(msg.sender);
        require(leaf != bytes32(0), AccessLogEmpty());
        emit EmergencyMarked(msg.sender, leaf);
    }

    /// @inheritdoc IAccessLog
    function head(address organisation) external view returns (bytes24 rollingHead, uint64 count) {
        Head memory current = _heads[organisation];
        return (current.rolling, current.count);
    }

    /// @inheritdoc IAccessLog
    function registry() public view override(IAccessLog, Membership) returns (IRegistry) {
        return Membership.registry();
    }

    /// @dev Suspended ones too: a suspension must not make looks at records invisible.
    function _requireOrganisation(address account) private view {
        // The kind does not matter here.
        // slither-disable-next-line unused-return
        (, IRegistry.Status status) = registry().organisationStatus(account);
        require(
            status == IRegistry.Status.Active || status == IRegistry.Status.Suspended,
            AccessLogNotOrganisation(account)
        );
    }
}
