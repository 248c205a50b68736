// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessLog} from "../src/interfaces/IAccessLog.sol";
import {Fixture} from "./support/Fixture.sol";

contract AccessLogTest is Fixture {
    function test_Append() public {
        bytes32[] memory leaves = _leaves(2, 0);
        vm.expectEmit(address(accessLog));
        emit IAccessLog.AccessLogged(hospital, 0, leaves);
        _append(hospital, 0, leaves);

        bytes24 expected = bytes24(sha256(abi.encodePacked(bytes24(0), leaves[0])));
        expected = bytes24(sha256(abi.encodePacked(expected, leaves[1])));
        _assertHead(hospital, expected, 2);
        _assertHead(otherHospital, 0, 0);

        bytes32[] memory more = _leaves(1, 2);
        vm.expectEmit(address(accessLog));
        emit IAccessLog.AccessLogged(hospital, 2, more);
        _append(hospital, 2, more);
        _assertHead(hospital, bytes24(sha256(abi.encodePacked(expected, more[0]))), 3);
    }

    function test_LoggingNeverStops() public {
        _append(suspendedHospital, 0, _leaves(3, 0));
        (, uint64 count) = accessLog.head(suspendedHospital);
        vm.assertEq(count, 3);
        vm.assertEq(address(accessLog.registry()), address(registry));
    }

    function test_AppendRefusals() public {
        vm.expectRevert(IAccessLog.AccessLogEmpty.selector);
        _append(hospital, 0, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.AccessLogWrongSequence.selector, 0, 1));
        _append(hospital, 1, _leaves(1, 0));
        _append(hospital, 0, _leaves(5, 0));
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.AccessLogWrongSequence.selector, 5, 0));
        _append(hospital, 0, _leaves(5, 0));
    }

    function test_Emergency() public {
        vm.expectEmit(address(accessLog));
        emit IAccessLog.EmergencyMarked(hospital, keccak256("leaf"));
        vm.prank(hospital);
        accessLog.emergency(keccak256("leaf"));
        _assertHead(hospital, 0, 0);

        vm.expectRevert(IAccessLog.AccessLogEmpty.selector);
        vm.prank(hospital);
        accessLog.emergency(bytes32(0));
    }

    /// @dev Any split of the same leaves into calls gives the same head, any other order another.
    function testFuzz_HeadDependsOnOrderOnly(uint8 size, uint8 cut, uint8 first, uint8 second) public {
        uint256 count = _bound(size, 2, 40);
        uint256 part = _bound(cut, 1, count - 1);
        bytes32[] memory leaves = _leaves(count, 7);
        _append(hospital, 0, leaves);

        _append(otherHospital, 0, _slice(leaves, 0, part));
        _append(otherHospital, uint64(part), _slice(leaves, part, count));
        (bytes24 whole,) = accessLog.head(hospital);
        _assertHead(otherHospital, whole, uint64(count));

        uint256 i = first % count;
        uint256 j = second % count;
        vm.assume(i != j);
        (leaves[i], leaves[j]) = (leaves[j], leaves[i]);
        _append(insurer, 0, leaves);
        (bytes24 swapped,) = accessLog.head(insurer);
        vm.assertTrue(swapped != whole);
    }

    function testFuzz_AWrongSequenceIsRefused(uint64 given, uint8 size) public {
        uint256 count = _bound(size, 1, 30);
        _append(hospital, 0, _leaves(count, 0));
        vm.assume(given != count);
        vm.expectRevert(abi.encodeWithSelector(IAccessLog.AccessLogWrongSequence.selector, count, given));
        _append(hospital, given, _leaves(1, 0));
    }

    function _append(address sender, uint64 first, bytes32[] memory leaves) private {
        vm.prank(sender);
        accessLog.append(first, leaves);
    }

    function _assertHead(address organisation, bytes24 expected, uint64 expectedCount) private view {
        (bytes24 rolling, uint64 count) = accessLog.head(organisation);
        vm.assertEq(bytes32(rolling), bytes32(expected), "head");
        vm.assertEq(count, expectedCount, "count");
    }

    function _leaves(uint256 size, uint256 seed) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
    }

    function _slice(bytes32[] memory leaves, uint256 from, uint256 to) private pure returns (bytes32[] memory part) {
        part = new bytes32[](to - from);
        for (uint256 i = from; i < to; ++i) {
            part[i - from] = leaves[i];
        }
    }
}
