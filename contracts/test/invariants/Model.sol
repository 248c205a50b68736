// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessLog} from "../../src/interfaces/IAccessLog.sol";
import {IAnchorLog} from "../../src/interfaces/IAnchorLog.sol";
import {IConsents} from "../../src/interfaces/IConsents.sol";
import {IRecordStore} from "../../src/interfaces/IRecordStore.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";

/// @dev What an indexer knows: everything here comes from events, and must equal what the contracts store.
abstract contract Model {
    struct Anchored {
        uint64 blockNumber;
        uint64 time;
        uint64 firstSeq;
        uint32 count;
        IAnchorLog.Kind kind;
    }

    struct Series {
        address organisation;
        uint32 count;
        bytes32 digest;
    }

    mapping(address => IRegistry.Status) public status;
    mapping(address => IRegistry.Kind) public kind;
    mapping(address => IRegistry.Role) public role;
    mapping(address => address) public employer;
    mapping(bytes32 patientKey => address) public hospitalOf;
    mapping(bytes32 root => Anchored) public anchored;
    bytes32[] public roots;
    mapping(address => uint64) public nextSeq;
    mapping(address => bytes24) public logHead;
    mapping(address => uint64) public logCount;
    mapping(bytes32 digest => uint256) public recordedAt;
    mapping(bytes32 digest => uint256) public revokedAt;
    mapping(bytes32 identifierHash => Series) public series;

    function _isActive(address organisation) internal view returns (bool) {
        return kind[organisation] != IRegistry.Kind.None && status[organisation] == IRegistry.Status.Active;
    }

    function _isSuspended(address organisation) internal view returns (bool) {
        return kind[organisation] != IRegistry.Kind.None && status[organisation] == IRegistry.Status.Suspended;
    }

    function _isActiveMember(address member) internal view returns (bool) {
        return _isActive(member) || (status[member] == IRegistry.Status.Active && _isActive(employer[member]));
    }

    function _apply(bytes32[] memory topics, bytes memory data) internal virtual {
        bytes32 signature = topics[0];
        if (signature == IAnchorLog.Anchored.selector) return _applyAnchored(topics, data);
        if (signature == IAccessLog.AccessLogged.selector) return _applyAccessLogged(topics, data);
        if (signature == IConsents.ConsentRecorded.selector) recordedAt[topics[1]] = block.timestamp;
        if (signature == IConsents.ConsentRevoked.selector) revokedAt[topics[1]] = block.timestamp;
        if (signature == IRegistry.PatientRegistered.selector) hospitalOf[topics[1]] = _address(topics[2]);
        if (signature == IRecordStore.HealthRecordUpdated.selector) {
            (series[topics[1]].count, series[topics[1]].digest) = abi.decode(data, (uint32, bytes32));
        }
        _applyMember(signature, topics, data);
    }

    function _applyMember(bytes32 signature, bytes32[] memory topics, bytes memory data) private {
        address organisation = topics.length > 1 ? _address(topics[1]) : address(0);
        if (signature == IRegistry.OrganisationAdmitted.selector) {
            (kind[organisation],,) = abi.decode(data, (IRegistry.Kind, bytes32, address));
            status[organisation] = IRegistry.Status.Active;
        }
        if (signature == IRegistry.OrganisationSuspended.selector) status[organisation] = IRegistry.Status.Suspended;
        if (signature == IRegistry.OrganisationReinstated.selector) status[organisation] = IRegistry.Status.Active;
        if (signature == IRegistry.OrganisationExpelled.selector) status[organisation] = IRegistry.Status.Expelled;
        if (signature == IRegistry.PractitionerRegistered.selector) {
            address practitioner = _address(topics[2]);
            employer[practitioner] = organisation;
            status[practitioner] = IRegistry.Status.Active;
            role[practitioner] = abi.decode(data, (IRegistry.Role));
        }
        if (signature == IRegistry.PractitionerRemoved.selector) {
            status[_address(topics[2])] = IRegistry.Status.Expelled;
        }
    }

    function _applyAnchored(bytes32[] memory topics, bytes memory data) private {
        (uint64 firstSeq, uint32 count, IAnchorLog.Kind anchorKind) =
            abi.decode(data, (uint64, uint32, IAnchorLog.Kind));
        anchored[topics[2]] = Anchored(uint64(block.number), uint64(block.timestamp), firstSeq, count, anchorKind);
        roots.push(topics[2]);
        nextSeq[_address(topics[1])] = firstSeq + count;
    }

    function _applyAccessLogged(bytes32[] memory topics, bytes memory data) private {
        address organisation = _address(topics[1]);
        (uint64 firstSeq, bytes32[] memory leaves) = abi.decode(data, (uint64, bytes32[]));
        for (uint256 i = 0; i < leaves.length; ++i) {
            logHead[organisation] = bytes24(sha256(abi.encodePacked(logHead[organisation], leaves[i])));
        }
        logCount[organisation] = firstSeq + uint64(leaves.length);
    }

    function _address(bytes32 topic) private pure returns (address) {
        return address(uint160(uint256(topic)));
    }

    function rootCount() external view returns (uint256) {
        return roots.length;
    }
}
