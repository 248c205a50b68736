// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IRegistry} from "./IRegistry.sol";

/// @title One salted leaf for each look at a record, in an order that cannot be changed
/// @notice The rolling head lets anyone with the events prove that no entry is missing or altered.
interface IAccessLog {
    /// @notice An organisation appended leaves, numbered from `firstSeq`.
    event AccessLogged(address indexed organisation, uint64 firstSeq, bytes32[] leaves);
    /// @notice An organisation marked the leaf of an emergency access, for the regulator's counts.
    event EmergencyMarked(address indexed organisation, bytes32 leaf);

    /// @notice The sender was never admitted as an organisation, or is expelled.
    error AccessLogNotOrganisation(address sender);
    /// @notice The list was empty, or the emergency leaf zero.
    error AccessLogEmpty();
    /// @notice The leaves do not follow the sender's last ones; a batch sent twice ends here.
    error AccessLogWrongSequence(uint64 expected, uint64 given);

    /// @notice Appends leaves. Active organisations and suspended ones: logging never stops.
    /// @param firstSeq The sender's count so far, 0 the first time.
    function append(uint64 firstSeq, bytes32[] calldata leaves) external;

    /// @notice Marks the leaf of an emergency access. Active organisations and suspended ones.
    function emergency(bytes32 leaf) external;

    /// @notice Rolling head and count of an organisation's leaves.
    /// @dev head' = first 24 bytes of SHA-256(head || leaf), from 24 zero bytes.
    function head(address organisation) external view returns (bytes24 rollingHead, uint64 count);

    /// @notice The registry that says who is an organisation.
    function registry() external view returns (IRegistry);
}
