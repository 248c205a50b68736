// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IRecordStore} from "../src/interfaces/IRecordStore.sol";
import {Fixture} from "./support/Fixture.sol";

contract RecordStoreTest is Fixture {
    string private constant ID = "0f8fad5bd9cb469fa16570867728950e";

    function test_StoreAndGet() public {
        vm.expectEmit(address(store));
        emit IRecordStore.HealthRecordUpdated(keccak256(bytes(ID)), 1, doctor, keccak256("sealed"));
        vm.prank(doctor);
        store.storeData(ID, "sealed");
        vm.assertEq(store.getData(ID), "sealed");
        _assertVersions(hospital, 1);
        vm.assertEq(address(store.registry()), address(registry));
    }

    function test_UnknownIsEmpty() public {
        vm.assertEq(store.getData(ID), "");
        vm.assertEq(store.getData(""), "");
        _assertVersions(address(0), 0);
        vm.expectRevert(
            abi.encodeWithSelector(IRecordStore.RecordStoreUnknownVersion.selector, keccak256(bytes(ID)), 0)
        );
        store.versionAt(ID, 0);
    }

    function test_VersionsAreKept() public {
        vm.prank(doctor);
        store.storeData(ID, "one");
        vm.warp(START_TIME + 60);
        vm.expectEmit(address(store));
        emit IRecordStore.HealthRecordUpdated(keccak256(bytes(ID)), 2, nurse, keccak256("two"));
        vm.prank(nurse);
        store.storeData(ID, "two");
        vm.prank(hospital);
        store.storeData(ID, "two");

        vm.assertEq(store.getData(ID), "two");
        _assertVersions(hospital, 3);
        _assertVersion(1, "one", START_TIME);
        _assertVersion(2, "two", START_TIME + 60);
        _assertVersion(3, "two", START_TIME + 60);
        vm.expectRevert(
            abi.encodeWithSelector(IRecordStore.RecordStoreUnknownVersion.selector, keccak256(bytes(ID)), 4)
        );
        store.versionAt(ID, 4);
    }

    function test_FirstWritersHospitalOwns() public {
        vm.prank(doctor);
        store.storeData(ID, "one");
        address[2] memory others = [otherDoctor, otherHospital];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IRecordStore.RecordStoreNotOwner.selector, keccak256(bytes(ID)), others[i])
            );
            vm.prank(others[i]);
            store.storeData(ID, "taken over");
        }
        vm.assertEq(store.getData(ID), "one");
    }

    function test_Bounds() public {
        vm.startPrank(doctor);
        store.storeData(string(new bytes(128)), string(new bytes(24_575)));
        vm.assertEq(bytes(store.getData(string(new bytes(128)))).length, 24_575);
        vm.expectRevert(abi.encodeWithSelector(IRecordStore.RecordStoreIdentifierLength.selector, 0));
        store.storeData("", "data");
        vm.expectRevert(abi.encodeWithSelector(IRecordStore.RecordStoreIdentifierLength.selector, 129));
        store.storeData(string(new bytes(129)), "data");
        vm.expectRevert(abi.encodeWithSelector(IRecordStore.RecordStoreDataLength.selector, 0));
        store.storeData(ID, "");
        vm.expectRevert(abi.encodeWithSelector(IRecordStore.RecordStoreDataLength.selector, 24_576));
        store.storeData(ID, string(new bytes(24_576)));
    }

    function test_TheHolderNeverRuns() public {
        // The data are code that would answer with 32 bytes; behind the stop byte they answer nothing.
        vm.prank(doctor);
        store.storeData(ID, string(bytes.concat(hex"60015f5260205ff3")));
        address holder = _holder();
        vm.assertEq(uint256(uint8(holder.code[0])), 0);
        (bool success, bytes memory answer) = holder.call("");
        vm.assertTrue(success);
        vm.assertEq(answer.length, 0);
    }

    function testFuzz_RoundTrip(string calldata identifier, string calldata data) public {
        vm.assume(bytes(identifier).length > 0 && bytes(identifier).length <= 128);
        vm.assume(bytes(data).length > 0 && bytes(data).length <= 24_575);
        vm.prank(doctor);
        store.storeData(identifier, data);
        vm.assertEq(store.getData(identifier), data);
        vm.assertEq(store.getData(string.concat(identifier, "x")), "");
    }

    function _holder() private view returns (address) {
        // _versions is in slot 1, keyed by identifier and version.
        bytes32 outer = keccak256(abi.encode(keccak256(bytes(ID)), uint256(1)));
        return address(uint160(uint256(vm.load(address(store), keccak256(abi.encode(uint256(1), outer))))));
    }

    function _assertVersions(address organisation, uint32 expected) private view {
        (address owner, uint32 count) = store.versionsOf(ID);
        vm.assertEq(owner, organisation);
        vm.assertEq(count, expected);
    }

    function _assertVersion(uint32 version, string memory expected, uint256 expectedTime) private view {
        (string memory data, uint64 storedAt) = store.versionAt(ID, version);
        vm.assertEq(data, expected);
        vm.assertEq(storedAt, expectedTime);
    }
}
