// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IRegistry} from "./IRegistry.sol";

/// @title Merkle roots with the block they were there by
/// @notice One slot a root whatever the batch holds, so the cost of a record falls with the size of its batch.
interface IAnchorLog {
    /// @notice What the leaves under a root are.
    enum Kind {
        Records,
        KeyDirectory,
        AuditHeads,
        ChainHead
    }

    /// @notice An organisation anchored a root over `count` leaves, numbered from `firstSeq`.
    event Anchored(
        address indexed organisation, bytes32 indexed root, uint64 firstSeq, uint32 count, Kind kind
    );

    /// @notice The sender is not an active organisation.
    error AnchorLogNotActiveOrganisation(address sender);
    /// @notice The root was zero or the batch empty.
    error AnchorLogEmpty();
    /// @notice The batch does not follow the sender's last one; a batch sent twice ends here.
    error AnchorLogWrongSequence(uint64 expected, uint64 given);
    /// @notice The root is anchored already, by whomever.
    error AnchorLogAlreadyAnchored(bytes32 root);

    /// @notice Anchors a root. Active organisations only.
    /// @param root RFC 9162 tree head over SHA-256.
    /// @param firstSeq The sender's next sequence number, 0 the first time.
    /// @param count Leaves in the tree.
    /// @param kind What the leaves are.
    function anchor(bytes32 root, uint64 firstSeq, uint32 count, Kind kind) external;

    /// @notice The sequence number with which an organisation's next batch must begin.
    function nextSeq(address organisation) external view returns (uint64);

    /// @notice What is known of a root; all zero if it was never anchored. Who anchored it is in the event.
    function anchorOf(bytes32 root)
        external
        view
        returns (uint64 blockNumber, uint64 time, uint32 count, uint64 firstSeq, Kind kind);

    /// @notice Whether a leaf is at an index of an anchored tree (RFC 9162, 2.1.3.2).
    /// @param leaf The leaf hash, SHA-256(0x00 || data).
    /// @param proof Sibling hashes from the leaf upwards.
    function verify(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata proof)
        external
        view
        returns (bool);

    /// @notice The registry that says who is active.
    function registry() external view returns (IRegistry);
}
