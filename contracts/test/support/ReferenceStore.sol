// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @dev The way of the published reference system, for the comparison of gas: a string in storage for each record,
/// no check of the writer, nothing kept of older versions.
contract ReferenceStore {
    mapping(string identifier => string) private _data;

    function storeData(string memory identifier, string memory data) public {
        _data[identifier] = data;
    }

    function getData(string memory identifier) public view returns (string memory) {
        return _data[identifier];
    }
}
