// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Consents} from "../../src/Consents.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {AnyRegistry} from "./Authorisation.t.sol";

/// @dev Two statements that are wrong. halmos must find out, or its other answers are worth nothing.
contract PlantedProofs {
    bool public constant IS_TEST = true;

    AnyRegistry private registry;
    Consents private consents;

    function setUp() public {
        registry = new AnyRegistry();
        consents = new Consents(IRegistry(address(registry)));
    }

    function check_PlantedSuspendedOnesRecordToo(uint8 status, bytes32 digest, bytes20 lock) public {
        if (status > uint8(type(IRegistry.Status).max) || digest == bytes32(0) || lock == bytes20(0)) return;
        registry.setSender(IRegistry.Status(status));
        try consents.record(digest, lock) {}
        catch {
            assert(IRegistry.Status(status) != IRegistry.Status.Suspended);
        }
    }

    function check_PlantedAnySecretRevokes(bytes32 digest, bytes20 lock, bytes32 secret) public {
        if (digest == bytes32(0) || lock == bytes20(0)) return;
        registry.setSender(IRegistry.Status.Active);
        consents.record(digest, lock);
        try consents.revoke(digest, secret) {}
        catch {
            assert(false);
        }
    }
}
