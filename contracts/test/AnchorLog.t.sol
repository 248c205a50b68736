// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAnchorLog} from "../src/interfaces/IAnchorLog.sol";
import {Fixture} from "./support/Fixture.sol";
import {Merkle} from "./support/Merkle.sol";

contract AnchorLogTest is Fixture {
    bytes32 private constant ROOT = keccak256("root");

    function test_Anchor() public {
        vm.expectEmit(address(anchorLog));
        emit IAnchorLog.Anchored(hospital, ROOT, 0, 1024, IAnchorLog.Kind.AuditHeads);
        _anchor(hospital, ROOT, 0, 1024, IAnchorLog.Kind.AuditHeads);

        vm.assertEq(anchorLog.nextSeq(hospital), 1024);
        vm.assertEq(anchorLog.nextSeq(otherHospital), 0);
        _assertAnchor(ROOT, START_BLOCK, START_TIME, 1024, 0, IAnchorLog.Kind.AuditHeads);

        vm.roll(START_BLOCK + 1);
        vm.warp(START_TIME + 2);
        _anchor(hospital, keccak256("root 2"), 1024, 3, IAnchorLog.Kind.ChainHead);
        _anchor(otherHospital, keccak256("root 3"), 0, 1, IAnchorLog.Kind.KeyDirectory);
        vm.assertEq(anchorLog.nextSeq(hospital), 1027);
        vm.assertEq(anchorLog.nextSeq(otherHospital), 1);
        _assertAnchor(
            keccak256("root 2"), START_BLOCK + 1, START_TIME + 2, 3, 1024, IAnchorLog.Kind.ChainHead
        );
    }

    function test_UnknownRootIsAllZero() public view {
        _assertAnchor(ROOT, 0, 0, 0, 0, IAnchorLog.Kind.Records);
        vm.assertEq(address(anchorLog.registry()), address(registry));
    }

    function test_AnchorRefusals() public {
        vm.expectRevert(IAnchorLog.AnchorLogEmpty.selector);
        _anchor(hospital, bytes32(0), 0, 1, IAnchorLog.Kind.Records);
        vm.expectRevert(IAnchorLog.AnchorLogEmpty.selector);
        _anchor(hospital, ROOT, 0, 0, IAnchorLog.Kind.Records);
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.AnchorLogWrongSequence.selector, 0, 1));
        _anchor(hospital, ROOT, 1, 1, IAnchorLog.Kind.Records);

        _anchor(hospital, ROOT, 0, 4, IAnchorLog.Kind.Records);
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.AnchorLogWrongSequence.selector, 4, 0));
        _anchor(hospital, ROOT, 0, 4, IAnchorLog.Kind.Records);
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.AnchorLogAlreadyAnchored.selector, ROOT));
        _anchor(hospital, ROOT, 4, 4, IAnchorLog.Kind.Records);
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.AnchorLogAlreadyAnchored.selector, ROOT));
        _anchor(otherHospital, ROOT, 0, 4, IAnchorLog.Kind.Records);
    }

    function test_SequenceCannotOverflow() public {
        // Four thousand million full batches away; a wrong state would still not wrap round to an old number.
        bytes32 slot = keccak256(abi.encode(hospital, uint256(1)));
        vm.assertEq(uint256(vm.load(address(anchorLog), slot)), 0);
        _anchor(hospital, ROOT, 0, type(uint32).max, IAnchorLog.Kind.Records);
        vm.assertEq(uint256(vm.load(address(anchorLog), slot)), type(uint32).max);
        vm.assertEq(anchorLog.nextSeq(hospital), type(uint32).max);
    }

    function test_EveryLeafOfEveryTree() public {
        uint64 first;
        for (uint256 size = 1; size <= 66; ++size) {
            if (size == 35) size = 63; // every shape below 35, then both sides of 64
            bytes32[] memory leaves = _leaves(size, size);
            bytes32 root = Merkle.root(leaves);
            _anchor(hospital, root, first, uint32(size), IAnchorLog.Kind.Records);
            first += uint64(size);
            for (uint256 index = 0; index < size; ++index) {
                vm.assertTrue(anchorLog.verify(root, leaves[index], index, Merkle.path(leaves, index)));
            }
        }
    }

    /// @dev The eight leaves and their roots by number, from the reference vectors of Certificate Transparency.
    function test_KnownRoots() public {
        bytes32[] memory leaves = new bytes32[](3);
        leaves[0] = Merkle.leafHash("");
        leaves[1] = Merkle.leafHash(hex"00");
        leaves[2] = Merkle.leafHash(hex"10");
        vm.assertEq(leaves[0], 0x6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d);
        bytes32 root = 0xaeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77;
        vm.assertEq(Merkle.root(leaves), root);
        _anchor(hospital, root, 0, 3, IAnchorLog.Kind.Records);
        vm.assertTrue(anchorLog.verify(root, leaves[2], 2, Merkle.path(leaves, 2)));
    }

    function test_VerifyUnknownRootOrIndex() public {
        bytes32[] memory leaves = _leaves(1, 1);
        bytes32[] memory none = new bytes32[](0);
        vm.assertFalse(anchorLog.verify(leaves[0], leaves[0], 0, none));
        _anchor(hospital, leaves[0], 0, 1, IAnchorLog.Kind.Records);
        vm.assertTrue(anchorLog.verify(leaves[0], leaves[0], 0, none));
        vm.assertFalse(anchorLog.verify(leaves[0], leaves[0], 1, none));
        vm.assertFalse(anchorLog.verify(leaves[0], leaves[0], type(uint256).max, none));
        vm.assertFalse(anchorLog.verify(leaves[0], ROOT, 0, none));
    }

    /// @dev With its sibling an inner node hashes to the root, but it is at no leaf's depth.
    function test_VerifyRefusesInnerNodes() public {
        bytes32[] memory leaves = _leaves(4, 4);
        bytes32 root = Merkle.root(leaves);
        _anchor(hospital, root, 0, 4, IAnchorLog.Kind.Records);
        bytes32 inner = sha256(abi.encodePacked(bytes1(0x01), leaves[0], leaves[1]));
        bytes32[] memory path = new bytes32[](1);
        path[0] = sha256(abi.encodePacked(bytes1(0x01), leaves[2], leaves[3]));
        vm.assertFalse(anchorLog.verify(root, inner, 0, path));
        vm.assertFalse(anchorLog.verify(root, root, 0, new bytes32[](0)));
        vm.assertFalse(anchorLog.verify(root, leaves[1], 5, Merkle.path(leaves, 1)));
        vm.assertTrue(anchorLog.verify(root, leaves[1], 1, Merkle.path(leaves, 1)));
    }

    function testFuzz_VerifyRefusesAnythingElse(uint256 seed, uint256 size, uint256 index, uint8 change) public {
        size = _bound(size, 2, 80);
        index = _bound(index, 0, size - 1);
        bytes32[] memory leaves = _leaves(size, seed);
        bytes32 root = Merkle.root(leaves);
        bytes32[] memory path = Merkle.path(leaves, index);
        _anchor(hospital, root, 0, uint32(size), IAnchorLog.Kind.Records);
        vm.assertTrue(anchorLog.verify(root, leaves[index], index, path));

        uint256 other = (index + 1 + seed % (size - 1)) % size;
        vm.assertFalse(anchorLog.verify(root, leaves[other], index, path), "other leaf");
        vm.assertFalse(anchorLog.verify(root, leaves[index], other, path), "other index");
        vm.assertFalse(anchorLog.verify(root, leaves[index], index + size, path), "index beyond");
        vm.assertFalse(anchorLog.verify(root, leaves[index], index, _resized(path, path.length + 1)), "longer");
        vm.assertFalse(anchorLog.verify(root, leaves[index], index, _resized(path, path.length - 1)), "shorter");
        path[change % path.length] ^= bytes32(uint256(1) << change);
        vm.assertFalse(anchorLog.verify(root, leaves[index], index, path), "other path");
    }

    function testFuzz_AWrongSequenceIsRefused(uint64 given, uint32 count) public {
        count = uint32(_bound(count, 1, type(uint32).max));
        _anchor(hospital, ROOT, 0, count, IAnchorLog.Kind.Records);
        vm.assume(given != count);
        vm.expectRevert(abi.encodeWithSelector(IAnchorLog.AnchorLogWrongSequence.selector, count, given));
        _anchor(hospital, keccak256("root 2"), given, 1, IAnchorLog.Kind.Records);
    }

    function _anchor(address sender, bytes32 root, uint64 first, uint32 count, IAnchorLog.Kind kind) private {
        vm.prank(sender);
        anchorLog.anchor(root, first, count, kind);
    }

    function _assertAnchor(
        bytes32 root,
        uint256 blockNumber,
        uint256 time,
        uint256 count,
        uint256 first,
        IAnchorLog.Kind kind
    ) private view {
        (uint64 actualBlock, uint64 actualTime, uint32 actualCount, uint64 actualFirst, IAnchorLog.Kind actualKind) =
            anchorLog.anchorOf(root);
        vm.assertEq(actualBlock, blockNumber, "block");
        vm.assertEq(actualTime, time, "time");
        vm.assertEq(actualCount, count, "count");
        vm.assertEq(actualFirst, first, "first");
        vm.assertEq(uint256(actualKind), uint256(kind), "kind");
    }

    function _leaves(uint256 size, uint256 seed) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = Merkle.leafHash(abi.encode(seed, i));
        }
    }

    function _resized(bytes32[] memory path, uint256 length) private pure returns (bytes32[] memory other) {
        other = new bytes32[](length);
        for (uint256 i = 0; i < length && i < path.length; ++i) {
            other[i] = path[i];
        }
    }
}
