// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

// The authority of the Registry is OpenZeppelin's AccessManager unchanged; this import makes forge compile it.
import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
