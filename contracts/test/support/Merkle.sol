// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @dev RFC 9162, 2.1: written after the recursive definition, unlike the loop under test.
library Merkle {
    function leafHash(bytes memory data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), data));
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        return _root(leaves, 0, leaves.length);
    }

    function path(bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory) {
        return _path(leaves, index, 0, leaves.length);
    }

    function _root(bytes32[] memory leaves, uint256 from, uint256 to) private pure returns (bytes32) {
        if (to - from == 1) return leaves[from];
        uint256 middle = from + _split(to - from);
        return sha256(abi.encodePacked(bytes1(0x01), _root(leaves, from, middle), _root(leaves, middle, to)));
    }

    function _path(bytes32[] memory leaves, uint256 index, uint256 from, uint256 to)
        private
        pure
        returns (bytes32[] memory)
    {
        if (to - from == 1) return new bytes32[](0);
        uint256 middle = from + _split(to - from);
        return index < middle
            ? _append(_path(leaves, index, from, middle), _root(leaves, middle, to))
            : _append(_path(leaves, index, middle, to), _root(leaves, from, middle));
    }

    /// @dev The largest power of two below n.
    function _split(uint256 n) private pure returns (uint256 k) {
        k = 1;
        while (k * 2 < n) k *= 2;
    }

    function _append(bytes32[] memory list, bytes32 value) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = value;
    }
}
