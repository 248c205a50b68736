// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Consents} from "../src/Consents.sol";
import {IConsents} from "../src/interfaces/IConsents.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {OddWallet, Wallet} from "./support/Wallet.sol";

contract ConsentsTest is Fixture {
    bytes32 private constant DIGEST = keccak256("digest");
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    // --------------------------------------------------------- record and revoke

    function test_RecordAndRevoke() public {
        vm.expectEmit(address(consents));
        emit IConsents.ConsentRecorded(DIGEST);
        _record(DIGEST);
        _assertState(DIGEST, _revocationLock(_secret()), START_TIME, 0);

        vm.warp(START_TIME + 5);
        vm.expectEmit(address(consents));
        emit IConsents.ConsentRevoked(DIGEST);
        vm.prank(stranger);
        consents.revoke(DIGEST, _secret());
        _assertState(DIGEST, _revocationLock(_secret()), START_TIME, START_TIME + 5);
        vm.assertEq(address(consents.registry()), address(registry));
    }

    function test_OneSlot() public {
        _record(DIGEST);
        // _states is in slot 2, after the two fallback strings of the domain.
        bytes32 slot = vm.load(address(consents), keccak256(abi.encode(DIGEST, uint256(2))));
        vm.assertEq(uint256(slot), uint256(uint160(_revocationLock(_secret()))) | (START_TIME << 160));
    }

    function test_RecordRefusals() public {
        vm.startPrank(hospital);
        vm.expectRevert(IConsents.ConsentsEmpty.selector);
        consents.record(bytes32(0), bytes20(DIGEST));
        vm.expectRevert(IConsents.ConsentsEmpty.selector);
        consents.record(DIGEST, bytes20(0));
        consents.record(DIGEST, _revocationLock(_secret()));
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsAlreadyRecorded.selector, DIGEST));
        consents.record(DIGEST, bytes20(DIGEST));
        consents.revoke(DIGEST, _secret());
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsAlreadyRecorded.selector, DIGEST));
        consents.record(DIGEST, bytes20(DIGEST));
    }

    function test_RevokeRefusals() public {
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsNotRecorded.selector, DIGEST));
        consents.revoke(DIGEST, _secret());
        _record(DIGEST);
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsWrongSecret.selector, DIGEST));
        consents.revoke(DIGEST, keccak256("guess"));
        consents.revoke(DIGEST, _secret());
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsAlreadyRevoked.selector, DIGEST));
        consents.revoke(DIGEST, _secret());
    }

    function test_Many() public {
        (bytes32[] memory digests, bytes20[] memory locks, bytes32[] memory secrets) = _many(3);
        vm.prank(hospital);
        consents.recordMany(digests, locks);
        for (uint256 i = 0; i < 3; ++i) {
            _assertState(digests[i], locks[i], START_TIME, 0);
        }
        consents.revokeMany(digests, secrets);
        for (uint256 i = 0; i < 3; ++i) {
            _assertState(digests[i], locks[i], START_TIME, START_TIME);
        }
    }

    function test_ManyRefusals() public {
        (bytes32[] memory digests, bytes20[] memory locks, bytes32[] memory secrets) = _many(3);
        vm.startPrank(hospital);
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsLengthMismatch.selector, 3, 2));
        consents.recordMany(digests, new bytes20[](2));
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsLengthMismatch.selector, 3, 4));
        consents.revokeMany(digests, new bytes32[](4));
        vm.expectRevert(IConsents.ConsentsEmpty.selector);
        consents.recordMany(new bytes32[](0), new bytes20[](0));
        vm.expectRevert(IConsents.ConsentsEmpty.selector);
        consents.revokeMany(new bytes32[](0), new bytes32[](0));

        consents.record(digests[2], locks[2]);
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsAlreadyRecorded.selector, digests[2]));
        consents.recordMany(digests, locks);
        _assertState(digests[0], bytes20(0), 0, 0);
        digests[1] = digests[0];
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsAlreadyRecorded.selector, digests[0]));
        consents.recordMany(digests, locks);
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsNotRecorded.selector, digests[0]));
        consents.revokeMany(digests, secrets);
    }

    // ------------------------------------------------------------------- digest

    function test_DigestIsEip712() public view {
        vm.assertEq(consents.digestOf(_consent()), _digest(_consent(), address(consents)));
    }

    function test_DigestDependsOnChainAndContract() public {
        bytes32 digest = consents.digestOf(_consent());
        vm.assertTrue(new Consents(registry).digestOf(_consent()) != digest);
        vm.chainId(block.chainid + 1);
        vm.assertTrue(consents.digestOf(_consent()) != digest);
        vm.assertEq(consents.digestOf(_consent()), _digest(_consent(), address(consents)));
    }

    // ------------------------------------------------------------- authorisation

    function test_Authorised() public {
        _recordConsent(_consent());
        _assertRefusal(IConsents.Refusal.None, _consent(), _access());
    }

    function test_NotRecordedThenRevokedInTheSameBlock() public {
        _assertRefusal(IConsents.Refusal.NotRecorded, _consent(), _access());
        bytes32 digest = _recordConsent(_consent());
        _assertRefusal(IConsents.Refusal.None, _consent(), _access());
        consents.revoke(digest, _secret());
        _assertRefusal(IConsents.Refusal.Revoked, _consent(), _access());
    }

    function test_BadIdentity() public {
        bytes memory signature = _sign("patient", _recordConsent(_consent()));
        IConsents.Identity memory identity = _identity();
        identity.salt = keccak256("other salt");
        _assertRefusal(IConsents.Refusal.BadIdentity, _consent(), identity, signature, _access());
        identity = _identity();
        identity.identity = stranger;
        _assertRefusal(IConsents.Refusal.BadIdentity, _consent(), identity, signature, _access());

        IConsents.Consent memory consent = _consent();
        consent.patientKey = keccak256("no such patient");
        _recordConsent(consent);
        _assertRefusal(IConsents.Refusal.BadIdentity, consent, _access());
    }

    /// @dev An identity of someone else's, self-made: the registration holds no commitment to it.
    function test_TheServerInventsNoConsent() public {
        bytes32 digest = _recordConsent(_consent());
        IConsents.Identity memory forged = IConsents.Identity({identity: stranger, salt: IDENTITY_SALT});
        _assertRefusal(IConsents.Refusal.BadIdentity, _consent(), forged, _sign("stranger", digest), _access());
        _assertRefusal(
            IConsents.Refusal.BadSignature, _consent(), _identity(), _sign("hospital", digest), _access()
        );
    }

    function test_RotationRetiresTheOldKey() public {
        bytes32 digest = _recordConsent(_consent());
        vm.prank(hospital);
        registry.rotateIdentity(PATIENT, _preimage(), _commitment(stranger), keccak256("lock"));
        _assertRefusal(IConsents.Refusal.BadIdentity, _consent(), _access());
        IConsents.Identity memory renewed = IConsents.Identity({identity: stranger, salt: IDENTITY_SALT});
        _assertRefusal(IConsents.Refusal.None, _consent(), renewed, _sign("stranger", digest), _access());
    }

    function test_BadSignature() public {
        bytes32 digest = _recordConsent(_consent());
        bytes memory signature = _sign("patient", digest);
        _assertSignature(IConsents.Refusal.None, signature);
        _assertSignature(IConsents.Refusal.BadSignature, "");
        _assertSignature(IConsents.Refusal.BadSignature, _sign("patient", keccak256("other")));
        _assertSignature(IConsents.Refusal.BadSignature, abi.encodePacked(signature, bytes1(0)));

        (uint8 v, bytes32 r, bytes32 s) = vm.sign(_key("patient"), digest);
        bytes32 highS = bytes32(ORDER - uint256(s));
        _assertSignature(IConsents.Refusal.BadSignature, abi.encodePacked(r, highS, v == 27 ? uint8(28) : uint8(27)));
        // OpenZeppelin takes 65 bytes only; a short signature would be a second spelling of the same one.
        bytes32 vs = bytes32(uint256(s) | (uint256(v - 27) << 255));
        _assertSignature(IConsents.Refusal.BadSignature, abi.encodePacked(r, vs));
    }

    function test_NobodyIsNotAnIdentity() public {
        bytes32 key = keccak256("registered with nobody");
        vm.prank(doctor);
        registry.registerPatient(key, _commitment(address(0)), keccak256("lock"));
        IConsents.Consent memory consent = _consent();
        consent.patientKey = key;
        _recordConsent(consent);
        IConsents.Identity memory nobody = IConsents.Identity({identity: address(0), salt: IDENTITY_SALT});
        _assertRefusal(IConsents.Refusal.BadSignature, consent, nobody, new bytes(65), _access());
    }

    function test_SmartWallets() public {
        bytes32 yes = bytes32(bytes4(0x1626ba7e));
        _assertWallet(IConsents.Refusal.None, address(new Wallet(patient)), "own");
        _assertWallet(IConsents.Refusal.BadSignature, address(new Wallet(stranger)), "not the owner");
        _assertWallet(IConsents.Refusal.None, address(new OddWallet(abi.encode(yes), false)), "yes");
        _assertWallet(
            IConsents.Refusal.BadSignature, address(new OddWallet(abi.encode(bytes32(bytes4(0xffffffff))), false)), "no"
        );
        _assertWallet(IConsents.Refusal.BadSignature, address(new OddWallet(abi.encode(yes), true)), "reverts");
        _assertWallet(
            IConsents.Refusal.BadSignature, address(new OddWallet(abi.encodePacked(bytes4(0x1626ba7e)), false)), "short"
        );
        _assertWallet(IConsents.Refusal.BadSignature, address(new OddWallet("", false)), "empty");
        _assertWallet(
            IConsents.Refusal.BadSignature, address(new OddWallet(abi.encode(yes | bytes32(uint256(1))), false)), "dirty"
        );
    }

    function test_ADelegatedAccountStillSignsWithItsKey() public {
        bytes memory signature = _sign("patient", _recordConsent(_consent()));
        vm.etch(patient, address(new OddWallet("", true)).code);
        _assertRefusal(IConsents.Refusal.None, _consent(), _identity(), signature, _access());
    }

    function test_TimesToTheSecond() public {
        IConsents.Consent memory consent = _consent();
        consent.notBefore = uint64(START_TIME + 10);
        consent.expiresAt = uint64(START_TIME + 20);
        _recordConsent(consent);
        vm.warp(START_TIME + 9);
        _assertRefusal(IConsents.Refusal.NotYetValid, consent, _access());
        vm.warp(START_TIME + 10);
        _assertRefusal(IConsents.Refusal.None, consent, _access());
        vm.warp(START_TIME + 19);
        _assertRefusal(IConsents.Refusal.None, consent, _access());
        vm.warp(START_TIME + 20);
        _assertRefusal(IConsents.Refusal.Expired, consent, _access());
    }

    function test_WrongGrantee() public {
        _recordConsent(_consent());
        address[5] memory others = [doctor, otherHospital, stranger, patient, address(0)];
        for (uint256 i = 0; i < others.length; ++i) {
            IConsents.Access memory access = _access();
            access.reader = others[i];
            _assertRefusal(IConsents.Refusal.WrongGrantee, _consent(), access);
        }
    }

    function test_AnOrganisationsConsentIsItsPractitioners() public {
        IConsents.Consent memory consent = _consent();
        consent.grantee = otherHospital;
        _recordConsent(consent);
        _assertReader(IConsents.Refusal.None, consent, otherDoctor);
        _assertReader(IConsents.Refusal.None, consent, otherHospital);
        _assertReader(IConsents.Refusal.WrongGrantee, consent, doctor);
        _assertReader(IConsents.Refusal.WrongGrantee, consent, stranger);

        // A new member sees it, a leaver does not, with no new signature.
        _register(otherHospital, stranger, IRegistry.Role.Nurse);
        _assertReader(IConsents.Refusal.None, consent, stranger);
        vm.prank(otherHospital);
        registry.removePractitioner(stranger);
        _assertReader(IConsents.Refusal.InactiveMember, consent, stranger);
    }

    function test_AConsentToNobodyOpensNothing() public {
        IConsents.Consent memory consent = _consent();
        consent.grantee = address(0);
        _recordConsent(consent);
        _assertReader(IConsents.Refusal.WrongGrantee, consent, stranger);
        _assertReader(IConsents.Refusal.WrongGrantee, consent, otherHospital);
        _assertReader(IConsents.Refusal.InactiveMember, consent, address(0));
    }

    function test_InactiveMember() public {
        address[5] memory inactive = [removedDoctor, suspendedDoctor, expelledDoctor, suspendedHospital, stranger];
        for (uint256 i = 0; i < inactive.length; ++i) {
            IConsents.Consent memory consent = _consent();
            consent.grantee = inactive[i];
            _recordConsent(consent);
            _assertReader(IConsents.Refusal.InactiveMember, consent, inactive[i]);
        }
        _recordConsent(_consent());
        vm.prank(regulator);
        registry.suspendOrganisation(otherHospital);
        _assertRefusal(IConsents.Refusal.InactiveMember, _consent(), _access());
    }

    function test_Scopes() public {
        IConsents.Access memory access = _access();
        _assertScope(IConsents.Refusal.None, "laboratory", access);
        _assertScope(IConsents.Refusal.None, "all", access);
        _assertScope(IConsents.Refusal.None, access.recordKey, access);
        _assertScope(IConsents.Refusal.WrongScope, "imaging", access);
        _assertScope(IConsents.Refusal.WrongScope, keccak256("another record"), access);
        access.category = bytes32(0);
        access.recordKey = bytes32(0);
        _assertScope(IConsents.Refusal.WrongScope, bytes32(0), access);
    }

    function test_Purposes() public {
        _recordConsent(_consent());
        IConsents.Access memory access = _access();
        access.purpose = "HRESCH";
        _assertRefusal(IConsents.Refusal.WrongPurpose, _consent(), access);
        IConsents.Consent memory consent = _consent();
        consent.purpose = bytes32(0);
        access.purpose = bytes32(0);
        _recordConsent(consent);
        _assertRefusal(IConsents.Refusal.WrongPurpose, consent, access);
    }

    // --------------------------------------------------------------------- fuzz

    function testFuzz_DigestBindsEveryField(uint8 field, bytes32 change) public view {
        vm.assume(change != bytes32(0));
        IConsents.Consent memory consent = _consent();
        uint64 number = uint64(_bound(uint256(change), 1, type(uint32).max));
        field = uint8(_bound(field, 0, 7));
        if (field == 0) consent.patientKey ^= change;
        if (field == 1) consent.grantee = address(uint160(consent.grantee) ^ uint160(number));
        if (field == 2) consent.scope ^= change;
        if (field == 3) consent.purpose ^= change;
        if (field == 4) consent.notBefore += number;
        if (field == 5) consent.expiresAt += number;
        if (field == 6) consent.statement = string(abi.encodePacked(consent.statement, change));
        if (field == 7) consent.salt ^= change;
        vm.assertTrue(consents.digestOf(consent) != consents.digestOf(_consent()));
        vm.assertEq(consents.digestOf(consent), _digest(consent, address(consents)));
    }

    function testFuzz_OnlyTheSecretRevokes(bytes32 guess, address sender) public {
        vm.assume(guess != _secret());
        _record(DIGEST);
        vm.expectRevert(abi.encodeWithSelector(IConsents.ConsentsWrongSecret.selector, DIGEST));
        vm.prank(sender);
        consents.revoke(DIGEST, guess);
    }

    function testFuzz_RandomSignaturesAreRefused(bytes calldata signature) public {
        _recordConsent(_consent());
        _assertSignature(IConsents.Refusal.BadSignature, signature);
    }

    function testFuzz_AuthorisedMeansEveryRule(uint256 seed, uint64 delay) public {
        (IConsents.Consent memory consent, IConsents.Access memory access) = _anyRequest(seed);
        bytes32 digest = consents.digestOf(consent);
        bool isLive = (seed >> 40) % 8 != 0;
        if (isLive) _record(digest);
        if (isLive && (seed >> 48) % 8 == 0) {
            consents.revoke(digest, _secret());
            isLive = false;
        }
        vm.warp(START_TIME + _bound(delay, 0, 10 days));

        bool expected = isLive && block.timestamp < consent.expiresAt && _isCovered(consent, access);
        bool actual = consents.isAuthorised(consent, _identity(), _sign("patient", digest), access);
        vm.assertEq(actual, expected, "authorised");
    }

    function _anyRequest(uint256 seed)
        private
        view
        returns (IConsents.Consent memory consent, IConsents.Access memory access)
    {
        consent = _consent();
        access = _access();
        address[6] memory readers = [otherDoctor, otherHospital, doctor, removedDoctor, suspendedDoctor, stranger];
        bytes32[4] memory scopes = [bytes32("laboratory"), "all", "imaging", access.recordKey];
        consent.grantee = readers[seed % 6];
        access.reader = readers[(seed >> 8) % 6];
        consent.scope = scopes[(seed >> 16) % 4];
        access.category = scopes[(seed >> 24) % 3];
        access.purpose = (seed >> 32) % 2 == 0 ? bytes32("TREAT") : bytes32("HRESCH");
    }

    function _isCovered(IConsents.Consent memory consent, IConsents.Access memory access)
        private
        view
        returns (bool)
    {
        (address employer,,) = registry.practitionerOf(access.reader);
        bool isGrantee = access.reader == consent.grantee || employer == consent.grantee;
        bool isInScope =
            consent.scope == "all" || consent.scope == access.category || consent.scope == access.recordKey;
        return isGrantee && isInScope && registry.isActiveMember(access.reader) && access.purpose == "TREAT";
    }

    // ------------------------------------------------------------------ helpers

    function _record(bytes32 digest) private {
        vm.prank(hospital);
        consents.record(digest, _revocationLock(_secret()));
    }

    function _recordConsent(IConsents.Consent memory consent) private returns (bytes32 digest) {
        digest = consents.digestOf(consent);
        _record(digest);
    }

    function _many(uint256 count)
        private
        pure
        returns (bytes32[] memory digests, bytes20[] memory locks, bytes32[] memory secrets)
    {
        digests = new bytes32[](count);
        locks = new bytes20[](count);
        secrets = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            digests[i] = keccak256(abi.encode("digest", i));
            secrets[i] = keccak256(abi.encode("secret", i));
            locks[i] = _revocationLock(secrets[i]);
        }
    }

    function _digest(IConsents.Consent memory consent, address target) private view returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Consent(bytes32 patientKey,address grantee,bytes32 scope,bytes32 purpose,uint64 notBefore,uint64 expiresAt,string statement,bytes32 salt)"
        );
        bytes memory head = abi.encode(typeHash, consent.patientKey, consent.grantee, consent.scope, consent.purpose);
        bytes memory tail =
            abi.encode(consent.notBefore, consent.expiresAt, keccak256(bytes(consent.statement)), consent.salt);
        bytes32 structHash = keccak256(bytes.concat(head, tail));
        return keccak256(abi.encodePacked(hex"1901", _domain("Portal consent", target), structHash));
    }

    function _assertState(bytes32 digest, bytes20 lock, uint256 recordedAt, uint256 revokedAt) private view {
        (bytes20 actualLock, uint48 actualRecorded, uint48 actualRevoked) = consents.stateOf(digest);
        vm.assertEq(bytes32(actualLock), bytes32(lock), "lock");
        vm.assertEq(actualRecorded, recordedAt, "recorded");
        vm.assertEq(actualRevoked, revokedAt, "revoked");
    }

    function _assertRefusal(
        IConsents.Refusal expected,
        IConsents.Consent memory consent,
        IConsents.Identity memory identity,
        bytes memory signature,
        IConsents.Access memory access
    ) private view {
        IConsents.Refusal refusal = consents.refusalOf(consent, identity, signature, access);
        vm.assertEq(uint256(refusal), uint256(expected), "refusal");
        bool isAuthorised = consents.isAuthorised(consent, identity, signature, access);
        vm.assertEq(isAuthorised, expected == IConsents.Refusal.None, "authorised");
    }

    function _assertRefusal(
        IConsents.Refusal expected,
        IConsents.Consent memory consent,
        IConsents.Access memory access
    ) private view {
        _assertRefusal(expected, consent, _identity(), _sign("patient", consents.digestOf(consent)), access);
    }

    function _assertReader(IConsents.Refusal expected, IConsents.Consent memory consent, address reader)
        private
        view
    {
        IConsents.Access memory access = _access();
        access.reader = reader;
        _assertRefusal(expected, consent, access);
    }

    function _assertSignature(IConsents.Refusal expected, bytes memory signature) private view {
        _assertRefusal(expected, _consent(), _identity(), signature, _access());
    }

    function _assertScope(IConsents.Refusal expected, bytes32 scope, IConsents.Access memory access) private {
        IConsents.Consent memory consent = _consent();
        consent.scope = scope;
        _recordConsent(consent);
        _assertRefusal(expected, consent, access);
    }

    function _assertWallet(IConsents.Refusal expected, address wallet, string memory name) private {
        bytes32 key = keccak256(bytes(name));
        vm.prank(doctor);
        registry.registerPatient(key, _commitment(wallet), keccak256("lock"));
        IConsents.Consent memory consent = _consent();
        consent.patientKey = key;
        bytes memory signature = _sign("patient", _recordConsent(consent));
        IConsents.Identity memory identity = IConsents.Identity({identity: wallet, salt: IDENTITY_SALT});
        _assertRefusal(expected, consent, identity, signature, _access());
    }
}
