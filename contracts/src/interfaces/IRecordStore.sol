// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IRegistry} from "./IRegistry.sol";

/// @title Small sealed records and anchor envelopes, kept whole on chain
/// @notice `storeData` and `getData` have the ABI of the published reference system; nothing is ever overwritten.
interface IRecordStore {
    /// @notice A version was stored. The hash is keccak256 of the identifier, the digest keccak256 of the data.
    event HealthRecordUpdated(
        bytes32 indexed identifierHash, uint32 version, address indexed writer, bytes32 digest
    );

    /// @notice The sender is not an active member of an active hospital.
    error RecordStoreNotActiveMember(address sender);
    /// @notice Another hospital wrote this identifier first.
    error RecordStoreNotOwner(bytes32 identifierHash, address sender);
    /// @notice The identifier is empty or above `MAX_IDENTIFIER` bytes.
    error RecordStoreIdentifierLength(uint256 length);
    /// @notice The data are empty or above `MAX_DATA` bytes.
    error RecordStoreDataLength(uint256 length);
    /// @notice There is no such version.
    error RecordStoreUnknownVersion(bytes32 identifierHash, uint32 version);

    /// @notice Stores the first or next version under an identifier; the first writer's hospital owns it.
    /// @param identifier Random, 1 to `MAX_IDENTIFIER` bytes.
    /// @param data Sealed bytes or an anchor envelope as text, 1 to `MAX_DATA` bytes; never content.
    function storeData(string calldata identifier, string calldata data) external;

    /// @notice The newest version; "" for an unknown identifier.
    function getData(string calldata identifier) external view returns (string memory);

    /// @notice Hospital that owns an identifier and how many versions there are; zero if unknown.
    function versionsOf(string calldata identifier) external view returns (address organisation, uint32 count);

    /// @notice One version, counted from 1, with the time it was stored.
    function versionAt(string calldata identifier, uint32 version)
        external
        view
        returns (string memory data, uint64 storedAt);

    /// @notice Longest identifier in bytes.
    function MAX_IDENTIFIER() external view returns (uint256);

    /// @notice Longest data in bytes.
    function MAX_DATA() external view returns (uint256);

    /// @notice The registry that says who is active.
    function registry() external view returns (IRegistry);
}
