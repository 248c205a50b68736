// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAnchorLog} from "../src/interfaces/IAnchorLog.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Fixture} from "./support/Fixture.sol";

/// @dev Every cell of roles.json: each caller sends each function once, to contracts where only the caller decides.
contract RolesTest is Fixture {
    struct Call {
        address target;
        bytes data;
    }

    mapping(bytes32 name => Call) private _calls;

    bytes32 private constant NEW_PATIENT = keccak256("Quinn at A");
    bytes32 private constant RECOVERING = keccak256("Kim at A");
    bytes32 private constant PROPOSED = keccak256("Lost at A");
    bytes32 private constant VALUE = keccak256("any value");

    function setUp() public override {
        super.setUp();
        _preparePatients();
        _prepareCouncilCalls();
        _prepareRegistryCalls();
        _prepareOtherCalls();
    }

    function test_EveryCellOfTheRoleTable() public {
        string memory json = vm.readFile("roles.json");
        string[] memory callers = vm.parseJsonStringArray(json, ".callers");
        string[] memory functions = vm.parseJsonKeys(json, ".functions");
        uint256 cells;
        for (uint256 f = 0; f < functions.length; ++f) {
            string memory row = string.concat(".functions['", functions[f], "']");
            string[] memory allowed = vm.parseJsonStringArray(json, string.concat(row, ".allowed"));
            for (uint256 c = 0; c < callers.length; ++c) {
                _checkCell(json, row, functions[f], callers[c], _contains(allowed, callers[c]));
                ++cells;
            }
        }
        vm.assertEq(cells, 30 * 17, "cells");
    }

    function _checkCell(
        string memory json,
        string memory row,
        string memory name,
        string memory caller,
        bool isAllowed
    ) private {
        string memory cell = string.concat(name, " by ", caller);
        Call memory call = _calls[keccak256(bytes(name))];
        vm.assertTrue(call.target != address(0), string.concat("no call for ", name));
        uint256 snapshot = vm.snapshotState();
        vm.prank(vm.addr(_key(caller)));
        (bool success, bytes memory answer) = call.target.call(call.data);
        vm.assertEq(success, isAllowed, cell);
        if (!isAllowed) {
            string memory special = string.concat(row, ".otherwise.", caller);
            string memory refusal = vm.keyExistsJson(json, special)
                ? vm.parseJsonString(json, special)
                : vm.parseJsonString(json, string.concat(row, ".refusal"));
            vm.assertEq(bytes32(bytes4(answer)), bytes32(bytes4(keccak256(bytes(refusal)))), cell);
        }
        vm.revertToState(snapshot);
    }

    function _contains(string[] memory names, string memory name) private pure returns (bool) {
        for (uint256 i = 0; i < names.length; ++i) {
            bytes32 entry = keccak256(bytes(names[i]));
            if (entry == keccak256("*") || entry == keccak256(bytes(name))) return true;
        }
        return false;
    }

    function _preparePatients() private {
        vm.startPrank(doctor);
        registry.registerPatient(RECOVERING, VALUE, _lock(VALUE));
        registry.registerPatient(PROPOSED, VALUE, _lock(VALUE));
        vm.stopPrank();
        vm.startPrank(hospital);
        registry.proposeRecovery(RECOVERING, VALUE, VALUE);
        registry.proposeRecovery(PROPOSED, VALUE, VALUE);
        consents.record(keccak256("consent 1"), _revocationLock(_secret()));
        vm.stopPrank();
        vm.prank(regulator);
        registry.confirmRecovery(RECOVERING);
        vm.warp(block.timestamp + 8 days);
    }

    function _prepareRegistryCalls() private {
        address fresh = address(0xF12E54);
        _on("Registry.admitOrganisation", abi.encodeCall(registry.admitOrganisation, (applicant, IRegistry.Kind.Hospital, EVIDENCE)));
        _on("Registry.suspendOrganisation", abi.encodeCall(registry.suspendOrganisation, (hospital)));
        _on("Registry.reinstateOrganisation", abi.encodeCall(registry.reinstateOrganisation, (suspendedHospital)));
        _on("Registry.expelOrganisation", abi.encodeCall(registry.expelOrganisation, (suspendedHospital)));
        _on(
            "Registry.announceRelease",
            abi.encodeCall(registry.announceRelease, ("AnchorLog", 1, address(anchorLog), address(anchorLog).codehash))
        );
        _on("Registry.confirmRecovery", abi.encodeCall(registry.confirmRecovery, (PROPOSED)));
        _on("Registry.rejectRecovery", abi.encodeCall(registry.rejectRecovery, (PROPOSED)));
        _on("Registry.setAuthority", abi.encodeCall(registry.setAuthority, (address(manager))));
        _on("Registry.registerPractitioner", abi.encodeCall(registry.registerPractitioner, (fresh, IRegistry.Role.Nurse)));
        _on("Registry.removePractitioner", abi.encodeCall(registry.removePractitioner, (nurse)));
        _on("Registry.registerPatient", abi.encodeCall(registry.registerPatient, (NEW_PATIENT, VALUE, VALUE)));
        uint256 deadline = block.timestamp + 1 hours;
        bytes memory signature =
            _sign("doctor", _registrationDigest(doctor, NEW_PATIENT, VALUE, VALUE, deadline));
        _on(
            "Registry.registerPatientFor",
            abi.encodeCall(registry.registerPatientFor, (doctor, NEW_PATIENT, VALUE, VALUE, deadline, signature))
        );
        _on("Registry.announceRotation", abi.encodeCall(registry.announceRotation, (VALUE)));
        _on("Registry.rotateIdentity", abi.encodeCall(registry.rotateIdentity, (PATIENT, _preimage(), VALUE, VALUE)));
        _on("Registry.proposeRecovery", abi.encodeCall(registry.proposeRecovery, (PATIENT, VALUE, VALUE)));
        _on("Registry.cancelRecovery", abi.encodeCall(registry.cancelRecovery, (RECOVERING, VALUE)));
        _on("Registry.executeRecovery", abi.encodeCall(registry.executeRecovery, (RECOVERING)));
    }

    function _prepareOtherCalls() private {
        bytes32[] memory values = new bytes32[](1);
        bytes20[] memory locks = new bytes20[](1);
        bytes32[] memory secrets = new bytes32[](1);
        values[0] = keccak256("consent 2");
        locks[0] = bytes20(VALUE);
        _to(address(consents), "Consents.record", abi.encodeCall(consents.record, (VALUE, bytes20(VALUE))));
        _to(address(consents), "Consents.recordMany", abi.encodeCall(consents.recordMany, (values, locks)));
        _to(address(consents), "Consents.revoke", abi.encodeCall(consents.revoke, (keccak256("consent 1"), _secret())));
        values[0] = keccak256("consent 1");
        secrets[0] = _secret();
        _to(address(consents), "Consents.revokeMany", abi.encodeCall(consents.revokeMany, (values, secrets)));
        _to(
            address(anchorLog),
            "AnchorLog.anchor",
            abi.encodeCall(anchorLog.anchor, (VALUE, 0, 1, IAnchorLog.Kind.Records))
        );
        _to(address(accessLog), "AccessLog.append", abi.encodeCall(accessLog.append, (0, values)));
        _to(address(accessLog), "AccessLog.emergency", abi.encodeCall(accessLog.emergency, (VALUE)));
        _to(address(store), "RecordStore.storeData", abi.encodeCall(store.storeData, ("id", "data")));
    }

    function _prepareCouncilCalls() private {
        bytes memory data = abi.encodeCall(manager.labelRole, (7, "any"));
        bytes32 due = _ripe(address(manager), data);
        data = abi.encodeCall(manager.labelRole, (7, "another"));
        vm.prank(thirdOfficer);
        bytes32 open = council.propose(address(manager), data, VALUE);
        _to(address(council), "Council.propose", abi.encodeCall(council.propose, (address(manager), data, VALUE)));
        _to(address(council), "Council.approve", abi.encodeCall(council.approve, (open)));
        _to(address(council), "Council.cancel", abi.encodeCall(council.cancel, (open)));
        _to(address(council), "Council.execute", abi.encodeCall(council.execute, (due)));
        _to(
            address(council),
            "Council.setOfficers",
            abi.encodeCall(council.setOfficers, (_threeOfficers(), 2))
        );
    }

    function _on(string memory name, bytes memory data) private {
        _to(address(registry), name, data);
    }

    function _to(address target, string memory name, bytes memory data) private {
        _calls[keccak256(bytes(name))] = Call({target: target, data: data});
    }
}
