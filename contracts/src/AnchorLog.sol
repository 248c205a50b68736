// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAnchorLog} from "./interfaces/IAnchorLog.sol";
import {IRegistry} from "./interfaces/IRegistry.sol";
import {Membership} from "./Membership.sol";

/// @notice The interface says what every function does and refuses.
contract AnchorLog is IAnchorLog, Membership {
    /// @dev One slot.
    struct Anchor {
        uint64 blockNumber;
        uint64 time;
        uint64 firstSeq;
        uint32 count;
        Kind kind;
    }

    mapping(bytes32 root => Anchor) private _anchors;
    mapping(address organisation => uint64) private _nextSeq;

    constructor(IRegistry registry_) Membership(registry_) {}

    /// @inheritdoc IAnchorLog
    function anchor(bytes32 root, uint64 firstSeq, uint32 count, Kind kind) external {
        require(_isActiveOrganisation(msg.sender), AnchorLogNotActiveOrganisation(msg.sender));
        require(root != bytes32(0) && count != 0, AnchorLogEmpty());
        uint64 expected = _nextSeq[msg.sender];
        require(firstSeq == expected, AnchorLogWrongSequence(expected, firstSeq));
        require(_anchors[root].blockNumber == 0, AnchorLogAlreadyAnchored(root));

        _nextSeq[msg.sender] = expected + count;
        _anchors[root] = Anchor({
            blockNumber: uint64(block.number),
            time: uint64(block.timestamp),
            firstSeq: firstSeq,
            count: count,
            kind: kind
        });
        emit Anchored(msg.sender, root, firstSeq, count, kind);
    }

    /// @inheritdoc IAnchorLog
    function nextSeq(address organisation) external view returns (uint64) {
        return _nextSeq[organisation];
    }

    /// @inheritdoc IAnchorLog
    function anchorOf(bytes32 root)
        external
        view
        returns (uint64 blockNumber, uint64 time, uint32 count, uint64 firstSeq, Kind kind)
    {
        Anchor memory entry = _anchors[root];
        return (entry.blockNumber, entry.time, entry.count, entry.firstSeq, entry.kind);
    }

    /// @inheritdoc IAnchorLog
    function verify(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        uint256 count = _anchors[root].count;
        if (index >= count) return false;

        uint256 position = index;
        uint256 last = count - 1;
        bytes32 node = leaf;
        // The count shares its slot with a time, and slither takes it for one.
        // slither-disable-start incorrect-equality
        for (uint256 i = 0; i < proof.length; ++i) {
            if (last == 0) return false;
            if (position & 1 == 1 || position == last) {
                node = _parent(proof[i], node);
                // A last node without sibling moves up unchanged until it is a right child.
                while (position & 1 == 0 && position != 0) {
                    position >>= 1;
                    last >>= 1;
                }
            } else {
                node = _parent(node, proof[i]);
            }
            position >>= 1;
            last >>= 1;
        }
        return last == 0 && node == root;
        // slither-disable-end incorrect-equality
    }

    /// @inheritdoc IAnchorLog
    function registry() public view override(IAnchorLog, Membership) returns (IRegistry) {
        return Membership.registry();
    }

    function _parent(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }
}
