// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Consents} from "../../src/Consents.sol";
import {Signatures} from "../../src/Signatures.sol";
import {IConsents} from "../../src/interfaces/IConsents.sol";
import {IRegistry} from "../../src/interfaces/IRegistry.sol";
import {Vm} from "../support/Vm.sol";

/// @dev A registry that answers whatever it was given, so that a proof holds for every registry.
contract AnyRegistry {
    address public employer;
    bool public isActive;
    address public hospital;
    bytes32 public commitment;
    IRegistry.Status public senderStatus;

    function set(address employer_, bool isActive_, address hospital_, bytes32 commitment_) external {
        (employer, isActive, hospital, commitment) = (employer_, isActive_, hospital_, commitment_);
    }

    function setSender(IRegistry.Status status) external {
        senderStatus = status;
    }

    function organisationStatus(address) external view returns (IRegistry.Kind, IRegistry.Status) {
        return (IRegistry.Kind.Hospital, senderStatus);
    }

    function practitionerOf(address) external view returns (address, IRegistry.Role, IRegistry.Status) {
        return (employer, IRegistry.Role.Doctor, IRegistry.Status.Active);
    }

    function isActiveMember(address) external view returns (bool) {
        return isActive;
    }

    function patientOf(bytes32) external view returns (address, bytes32) {
        return (hospital, commitment);
    }
}

contract SignatureCheck {
    function isValid(address signer, bytes32 digest, bytes calldata signature) external view returns (bool) {
        return Signatures.isValid(signer, digest, signature);
    }
}

