// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";

/// @title Several officers decide together, and every decision waits before it counts
/// @notice Holds the AccessManager's admin right and the right to announce releases, both with an execution delay: what
/// the officers approve can be seen by everybody, and stopped by any one of them, before it takes effect.
interface ICouncil {
    /// @notice How far a proposal is. Nothing leads out of `Executed` and `Cancelled`.
    enum State {
        None,
        Proposed,
        Scheduled,
        Executed,
        Cancelled
    }

    /// @notice An officer proposed a call. The reason is the salted digest of what the officer wrote.
    event Proposed(bytes32 indexed id, address indexed by, address target, bytes data, bytes32 reason);
    /// @notice An officer approved; so many of the officers of today have by now.
    event Approved(bytes32 indexed id, address indexed by, uint8 approvals);
    /// @notice Enough officers approved. The call can be made from `executableAt` on, until the AccessManager lets it
    /// lapse (a week later).
    event Scheduled(bytes32 indexed id, uint48 executableAt);
    /// @notice The call was made.
    event Executed(bytes32 indexed id);
    /// @notice An officer stopped it.
    event Cancelled(bytes32 indexed id, address indexed by);
    /// @notice The officers or their threshold are others from now on.
    event OfficersChanged(address[] officers, uint8 threshold);

    /// @notice The sender is not an officer.
    error CouncilNotOfficer(address sender);
    /// @notice The proposal is not in a state from which this step leads on.
    error CouncilWrongState(bytes32 id, State state);
    /// @notice The officer approved before; a proposal counts as its proposer's approval.
    error CouncilAlreadyApproved(bytes32 id, address officer);
    /// @notice The threshold is above the number of officers, or below two although there are several.
    error CouncilBadThreshold();
    /// @notice There are none or more than `MAX_OFFICERS`, one is listed twice, zero, the council or the AccessManager;
    /// or a proposal calls the council for something else than `setOfficers`.
    error CouncilBadOfficers();
    /// @notice Only an executed proposal of the council changes its officers.
    error CouncilNotItself();
    /// @notice The waiting time is not over.
    error CouncilNotReady(bytes32 id, uint48 executableAt);
    /// @notice The AccessManager no longer holds the call: it was left too long, or stopped there. Propose it anew.
    error CouncilLapsed(bytes32 id);
    /// @notice A proposal came without the digest of its reason.
    error CouncilNoReason();
    /// @notice An officer cannot alone stop a change that ends the officer's own term.
    error CouncilOwnRemoval(bytes32 id, address officer);

    /// @notice Proposes a call that the AccessManager shall make; counts as the sender's approval. Officers only.
    /// @param target Contract to call; the AccessManager for its own settings, this contract for `setOfficers`.
    /// @param data Calldata of the call.
    /// @param reason Salted digest of the written reason, not zero.
    /// @return id Name of the proposal. The same call can be proposed again under another one.
    function propose(address target, bytes calldata data, bytes32 reason) external returns (bytes32 id);

    /// @notice Approves a proposal. With enough approvals of present officers it is scheduled in the AccessManager and
    /// the waiting time begins. Officers only.
    /// @dev `AccessManagerAlreadyScheduled` if the same call waits already, `AccessManagerUnauthorizedCall` if the
    /// council has no right to it or no waiting time for it.
    function approve(bytes32 id) external;

    /// @notice Makes the call after the waiting time; anyone may send it. If the call fails nothing changes.
    function execute(bytes32 id) external;

    /// @notice Stops a proposal before its call is made. Any single officer may, alone: stopping is easier than going
    /// on. Only a removal of officers cannot be stopped by those it removes, or one stolen key would stay for ever.
    function cancel(bytes32 id) external;

    /// @notice Replaces officers and threshold, by an executed proposal with this contract as target.
    /// @dev Open proposals stay: approvals of officers who left no longer count, and any new officer can cancel.
    /// @param officers_ One to `MAX_OFFICERS` distinct accounts.
    /// @param threshold_ Approvals that a proposal needs; at least two of several.
    function setOfficers(address[] calldata officers_, uint8 threshold_) external;

    /// @notice The officers of today, in the order in which they were given.
    function officers() external view returns (address[] memory);

    /// @notice Approvals that a proposal needs.
    function threshold() external view returns (uint8);

    /// @notice Whether an account is an officer today.
    function isOfficer(address account) external view returns (bool);

    /// @notice What is known of a proposal; all zero if there is none.
    /// @return target Contract to call.
    /// @return dataHash keccak256 of the calldata; the calldata is in the event.
    /// @return proposer The officer who proposed it.
    /// @return approvals How many of the officers of today approved it.
    /// @return state How far it is.
    /// @return executableAt From when on the call can be made; zero when it is not waiting (also when it lapsed).
    function proposalOf(bytes32 id)
        external
        view
        returns (
            address target,
            bytes32 dataHash,
            address proposer,
            uint8 approvals,
            State state,
            uint48 executableAt
        );

    /// @notice Whether an account approved a proposal, officer still or not.
    function hasApproved(bytes32 id, address officer) external view returns (bool);

    /// @notice The AccessManager through which everything goes.
    function accessManager() external view returns (IAccessManager);

    /// @notice Most officers there can be.
    function MAX_OFFICERS() external view returns (uint256);
}
