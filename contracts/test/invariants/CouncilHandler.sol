// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {Council} from "../../src/Council.sol";
import {Registry} from "../../src/Registry.sol";
import {ICouncil} from "../../src/interfaces/ICouncil.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {Governance} from "../support/Governance.sol";
import {Steps} from "./Steps.sol";

/// @dev Officers, former officers and strangers propose, approve, execute and cancel as they like. What they get is
/// compared with a model that is fed by the events alone.
contract CouncilHandler is Steps {
    struct Entry {
        address target;
        address proposer;
        ICouncil.State state;
        uint48 executableAt;
        bytes32 dataHash;
    }

    uint256 public constant PEOPLE = 7;

    AccessManager public immutable manager;
    Council public immutable council;
    Registry public immutable registry;
    address public immutable deployed;

    address[] private _officers;
    uint8 public threshold;
    bytes32[] public ids;
    mapping(bytes32 id => Entry) public entries;
    mapping(bytes32 id => mapping(address => bool)) public approvedBy;
    mapping(bytes32 id => bytes) public dataOf;
    mapping(bytes32 operation => bytes32 id) public waiting; // by whose approvals a call waits
    uint32 public lastVersion;

    constructor(AccessManager manager_, Council council_, Registry registry_, address deployed_) {
        (manager, council, registry, deployed) = (manager_, council_, registry_, deployed_);
        (_officers, threshold) = (council_.officers(), council_.threshold());
    }

    // -------------------------------------------------------------------- steps

    function propose(uint256 who, uint256 what, uint256 mood) external {
        address sender = person(who);
        (address target, bytes memory data, bool isSound) = _call(what, mood);
        bytes32 reason = mood % 16 == 0 ? bytes32(0) : keccak256("reason");
        bool isDue = isOfficer(sender) && isSound && reason != bytes32(0);
        if (threshold == 1) isDue = isDue && _canWait(target, data);
        _step("propose", sender, address(council), abi.encodeCall(council.propose, (target, data, reason)), isDue);
    }

    function approve(uint256 who, uint256 which) external {
        if (ids.length == 0) return;
        (address sender, bytes32 id) = (person(who), _recent(which));
        bool isDue = isOfficer(sender) && entries[id].state == ICouncil.State.Proposed && !approvedBy[id][sender];
        if (approvals(id) + 1 >= threshold) isDue = isDue && _canWait(entries[id].target, dataOf[id]);
        _step("approve", sender, address(council), abi.encodeCall(council.approve, (id)), isDue);
    }

    function execute(uint256 who, uint256 which) external {
        if (ids.length == 0) return;
        bytes32 id = _recent(which);
        bool isDue = executableAt(id) != 0 && block.timestamp >= executableAt(id) && _succeeds(id);
        if (_step("execute", person(who), address(council), abi.encodeCall(council.execute, (id)), isDue)) {
            ++successes[entries[id].target == address(council) ? "change officers" : "decide"];
        }
    }

    function cancel(uint256 who, uint256 which, uint256 mood) external {
        if (ids.length == 0 || mood % 3 != 0) return;
        (address sender, bytes32 id) = (person(who), _recent(which));
        ICouncil.State state = entries[id].state;
        bool isDue = isOfficer(sender) && (state == ICouncil.State.Proposed || state == ICouncil.State.Scheduled)
            && (entries[id].target != address(council) || _stays(id, sender));
        _step("cancel", sender, address(council), abi.encodeCall(council.cancel, (id)), isDue);
    }

    /// @dev What a single key may try on its own: nothing of it ever works.
    function usurp(uint256 who, uint256 what) external {
        address sender = person(who);
        bytes memory release = _announce(lastVersion + 1);
        bytes[6] memory tries = [
            abi.encodeCall(manager.grantRole, (Governance.RELEASE_ROLE, sender, 0)),
            abi.encodeCall(manager.grantRole, (Governance.ADMIN_ROLE, sender, 0)),
            abi.encodeCall(manager.setTargetClosed, (address(registry), true)),
            abi.encodeCall(manager.schedule, (address(registry), release, 0)),
            abi.encodeCall(manager.execute, (address(registry), release)),
            abi.encodeCall(manager.updateAuthority, (address(registry), sender))
        ];
        _step("usurp", sender, address(manager), tries[what % 6], false);
        _step("usurp", sender, address(registry), release, false);
        _step("usurp", sender, address(council), abi.encodeCall(council.setOfficers, (_officers, threshold)), false);
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + 1 + (time % 8 == 0 ? time % 12 days : time % 1 days));
    }

    // -------------------------------------------------------------------- model

    function person(uint256 index) public pure returns (address) {
        return address(uint160(0x4000 + index % PEOPLE));
    }

    function isOfficer(address account) public view returns (bool) {
        for (uint256 i = 0; i < _officers.length; ++i) {
            if (_officers[i] == account) return true;
        }
        return false;
    }

    function officers() external view returns (address[] memory) {
        return _officers;
    }

    function approvals(bytes32 id) public view returns (uint8 count) {
        for (uint256 i = 0; i < _officers.length; ++i) {
            if (approvedBy[id][_officers[i]]) ++count;
        }
    }

    /// @dev Zero unless the AccessManager holds the call for this very proposal.
    function executableAt(bytes32 id) public view returns (uint48) {
        Entry storage entry = entries[id];
        if (entry.state != ICouncil.State.Scheduled || waiting[_operation(entry.target, dataOf[id])] != id) return 0;
        return block.timestamp >= entry.executableAt + 1 weeks ? 0 : entry.executableAt;
    }

    function proposalCount() external view returns (uint256) {
        return ids.length;
    }

    function _apply(bytes32[] memory topics, bytes memory data) internal override {
        bytes32 id = topics.length > 1 ? topics[1] : bytes32(0);
        if (topics[0] == ICouncil.Proposed.selector) {
            (address target, bytes memory callData,) = abi.decode(data, (address, bytes, bytes32));
            address proposer = address(uint160(uint256(topics[2])));
            entries[id] = Entry(target, proposer, ICouncil.State.Proposed, 0, keccak256(callData));
            dataOf[id] = callData;
            ids.push(id);
        }
        if (topics[0] == ICouncil.Approved.selector) {
            approvedBy[id][address(uint160(uint256(topics[2])))] = true;
            if (abi.decode(data, (uint8)) != approvals(id)) _fault("approvals counted wrongly");
        }
        if (topics[0] == ICouncil.Scheduled.selector) _applyScheduled(id, abi.decode(data, (uint48)));
        if (topics[0] == ICouncil.Executed.selector) {
            if (block.timestamp < entries[id].executableAt) _fault("executed early");
            entries[id].state = ICouncil.State.Executed;
        }
        if (topics[0] == ICouncil.Cancelled.selector) entries[id].state = ICouncil.State.Cancelled;
        if (topics[0] == ICouncil.OfficersChanged.selector) {
            (_officers, threshold) = abi.decode(data, (address[], uint8));
        }
        if (topics[0] == IRegistry.ReleaseAnnounced.selector) (lastVersion,,) = abi.decode(data, (uint32, address, bytes32));
    }

    function _applyScheduled(bytes32 id, uint48 due) private {
        if (approvals(id) < threshold) _fault("scheduled without enough approvals");
        if (due < block.timestamp + Governance.DELAY) _fault("scheduled without the waiting time");
        (entries[id].state, entries[id].executableAt) = (ICouncil.State.Scheduled, due);
        waiting[_operation(entries[id].target, dataOf[id])] = id;
    }

    function _operation(address target, bytes memory data) private pure returns (bytes32) {
        return keccak256(abi.encode(target, data));
    }

    /// @dev The council has a right to the call and it is not waiting already.
    function _canWait(address target, bytes memory data) private view returns (bool) {
        if (bytes4(data) == IRegistry.admitOrganisation.selector) return false;
        return executableAt(waiting[_operation(target, data)]) == 0;
    }

    function _succeeds(bytes32 id) private view returns (bool) {
        bytes memory data = dataOf[id];
        if (bytes4(data) != IRegistry.announceRelease.selector) return true;
        uint256 version;
        assembly ("memory-safe") {
            version := mload(add(data, 68)) // length, selector, name, then the version
        }
        return version > lastVersion;
    }

    function _stays(bytes32 id, address sender) private view returns (bool) {
        bytes memory data = dataOf[id];
        bytes memory arguments = new bytes(data.length - 4);
        for (uint256 i = 0; i < arguments.length; ++i) {
            arguments[i] = data[i + 4];
        }
        (address[] memory next,) = abi.decode(arguments, (address[], uint8));
        for (uint256 i = 0; i < next.length; ++i) {
            if (next[i] == sender) return true;
        }
        return false;
    }

    // -------------------------------------------------------------------- calls

    /// @dev Something to decide, and whether it may be proposed at all.
    function _call(uint256 what, uint256 mood) private view returns (address, bytes memory, bool) {
        what %= 8;
        if (what < 3) return (address(registry), _announce(uint32(lastVersion + mood % 3)), true);
        if (what < 4) return (address(manager), abi.encodeCall(manager.labelRole, (7, "label")), true);
        if (what < 5) {
            bytes memory admit =
                abi.encodeCall(registry.admitOrganisation, (address(1), IRegistry.Kind.Hospital, keccak256("e")));
            return (address(registry), admit, true);
        }
        address[] memory next = new address[](mood % 6);
        for (uint256 i = 0; i < next.length; ++i) {
            next[i] = person(i + (mood >> 8) % PEOPLE);
        }
        uint8 needed = uint8((mood >> 16) % 5);
        if (needed < 2 && mood % 3 != 0) needed = 2;
        bool isSound = next.length != 0 && needed <= next.length && needed >= (next.length == 1 ? 1 : 2);
        return (address(council), abi.encodeCall(council.setOfficers, (next, needed)), isSound);
    }

    function _announce(uint32 version) private view returns (bytes memory) {
        return abi.encodeCall(registry.announceRelease, ("AnchorLog", version, deployed, deployed.codehash));
    }

    function _recent(uint256 which) private view returns (bytes32) {
        uint256 newest = ids.length < 6 ? ids.length : 6;
        return ids[ids.length - 1 - which % newest];
    }
}