/// @dev Proved by halmos for all values, and run by forge as fuzz tests (`testFuzz_`) in every run.
contract AuthorisationProofs {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    struct World {
        uint64 time;
        bool isRecorded;
        bool isRevoked;
        address employer;
        bool isActive;
        address hospital;
        bytes32 commitment;
    }

    struct Terms {
        bytes32 patientKey;
        address grantee;
        bytes32 scope;
        bytes32 purpose;
        uint64 notBefore;
        uint64 expiresAt;
        bytes32 salt;
    }

    struct Proof {
        address identity;
        bytes32 identitySalt;
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    bytes32 private constant SECRET = keccak256("secret");

    AnyRegistry private registry;
    Consents private consents;
    SignatureCheck private signatures;

    function setUp() public {
        registry = new AnyRegistry();
        consents = new Consents(IRegistry(address(registry)));
        signatures = new SignatureCheck();
        vm.warp(1_800_000_000);
    }

    // ------------------------------------------------ an answer implies its rule

    function check_Recorded(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) public {
        if (_ask(w, t, p, a)) assert(w.isRecorded);
    }

    function check_NotRevoked(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) public {
        if (_ask(w, t, p, a)) assert(!w.isRevoked);
    }

    function check_OfThatPatient(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) public {
        if (_ask(w, t, p, a)) {
            assert(w.hospital != address(0));
            assert(w.commitment == keccak256(abi.encode(p.identity, p.identitySalt)));
        }
    }

    function check_SignedByTheIdentity(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a)
        public
    {
        if (_ask(w, t, p, a)) {
            assert(p.identity != address(0));
            assert(signatures.isValid(p.identity, consents.digestOf(_consent(t)), _signature(p)));
        }
    }

    function check_InItsTime(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) public {
        if (_ask(w, t, p, a)) assert(t.notBefore <= w.time && w.time < t.expiresAt);
    }

    function check_ByTheGrantee(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) public {
        if (_ask(w, t, p, a)) {
            assert(a.reader == t.grantee || (w.employer == t.grantee && w.employer != address(0)));
        }
    }

    function check_ByAnActiveMember(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) public {
        if (_ask(w, t, p, a)) assert(w.isActive);
    }

    function check_InScope(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) public {
        if (_ask(w, t, p, a)) {
            assert(t.scope != bytes32(0));
            assert(t.scope == "all" || t.scope == a.category || t.scope == a.recordKey);
        }
    }

    function check_ForItsPurpose(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) public {
        if (_ask(w, t, p, a)) assert(a.purpose == t.purpose && t.purpose != bytes32(0));
    }

    // -------------------------------------------- and all rules imply the answer

    function check_NothingElseRefuses(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a)
        public
    {
        bool isAuthorised = _ask(w, t, p, a);
        bool isOfPatient =
            w.hospital != address(0) && w.commitment == keccak256(abi.encode(p.identity, p.identitySalt));
        bool isReader = a.reader == t.grantee || (w.employer == t.grantee && w.employer != address(0));
        bool isCovered = t.scope != bytes32(0) && (t.scope == "all" || t.scope == a.category || t.scope == a.recordKey);
        bool isPurpose = t.purpose != bytes32(0) && a.purpose == t.purpose;
        if (
            w.isRecorded && !w.isRevoked && isOfPatient && t.notBefore <= w.time && w.time < t.expiresAt && isReader
                && w.isActive && isCovered && isPurpose
                && signatures.isValid(p.identity, consents.digestOf(_consent(t)), _signature(p))
        ) assert(isAuthorised);
    }

    // ----------------------------------------------------------- the state of one

    function check_OnlyActiveOrganisationsRecord(uint8 status, bytes32 digest, bytes20 lock) public {
        vm.assume(status <= uint8(type(IRegistry.Status).max));
        registry.setSender(IRegistry.Status(status));
        try consents.record(digest, lock) {
            assert(IRegistry.Status(status) == IRegistry.Status.Active);
            (bytes20 kept, uint48 recordedAt, uint48 revokedAt) = consents.stateOf(digest);
            assert(kept == lock && recordedAt == block.timestamp && revokedAt == 0);
        } catch {}
    }

    function check_RecordedOnceForEver(bytes32 digest, bytes20 lock, bytes20 other, bool isRevoked) public {
        vm.assume(digest != bytes32(0) && lock != bytes20(0));
        registry.setSender(IRegistry.Status.Active);
        bytes20 first = isRevoked ? bytes20(keccak256(abi.encode(SECRET))) : lock;
        consents.record(digest, first);
        if (isRevoked) consents.revoke(digest, SECRET);
        try consents.record(digest, other) {
            assert(false);
        } catch {}
        (bytes20 kept,,) = consents.stateOf(digest);
        assert(kept == first);
    }

    function check_OnlyTheSecretRevokes(bytes32 digest, bytes20 lock, bytes32 secret) public {
        vm.assume(digest != bytes32(0) && lock != bytes20(0));
        registry.setSender(IRegistry.Status.Active);
        consents.record(digest, lock);
        try consents.revoke(digest, secret) {
            assert(bytes20(keccak256(abi.encode(secret))) == lock);
        } catch {
            assert(bytes20(keccak256(abi.encode(secret))) != lock);
        }
    }

    // ---------------------------------------------------------- the same, by forge

    function testFuzz_EveryRule(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a, uint256 mix)
        public
    {
        _near(w, t, p, a, mix);
        bool isAuthorised = _ask(w, t, p, a);
        vm.assertEq(
            isAuthorised,
            mix % 512 == 0 || _isStillAuthorised(w, t, a),
            "near misses differ from the authorised case by their rule"
        );
    }

    /// @dev Starts from an authorised case and breaks the rules whose bits are set.
    function _near(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a, uint256 mix) private view {
        uint256 key = uint256(keccak256("identity"));
        p.identity = vm.addr(key);
        t.expiresAt = uint64(2 + uint256(t.expiresAt) % 4_000_000_000);
        t.notBefore = uint64(uint256(t.notBefore) % (t.expiresAt - 1));
        w.time = uint64(t.notBefore + uint256(w.time) % (t.expiresAt - t.notBefore));
        if (t.purpose == bytes32(0)) t.purpose = "TREAT";
        if (t.grantee == address(0)) t.grantee = address(1);
        w.isRecorded = mix & 1 == 0;
        w.isRevoked = mix & 2 != 0 && w.isRecorded;
        w.isActive = mix & 4 == 0;
        w.hospital = mix & 8 == 0 ? address(2) : address(0);
        w.commitment = keccak256(abi.encode(p.identity, p.identitySalt));
        a.purpose = mix & 16 == 0 ? t.purpose : ~t.purpose;
        a.reader = mix & 32 == 0 ? t.grantee : address(~uint160(t.grantee));
        if (mix & 32 != 0) w.employer = address(0);
        t.scope = mix & 64 == 0 ? bytes32("all") : bytes32("imaging");
        if (mix & 128 != 0) w.time = t.expiresAt;
        bytes32 digest = consents.digestOf(_consent(t));
        (p.v, p.r, p.s) = vm.sign(mix & 256 == 0 ? key : key + 1, digest);
    }

    /// @dev The one broken rule that random values may mend: a scope that names the very category or record.
    function _isStillAuthorised(World memory w, Terms memory t, IConsents.Access memory a) private pure returns (bool) {
        return w.isRecorded && !w.isRevoked && w.isActive && w.hospital != address(0) && a.purpose == t.purpose
            && a.reader == t.grantee && w.time < t.expiresAt && (t.scope == a.category || t.scope == a.recordKey);
    }

    // -------------------------------------------------------------------- helpers

    function _ask(World memory w, Terms memory t, Proof memory p, IConsents.Access memory a) private returns (bool) {
        bytes32 digest = consents.digestOf(_consent(t));
        if (w.isRecorded) {
            registry.setSender(IRegistry.Status.Active);
            consents.record(digest, bytes20(keccak256(abi.encode(SECRET))));
            if (w.isRevoked) consents.revoke(digest, SECRET);
        }
        registry.set(w.employer, w.isActive, w.hospital, w.commitment);
        vm.warp(w.time);
        IConsents.Identity memory identity = IConsents.Identity({identity: p.identity, salt: p.identitySalt});
        return consents.isAuthorised(_consent(t), identity, _signature(p), a);
    }

    function _consent(Terms memory t) private pure returns (IConsents.Consent memory) {
        return IConsents.Consent({
            patientKey: t.patientKey,
            grantee: t.grantee,
            scope: t.scope,
            purpose: t.purpose,
            notBefore: t.notBefore,
            expiresAt: t.expiresAt,
            statement: "May read",
            salt: t.salt
        });
    }

    function _signature(Proof memory p) private pure returns (bytes memory) {
        return abi.encodePacked(p.r, p.s, p.v);
    }
}
