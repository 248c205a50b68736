// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Registry} from "../../src/Registry.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {Steps} from "./Steps.sol";

/// @dev Patients rotate, hospitals recover, a thief tries both with what was seen in the pool. Times and standing come
/// from events; commitments and locks, which no event shows, from what the successful step had sent.
contract IdentityHandler is Steps {
    struct Patient {
        bytes32 commitment;
        bytes32 secret; // the first link of the hash chain
        uint256 links; // how often the secret is hashed to give the lock
    }

    struct Recovery {
        bytes32 commitment;
        bytes32 secret;
        uint48 proposedAt;
        uint48 executableAt;
    }

    uint256 public constant PATIENTS = 3;
    uint256 private constant LINKS = 3;

    Registry public immutable registry;
    address public immutable regulator;
    address public immutable doctor;
    address public immutable hospital;

    mapping(bytes32 key => Patient) public patients;
    mapping(bytes32 key => Recovery) public recoveries;
    mapping(bytes32 seal => uint256) public sealedAt;
    bool public isSuspended;
    uint256 private _counter;
    bytes32 private _sealedSecret;

    constructor(Registry registry_, address regulator_, address doctor_, address hospital_) {
        (registry, regulator, doctor, hospital) = (registry_, regulator_, doctor_, hospital_);
    }

    // -------------------------------------------------------------------- steps

    function register(uint256 who) external {
        bytes32 key = patientKey(who);
        bytes32 secret = _fresh();
        bool isDue = patients[key].links == 0 && !isSuspended;
        bytes memory data = abi.encodeCall(registry.registerPatient, (key, _commitment(secret), _chain(secret, LINKS)));
        if (_step("register", doctor, address(registry), data, isDue)) _set(key, secret, LINKS);
    }

    /// @dev Seals values that a later `rotate` may use.
    function announce(uint256 who, bool isRepeated) external {
        bytes32 key = patientKey(who);
        if (!isRepeated || _sealedSecret == bytes32(0)) _sealedSecret = _fresh();
        bytes32 seal = _seal(key, _preimage(key), _sealedSecret);
        bool isDue = sealedAt[seal] == 0;
        _step("announce", _thief(), address(registry), abi.encodeCall(registry.announceRotation, (seal)), isDue);
    }

    function rotate(uint256 who, uint256 mood) external {
        bytes32 key = patientKey(who);
        address sender = mood % 3 == 0 ? hospital : _thief();
        bytes32 preimage = mood % 5 == 0 ? bytes32(mood) : _preimage(key);
        bytes32 secret = mood % 7 == 0 || _sealedSecret == bytes32(0) ? _fresh() : _sealedSecret;
        uint256 since = sealedAt[_seal(key, preimage, secret)];
        bool isSealed = since != 0 && block.number >= since + registry.ROTATION_BLOCKS();
        bool isAtOnce = sender == hospital && !isSuspended && recoveries[key].proposedAt == 0;
        bool isDue = patients[key].links != 0 && preimage == _preimage(key) && (isSealed || isAtOnce);
        bytes memory data =
            abi.encodeCall(registry.rotateIdentity, (key, preimage, _commitment(secret), _chain(secret, LINKS)));
        if (_step("rotate", sender, address(registry), data, isDue)) {
            if (!isAtOnce) ++successes["rotate sealed"];
            _set(key, secret, LINKS);
        }
    }

    function propose(uint256 who, uint256 mood) external {
        bytes32 key = patientKey(who);
        bytes32 secret = _fresh();
        address sender = mood % 4 == 0 ? _thief() : hospital;
        bool isDue =
            sender == hospital && !isSuspended && patients[key].links != 0 && recoveries[key].proposedAt == 0;
        bytes memory data = abi.encodeCall(registry.proposeRecovery, (key, _commitment(secret), _chain(secret, LINKS)));
        if (_step("propose", sender, address(registry), data, isDue)) {
            (recoveries[key].commitment, recoveries[key].secret) = (_commitment(secret), secret);
        }
    }

    function confirm(uint256 who, uint256 mood) external {
        bytes32 key = patientKey(who);
        address sender = mood % 4 == 0 ? hospital : regulator;
        bool isDue = sender == regulator && recoveries[key].proposedAt != 0 && recoveries[key].executableAt == 0;
        _step("confirm", sender, address(registry), abi.encodeCall(registry.confirmRecovery, (key)), isDue);
    }

    function reject(uint256 who, uint256 mood) external {
        if (mood % 5 != 0) return;
        bytes32 key = patientKey(who);
        address sender = mood % 2 == 0 ? hospital : regulator;
        bool isDue = sender == regulator && recoveries[key].proposedAt != 0;
        _step("reject", sender, address(registry), abi.encodeCall(registry.rejectRecovery, (key)), isDue);
    }

    function cancel(uint256 who, uint256 mood) external {
        bytes32 key = patientKey(who);
        // The last link is kept for a rotation: its own preimage is unknown even to the patient.
        if (mood % 3 != 0 || patients[key].links == 1) return;
        bytes32 preimage = mood % 2 == 0 ? _preimage(key) : bytes32(mood);
        bool isDue = patients[key].links != 0 && recoveries[key].proposedAt != 0 && preimage == _preimage(key);
        bytes memory data = abi.encodeCall(registry.cancelRecovery, (key, preimage));
        if (_step("cancel", _thief(), address(registry), data, isDue)) --patients[key].links;
    }

    function execute(uint256 who) external {
        bytes32 key = patientKey(who);
        Recovery memory recovery = recoveries[key];
        bool isDue = recovery.executableAt != 0 && block.timestamp >= recovery.executableAt && !isSuspended;
        bytes memory data = abi.encodeCall(registry.executeRecovery, (key));
        if (_step("execute", _thief(), address(registry), data, isDue)) _set(key, recovery.secret, LINKS);
    }

    function standing(uint256 mood) external {
        if (mood % 4 != 0) return;
        bytes memory data = isSuspended
            ? abi.encodeCall(registry.reinstateOrganisation, (hospital))
            : abi.encodeCall(registry.suspendOrganisation, (hospital));
        _step("standing", regulator, address(registry), data, true);
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + 1 + time % 3 days);
        vm.roll(block.number + 1 + time % 4);
    }

    // -------------------------------------------------------------------- model

    function patientKey(uint256 index) public pure returns (bytes32) {
        return keccak256(abi.encode("patient", index % PATIENTS));
    }

    function lockOf(bytes32 key) external view returns (bytes32) {
        return patients[key].links == 0 ? bytes32(0) : _chain(patients[key].secret, patients[key].links);
    }

    function recoveryLockOf(bytes32 key) external view returns (bytes32) {
        return recoveries[key].proposedAt == 0 ? bytes32(0) : _chain(recoveries[key].secret, LINKS);
    }

    function _apply(bytes32[] memory topics, bytes memory data) internal override {
        bytes32 key = topics[1];
        if (topics[0] == IRegistry.RotationAnnounced.selector) sealedAt[key] = block.number;
        if (topics[0] == IRegistry.RecoveryProposed.selector) recoveries[key].proposedAt = uint48(block.timestamp);
        if (topics[0] == IRegistry.RecoveryConfirmed.selector) {
            (recoveries[key].executableAt,) = abi.decode(data, (uint48, address));
            if (recoveries[key].executableAt != block.timestamp + registry.RECOVERY_DELAY()) _fault("no waiting time");
        }
        if (
            topics[0] == IRegistry.RecoveryCancelled.selector || topics[0] == IRegistry.RecoveryRejected.selector
                || topics[0] == IRegistry.RecoveryExecuted.selector
        ) delete recoveries[key];
        if (topics[0] == IRegistry.OrganisationSuspended.selector) isSuspended = true;
        if (topics[0] == IRegistry.OrganisationReinstated.selector) isSuspended = false;
    }

    function _set(bytes32 key, bytes32 secret, uint256 links) private {
        patients[key] = Patient(_commitment(secret), secret, links);
    }

    function _thief() private view returns (address) {
        return address(uint160(0x5000 + _counter % 5));
    }

    function _fresh() private returns (bytes32) {
        return keccak256(abi.encode("secret", ++_counter));
    }

    function _commitment(bytes32 secret) private pure returns (bytes32) {
        return keccak256(abi.encode("identity", secret));
    }

    function _chain(bytes32 secret, uint256 links) private pure returns (bytes32 lock) {
        lock = secret;
        for (uint256 i = 0; i < links; ++i) {
            lock = keccak256(abi.encode(lock));
        }
    }

    function _preimage(bytes32 key) private view returns (bytes32) {
        uint256 links = patients[key].links;
        return links == 0 ? bytes32(0) : _chain(patients[key].secret, links - 1);
    }

    function _seal(bytes32 key, bytes32 preimage, bytes32 secret) private pure returns (bytes32) {
        return keccak256(abi.encode(key, preimage, _commitment(secret), _chain(secret, LINKS)));
    }
}
