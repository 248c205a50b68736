// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AnchorLog} from "../../src/AnchorLog.sol";
import {IAnchorLog} from "../../src/interfaces/IAnchorLog.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {Vm} from "../support/Vm.sol";
import {AnyRegistry} from "./Authorisation.t.sol";

/// @dev Proved by halmos for all values: anchors go on strictly, and only by those who may. (The access log's SHA-256
/// is beyond halmos 0.3.3; its rule is the same and stands under fuzz tests and invariants.)
contract SequenceProofs {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    AnyRegistry private registry;
    AnchorLog private anchorLog;

    function setUp() public {
        registry = new AnyRegistry();
        anchorLog = new AnchorLog(IRegistry(address(registry)));
        vm.roll(1000);
    }

    function check_OnlyActiveOrganisationsAnchor(uint8 status, bytes32 root, uint64 first, uint32 count) public {
        vm.assume(status <= uint8(type(IRegistry.Status).max));
        registry.setSender(IRegistry.Status(status));
        try anchorLog.anchor(root, first, count, IAnchorLog.Kind.Records) {
            assert(IRegistry.Status(status) == IRegistry.Status.Active);
            assert(first == 0 && root != bytes32(0) && count != 0);
            assert(anchorLog.nextSeq(address(this)) == count);
        } catch {
            assert(anchorLog.nextSeq(address(this)) == 0);
        }
    }

    function check_AnAnchorFollowsTheLastOne(bytes32 root, uint32 count, bytes32 next, uint64 first, uint32 more)
        public
    {
        vm.assume(root != bytes32(0) && count != 0);
        registry.setSender(IRegistry.Status.Active);
        anchorLog.anchor(root, 0, count, IAnchorLog.Kind.Records);
        try anchorLog.anchor(next, first, more, IAnchorLog.Kind.Records) {
            assert(first == count && next != root);
            assert(anchorLog.nextSeq(address(this)) == uint64(count) + more);
        } catch {
            assert(first != count || next == root || next == bytes32(0) || more == 0);
            assert(anchorLog.nextSeq(address(this)) == count);
        }
    }
}
