// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAnchorLog} from "../src/interfaces/IAnchorLog.sol";
import {Fixture} from "./support/Fixture.sol";
import {ReferenceStore} from "./support/ReferenceStore.sol";

/// @dev Gas of whole transactions: the base fee, the calldata bytes and the execution with cold storage.
/// Written to snapshots/gas.json, which is committed: a change of cost shows in review (`FORGE_SNAPSHOT_CHECK=true`
/// makes it fail). `tools/gas.py` prints the same figures for the bench, per record and against the reference.
contract GasBench is Fixture {
    // forge prints this event with -vv.
    event log_named_uint(string key, uint256 val);

    uint64 private _anchored;
    uint64 private _logged;
    ReferenceStore private _reference;

    function setUp() public override {
        super.setUp();
        _reference = new ReferenceStore();
        // The state of a hospital in service: its sequences have begun, so their slots are not fresh.
        vm.startPrank(hospital);
        anchorLog.anchor(keccak256("first"), 0, 1, IAnchorLog.Kind.Records);
        accessLog.append(0, _leaves(1));
        vm.stopPrank();
        _anchored = 1;
        _logged = 1;
    }

    function test_gas_Anchor1() public {
        _anchor(1);
    }

    function test_gas_Anchor16() public {
        _anchor(16);
    }

    function test_gas_Anchor256() public {
        _anchor(256);
    }

    function test_gas_Anchor1024() public {
        _anchor(1024);
    }

    function test_gas_Anchor4096() public {
        uint256 gas = _anchor(4096);
        vm.assertLe(gas / 4096, 20, "the goal is 20 gas a record");
    }

    function test_gas_ReferenceStoreData46() public {
        _storeReference("reference.storeData.46", 46);
    }

    function test_gas_ReferenceStoreData1024() public {
        _storeReference("reference.storeData.1024", 1024);
    }

    function test_gas_RecordStore46() public {
        _store("RecordStore.storeData.46", 46);
    }

    function test_gas_RecordStore1024() public {
        _store("RecordStore.storeData.1024", 1024);
    }

    function test_gas_Append1() public {
        _append(1);
    }

    function test_gas_Append64() public {
        _append(64);
    }

    function test_gas_Append1024() public {
        _append(1024);
    }

    function test_gas_Record1() public {
        bytes memory data = abi.encodeCall(consents.record, (keccak256("digest"), _revocationLock(_secret())));
        _measure("Consents.record", 1, hospital, address(consents), data);
    }

    function test_gas_Record64() public {
        bytes20[] memory locks = new bytes20[](64);
        for (uint256 i = 0; i < 64; ++i) {
            locks[i] = bytes20(keccak256(abi.encode("lock", i)));
        }
        bytes memory data = abi.encodeCall(consents.recordMany, (_leaves(64), locks));
        _measure("Consents.record", 64, hospital, address(consents), data);
    }

    function test_gas_Revoke() public {
        vm.prank(hospital);
        consents.record(keccak256("digest"), _revocationLock(_secret()));
        _cool();
        bytes memory data = abi.encodeCall(consents.revoke, (keccak256("digest"), _secret()));
        _measure("Consents.revoke", 1, stranger, address(consents), data);
    }

    function test_gas_IsAuthorised() public {
        bytes32 digest = consents.digestOf(_consent());
        vm.prank(hospital);
        consents.record(digest, _revocationLock(_secret()));
        bytes memory data =
            abi.encodeCall(consents.isAuthorised, (_consent(), _identity(), _sign("patient", digest), _access()));
        _measure("Consents.isAuthorised", 1, stranger, address(consents), data);
    }

    function test_gas_RegisterPatient() public {
        bytes memory data = abi.encodeCall(registry.registerPatient, (keccak256("q"), keccak256("c"), keccak256("l")));
        _measure("Registry.registerPatient", 1, doctor, address(registry), data);
    }

    function _anchor(uint32 count) private returns (uint256) {
        bytes memory data =
            abi.encodeCall(anchorLog.anchor, (keccak256(abi.encode(count)), _anchored, count, IAnchorLog.Kind.Records));
        return _measure("AnchorLog.anchor", count, hospital, address(anchorLog), data);
    }

    function _append(uint256 count) private {
        bytes memory data = abi.encodeCall(accessLog.append, (_logged, _leaves(count)));
        _measure("AccessLog.append", count, hospital, address(accessLog), data);
    }

    function _storeReference(string memory name, uint256 size) private {
        bytes memory data = abi.encodeCall(_reference.storeData, (_identifier(), _text(size)));
        _measure(name, 1, hospital, address(_reference), data);
    }

    function _store(string memory name, uint256 size) private {
        bytes memory data = abi.encodeCall(store.storeData, (_identifier(), _text(size)));
        _measure(name, 1, hospital, address(store), data);
    }

    /// @dev 21,000 for a transaction, 16 a byte of calldata and 4 a zero byte, and what the call takes.
    function _measure(string memory name, uint256 batch, address sender, address target, bytes memory data)
        private
        returns (uint256 total)
    {
        _cool();
        // A transaction finds its own target and sender warm.
        vm.assertTrue(target.code.length + sender.balance != 0);
        vm.prank(sender);
        uint256 before = gasleft();
        (bool success,) = target.call(data);
        total = before - gasleft() + 21_000;
        vm.assertTrue(success, name);
        for (uint256 i = 0; i < data.length; ++i) {
            total += data[i] == 0 ? 4 : 16;
        }
        string memory key = string.concat(name, batch == 1 ? "" : string.concat(".", vm.toString(batch)));
        emit log_named_uint(key, total);
        vm.snapshotValue("gas", key, total);
    }

    function _cool() private {
        vm.cool(address(registry));
        vm.cool(address(anchorLog));
        vm.cool(address(accessLog));
        vm.cool(address(consents));
        vm.cool(address(store));
        vm.cool(address(_reference));
    }

    function _identifier() private pure returns (string memory) {
        return "0f8fad5bd9cb469fa16570867728950e";
    }

    function _text(uint256 size) private pure returns (string memory) {
        bytes memory data = new bytes(size);
        for (uint256 i = 0; i < size; ++i) {
            data[i] = bytes1(uint8(33 + (i * 7) % 90));
        }
        return string(data);
    }

    function _leaves(uint256 count) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            leaves[i] = keccak256(abi.encode("leaf", i));
        }
    }
}
