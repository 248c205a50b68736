// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessLog} from "../../src/AccessLog.sol";
import {AnchorLog} from "../../src/AnchorLog.sol";
import {Consents} from "../../src/Consents.sol";
import {RecordStore} from "../../src/RecordStore.sol";
import {Registry} from "../../src/Registry.sol";
import {IAccessLog} from "../../src/interfaces/IAccessLog.sol";
import {IAnchorLog} from "../../src/interfaces/IAnchorLog.sol";
import {IConsents} from "../../src/interfaces/IConsents.sol";
import {IRecordStore} from "../../src/interfaces/IRecordStore.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {Model} from "./Model.sol";
import {Steps} from "./Steps.sol";

/// @dev Random steps by random people, right and wrong ones. What happened is told to the model by the events alone;
/// a step that succeeded against the model's rules, or a refused one by a rightful sender, is kept as a fault.
contract Handler is Model, Steps {
    uint256 private constant PATIENT_KEY = uint256(keccak256("the signing patient"));
    uint256 public constant ORGANISATIONS = 6;
    uint256 public constant PRACTITIONERS = 10;
    uint256 public constant CONSENTS = 8;

    Registry public immutable registry;
    AnchorLog public immutable anchorLog;
    AccessLog public immutable accessLog;
    Consents public immutable consents;
    RecordStore public immutable store;
    address public immutable regulator;

    constructor(
        Registry registry_,
        AnchorLog anchorLog_,
        AccessLog accessLog_,
        Consents consents_,
        RecordStore store_,
        address regulator_
    ) {
        (registry, anchorLog, accessLog, consents, store) = (registry_, anchorLog_, accessLog_, consents_, store_);
        regulator = regulator_;
    }

    // ---------------------------------------------------------------- regulator

    function admit(uint256 who, uint256 kind, bool rightful) external {
        address target = organisation(who);
        bytes memory data =
            abi.encodeCall(registry.admitOrganisation, (target, IRegistry.Kind(1 + kind % 5), keccak256("evidence")));
        _regulate("admit", data, rightful, status[target] == IRegistry.Status.None);
    }

    function suspend(uint256 who, bool rightful) external {
        address target = organisation(who);
        bytes memory data = abi.encodeCall(registry.suspendOrganisation, (target));
        _regulate("suspend", data, rightful, status[target] == IRegistry.Status.Active);
    }

    function reinstate(uint256 who, bool rightful) external {
        address target = organisation(who);
        bytes memory data = abi.encodeCall(registry.reinstateOrganisation, (target));
        _regulate("reinstate", data, rightful, status[target] == IRegistry.Status.Suspended);
    }

    function expel(uint256 who, uint256 mood) external {
        // Rare, or nobody is left to act.
        if (mood % 8 != 0) return;
        address target = organisation(who);
        IRegistry.Status current = status[target];
        bool isDue = current == IRegistry.Status.Active || current == IRegistry.Status.Suspended;
        _regulate("expel", abi.encodeCall(registry.expelOrganisation, (target)), true, isDue);
    }

    // ------------------------------------------------------------- organisation

    function registerPractitioner(uint256 who, uint256 whom, uint256 role) external {
        address sender = organisation(who);
        address target = practitioner(whom);
        bytes memory data = abi.encodeCall(registry.registerPractitioner, (target, IRegistry.Role(1 + role % 2)));
        bool isDue = _isActive(sender) && employer[target] == address(0);
        _step("registerPractitioner", sender, address(registry), data, isDue);
    }

    function removePractitioner(uint256 who, uint256 whom, uint256 mood) external {
        address sender = organisation(who);
        address target = practitioner(whom);
        if (mood % 4 == 0) sender = employer[target];
        bytes memory data = abi.encodeCall(registry.removePractitioner, (target));
        bool isDue = _isActive(sender) && employer[target] == sender && status[target] == IRegistry.Status.Active;
        _step("removePractitioner", sender, address(registry), data, isDue);
    }

    function anchor(uint256 who, uint256 root, uint32 count, uint256 mood) external {
        address sender = organisation(who);
        bytes32 value = keccak256(abi.encode("root", root % 4096));
        count = 1 + count % 5000;
        uint64 first = mood % 4 == 0 ? uint64(mood >> 8) : nextSeq[sender];
        bytes memory data = abi.encodeCall(anchorLog.anchor, (value, first, count, IAnchorLog.Kind(mood % 4)));
        bool isDue = _isActive(sender) && first == nextSeq[sender] && anchored[value].count == 0;
        _step("anchor", sender, address(anchorLog), data, isDue);
    }

    function append(uint256 who, uint256 size, uint256 mood) external {
        address sender = organisation(who);
        bytes32[] memory leaves = new bytes32[](1 + size % 6);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = keccak256(abi.encode(mood, i));
        }
        uint64 first = mood % 4 == 0 ? uint64(mood >> 8) : logCount[sender];
        bool isDue = (_isActive(sender) || _isSuspended(sender)) && first == logCount[sender];
        _step("append", sender, address(accessLog), abi.encodeCall(accessLog.append, (first, leaves)), isDue);
    }

    function recordConsent(uint256 who, uint256 index) external {
        address sender = organisation(who);
        bytes32 digest = consents.digestOf(consent(index));
        bytes memory data = abi.encodeCall(consents.record, (digest, _lock(index)));
        _step("record", sender, address(consents), data, _isActive(sender) && recordedAt[digest] == 0);
    }

    /// @dev Several in one transaction, all or none; with `mood` one of them twice.
    function recordMany(uint256 who, uint256 index, uint256 mood) external {
        index %= CONSENTS;
        address sender = organisation(who);
        uint256 other = mood % 4 == 0 ? index : index + 1;
        bytes32[] memory digests = new bytes32[](2);
        bytes20[] memory locks = new bytes20[](2);
        (digests[0], locks[0]) = (consents.digestOf(consent(index)), _lock(index));
        (digests[1], locks[1]) = (consents.digestOf(consent(other)), _lock(other));
        bool isDue = _isActive(sender) && digests[0] != digests[1] && recordedAt[digests[0]] == 0
            && recordedAt[digests[1]] == 0;
        bytes memory data = abi.encodeCall(consents.recordMany, (digests, locks));
        _step("recordMany", sender, address(consents), data, isDue);
    }

    function emergency(uint256 who, uint256 leaf) external {
        address sender = organisation(who);
        bytes memory data = abi.encodeCall(accessLog.emergency, (bytes32(leaf)));
        bool isDue = (_isActive(sender) || _isSuspended(sender)) && leaf != 0;
        _step("emergency", sender, address(accessLog), data, isDue);
    }

    function storeData(uint256 who, uint256 identifier, uint256 text, bool isPractitioner) external {
        address sender = isPractitioner ? practitioner(who) : organisation(who);
        string memory name = vm.toString(identifier % 16);
        bytes memory data = abi.encodeCall(store.storeData, (name, vm.toString(text)));
        address home = isPractitioner ? employer[sender] : sender;
        Series storage current = series[keccak256(bytes(name))];
        bool isDue = _isActiveMember(sender) && kind[home] == IRegistry.Kind.Hospital
            && (current.count == 0 || current.organisation == home);
        if (_step("storeData", sender, address(store), data, isDue) && current.organisation == address(0)) {
            current.organisation = home;
        }
    }

    // ------------------------------------------------------------------ patient

    function registerPatient(uint256 who, uint256 patient) external {
        address sender = practitioner(who);
        bytes32 key = patientKey(patient);
        address identity = vm.addr(PATIENT_KEY);
        bytes32 commitment = keccak256(abi.encode(identity, key));
        bytes memory data = abi.encodeCall(registry.registerPatient, (key, commitment, keccak256("lock")));
        bool isDue = _isActiveMember(sender) && role[sender] == IRegistry.Role.Doctor
            && kind[employer[sender]] == IRegistry.Kind.Hospital && hospitalOf[key] == address(0);
        _step("registerPatient", sender, address(registry), data, isDue);
    }

    function revokeConsent(uint256 index, uint256 mood) external {
        bytes32 digest = consents.digestOf(consent(index));
        bytes32 secret = mood % 4 == 0 ? bytes32(mood) : _secret(index);
        bool isDue = recordedAt[digest] != 0 && revokedAt[digest] == 0 && secret == _secret(index);
        address sender = address(uint160(uint256(keccak256(abi.encode(mood)))));
        bytes memory data = abi.encodeCall(consents.revoke, (digest, secret));
        if (_step("revoke", sender, address(consents), data, isDue)) {
            // In the same block.
            IConsents.Refusal refusal = _refusal(index, consent(index).grantee, "TREAT");
            if (refusal != IConsents.Refusal.Revoked) _fault("revoke did not bite at once");
        }
    }

    function revokeMany(uint256 index, uint256 mood) external {
        index %= CONSENTS;
        uint256 other = index + 1 + mood % 3;
        bytes32[] memory digests = new bytes32[](2);
        bytes32[] memory secrets = new bytes32[](2);
        (digests[0], secrets[0]) = (consents.digestOf(consent(index)), _secret(index));
        (digests[1], secrets[1]) = (consents.digestOf(consent(other)), mood % 4 == 0 ? bytes32(mood) : _secret(other));
        bool isDue = secrets[1] == _secret(other);
        for (uint256 i = 0; i < 2; ++i) {
            isDue = isDue && recordedAt[digests[i]] != 0 && revokedAt[digests[i]] == 0;
        }
        bytes memory data = abi.encodeCall(consents.revokeMany, (digests, secrets));
        _step("revokeMany", address(0x3000), address(consents), data, isDue);
    }

    /// @dev An authorised answer implies everything that the patient agreed to, by the model.
    function ask(uint256 index, uint256 who, bool isTreatment) external {
        IConsents.Consent memory terms = consent(index);
        address reader = who % 3 == 0 ? terms.grantee : practitioner(who);
        IConsents.Refusal refusal = _refusal(index, reader, isTreatment ? bytes32("TREAT") : bytes32("HRESCH"));
        bytes32 digest = consents.digestOf(terms);
        bool isRightful = recordedAt[digest] != 0 && revokedAt[digest] == 0 && hospitalOf[terms.patientKey] != address(0)
            && block.timestamp >= terms.notBefore && block.timestamp < terms.expiresAt
            && (reader == terms.grantee || employer[reader] == terms.grantee) && _isActiveMember(reader) && isTreatment;
        if ((refusal == IConsents.Refusal.None) != isRightful) _fault("wrong answer about a consent");
        if (isRightful) ++successes["ask"];
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + time % 6 hours);
        vm.roll(block.number + 1 + time % 3);
    }

    // -------------------------------------------------------------------- cast

    function organisation(uint256 index) public pure returns (address) {
        return address(uint160(0x1000 + index % ORGANISATIONS));
    }

    function practitioner(uint256 index) public pure returns (address) {
        return address(uint160(0x2000 + index % PRACTITIONERS));
    }

    function patientKey(uint256 index) public pure returns (bytes32) {
        return keccak256(abi.encode("patient", index % 4));
    }

    function consent(uint256 index) public pure returns (IConsents.Consent memory) {
        index %= CONSENTS;
        return IConsents.Consent({
            patientKey: patientKey(index),
            grantee: index % 2 == 0 ? practitioner(index / 2) : organisation(index / 2),
            scope: "all",
            purpose: "TREAT",
            notBefore: uint64(1_800_000_000 + index * 2 hours),
            expiresAt: uint64(1_800_000_000 + 4 days + index * 5 hours),
            statement: "May read",
            salt: bytes32(index)
        });
    }

    // ---------------------------------------------------------------- internals

    function _refusal(uint256 index, address reader, bytes32 purpose) private view returns (IConsents.Refusal) {
        IConsents.Consent memory terms = consent(index);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PATIENT_KEY, consents.digestOf(terms));
        IConsents.Identity memory identity =
            IConsents.Identity({identity: vm.addr(PATIENT_KEY), salt: terms.patientKey});
        IConsents.Access memory access = IConsents.Access({
            reader: reader, recordKey: keccak256("record"), category: "laboratory", purpose: purpose
        });
        return consents.refusalOf(terms, identity, abi.encodePacked(r, s, v), access);
    }

    function _secret(uint256 index) private pure returns (bytes32) {
        return keccak256(abi.encode("secret", index % CONSENTS));
    }

    function _lock(uint256 index) private pure returns (bytes20) {
        return bytes20(keccak256(abi.encode(_secret(index))));
    }

    function _regulate(string memory name, bytes memory data, bool rightful, bool isDue) private {
        _step(name, rightful ? regulator : organisation(0), address(registry), data, rightful && isDue);
    }

    function _apply(bytes32[] memory topics, bytes memory data) internal override(Model, Steps) {
        Model._apply(topics, data);
    }
}
