// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {ICouncil} from "./interfaces/ICouncil.sol";

/// @notice The interface says what every function does and refuses.
contract Council is ICouncil {
    struct Proposal {
        address target;
        State state;
        uint32 operationNonce; // which scheduling of this very call in the AccessManager is ours
        address proposer;
        bytes data;
    }

    /// @inheritdoc ICouncil
    uint256 public constant MAX_OFFICERS = 16;

    IAccessManager private immutable _accessManager;

    address[] private _officers;
    uint8 private _threshold;
    uint64 private _proposalCount;
    bytes32 private _selfCall; // digest of the call to this contract that is being made
    mapping(address account => bool) private _isOfficer;
    mapping(bytes32 id => Proposal) private _proposals;
    mapping(bytes32 id => mapping(address officer => bool)) private _approvals;
    mapping(bytes32 id => mapping(address officer => bool)) private _stays; // of proposals to change the officers

    constructor(IAccessManager accessManager_, address[] memory officers_, uint8 threshold_) {
        _accessManager = accessManager_;
        _checkOfficers(accessManager_, officers_, threshold_);
        _replaceOfficers(officers_, threshold_);
    }

    modifier onlyOfficer() {
        require(_isOfficer[msg.sender], CouncilNotOfficer(msg.sender));
        _;
    }

    /// @inheritdoc ICouncil
    function propose(address target, bytes calldata data, bytes32 reason)
        external
        onlyOfficer
        returns (bytes32 id)
    {
        require(reason != bytes32(0), CouncilNoReason());
        id = keccak256(abi.encode(block.chainid, address(this), ++_proposalCount, target, data, reason));
        if (target == address(this)) _noteWhoStays(id, data);
        _proposals[id] =
            Proposal({target: target, state: State.Proposed, operationNonce: 0, proposer: msg.sender, data: data});
        emit Proposed(id, msg.sender, target, data, reason);
        _approve(id);
    }

    /// @inheritdoc ICouncil
    function approve(bytes32 id) external onlyOfficer {
        State state = _proposals[id].state;
        require(state == State.Proposed, CouncilWrongState(id, state));
        require(!_approvals[id][msg.sender], CouncilAlreadyApproved(id, msg.sender));
        _approve(id);
    }

    /// @inheritdoc ICouncil
    function execute(bytes32 id) external {
        Proposal storage proposal = _proposals[id];
        require(proposal.state == State.Scheduled, CouncilWrongState(id, proposal.state));
        uint48 executableAt = _executableAt(proposal);
        require(executableAt != 0, CouncilLapsed(id));
        require(block.timestamp >= executableAt, CouncilNotReady(id, executableAt));

        proposal.state = State.Executed;
        bytes memory data = proposal.data;
        if (proposal.target == address(this)) _selfCall = keccak256(data);
        emit Executed(id);
        uint32 operationNonce = _accessManager.execute(proposal.target, data);
        assert(operationNonce == proposal.operationNonce);
    }

    /// @inheritdoc ICouncil
    function cancel(bytes32 id) external onlyOfficer {
        Proposal storage proposal = _proposals[id];
        State state = proposal.state;
        require(state == State.Proposed || state == State.Scheduled, CouncilWrongState(id, state));
        require(
            proposal.target != address(this) || _stays[id][msg.sender], CouncilOwnRemoval(id, msg.sender)
        );

        bool isWaiting = _executableAt(proposal) != 0;
        proposal.state = State.Cancelled;
        emit Cancelled(id, msg.sender);
        if (!isWaiting) return;
        uint32 operationNonce = _accessManager.cancel(address(this), proposal.target, proposal.data);
        assert(operationNonce == proposal.operationNonce);
    }

    /// @inheritdoc ICouncil
    function setOfficers(address[] calldata officers_, uint8 threshold_) external {
        // The AccessManager may call for others who hold the role one day; only our own proposal counts.
        require(
            msg.sender == address(_accessManager) && keccak256(msg.data) == _selfCall, CouncilNotItself()
        );
        delete _selfCall;
        _checkOfficers(_accessManager, officers_, threshold_);
        _replaceOfficers(officers_, threshold_);
    }

    /// @inheritdoc ICouncil
    function officers() external view returns (address[] memory) {
        return _officers;
    }

    /// @inheritdoc ICouncil
    function threshold() external view returns (uint8) {
        return _threshold;
    }

    /// @inheritdoc ICouncil
    function isOfficer(address account) external view returns (bool) {
        return _isOfficer[account];
    }

    /// @inheritdoc ICouncil
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
        )
    {
        Proposal storage proposal = _proposals[id];
        state = proposal.state;
        if (state == State.None) return (address(0), bytes32(0), address(0), 0, state, 0);
        target = proposal.target;
        dataHash = keccak256(proposal.data);
        proposer = proposal.proposer;
        approvals = _approvalCount(id);
        executableAt = _executableAt(proposal);
    }

    /// @inheritdoc ICouncil
    function hasApproved(bytes32 id, address officer) external view returns (bool) {
        return _approvals[id][officer];
    }

    /// @inheritdoc ICouncil
    function accessManager() external view returns (IAccessManager) {
        return _accessManager;
    }

    /// @dev What could never be executed is refused when it is proposed.
    function _noteWhoStays(bytes32 id, bytes calldata data) private {
        require(data.length >= 4 && bytes4(data) == ICouncil.setOfficers.selector, CouncilBadOfficers());
        (address[] memory next, uint8 threshold_) = abi.decode(data[4:], (address[], uint8));
        _checkOfficers(_accessManager, next, threshold_);
        for (uint256 i = 0; i < next.length; ++i) {
            _stays[id][next[i]] = true;
        }
    }

    function _approve(bytes32 id) private {
        _approvals[id][msg.sender] = true;
        uint8 approvals = _approvalCount(id);
        emit Approved(id, msg.sender, approvals);
        if (approvals >= _threshold) _schedule(id);
    }

    function _schedule(bytes32 id) private {
        Proposal storage proposal = _proposals[id];
        bytes memory data = proposal.data;
        bytes32 operation = _accessManager.hashOperation(address(this), proposal.target, data);
        proposal.state = State.Scheduled;
        // Known before the call, so that nothing is written after it.
        proposal.operationNonce = _accessManager.getNonce(operation) + 1;
        (bytes32 scheduled, uint32 operationNonce) = _accessManager.schedule(proposal.target, data, 0);
        assert(scheduled == operation && operationNonce == proposal.operationNonce);
        emit Scheduled(id, _accessManager.getSchedule(operation));
    }

    function _replaceOfficers(address[] memory next, uint8 threshold_) private {
        address[] memory previous = _officers;
        for (uint256 i = 0; i < previous.length; ++i) {
            delete _isOfficer[previous[i]];
        }
        for (uint256 i = 0; i < next.length; ++i) {
            _isOfficer[next[i]] = true;
        }
        _officers = next;
        _threshold = threshold_;
        emit OfficersChanged(next, threshold_);
    }

    /// @dev Zero when the AccessManager does not hold this proposal's own scheduling of the call (any more).
    function _executableAt(Proposal storage proposal) private view returns (uint48) {
        if (proposal.state != State.Scheduled) return 0;
        bytes32 operation = _accessManager.hashOperation(address(this), proposal.target, proposal.data);
        if (_accessManager.getNonce(operation) != proposal.operationNonce) return 0;
        return _accessManager.getSchedule(operation);
    }

    function _approvalCount(bytes32 id) private view returns (uint8 count) {
        address[] memory present = _officers;
        for (uint256 i = 0; i < present.length; ++i) {
            if (_approvals[id][present[i]]) ++count;
        }
    }

    function _checkOfficers(IAccessManager accessManager_, address[] memory next, uint8 threshold_) private view {
        require(next.length != 0 && next.length <= MAX_OFFICERS, CouncilBadOfficers());
        require(threshold_ >= (next.length == 1 ? 1 : 2) && threshold_ <= next.length, CouncilBadThreshold());
        for (uint256 i = 0; i < next.length; ++i) {
            // Neither may stand for a person: what they send comes from somebody else.
            require(
                next[i] != address(0) && next[i] != address(this) && next[i] != address(accessManager_),
                CouncilBadOfficers()
            );
            for (uint256 j = 0; j < i; ++j) {
                require(next[i] != next[j], CouncilBadOfficers());
            }
        }
    }
}
