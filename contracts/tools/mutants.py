#!/usr/bin/env python3
"""Break the contracts in one place at a time and see that the tests notice. One line for each, exit 1 if one survives.

Each mutant is an exact text and what takes its place; a text that is not there (any more) is an error, so the list
cannot rot. Invariants run too. Needs about a minute for each mutant; --only NUMBER runs one.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import artefacts
from artefacts import CONTRACTS, BuildError

MUTANTS = [
    # Registry
    ("Registry", "function admitOrganisation(address organisation, Kind kind, bytes32 evidence) external restricted {",
     "function admitOrganisation(address organisation, Kind kind, bytes32 evidence) external {"),
    ("Registry", "function confirmRecovery(bytes32 patientKey) external restricted {",
     "function confirmRecovery(bytes32 patientKey) external {"),
    ("Registry", "function expelOrganisation(address organisation) external restricted {",
     "function expelOrganisation(address organisation) external {"),
    ("Registry", "require(_members[organisation].status == Status.None, RegistryAlreadyMember(organisation));", ""),
    ("Registry", "require(_members[practitioner].status == Status.None, RegistryAlreadyMember(practitioner));", ""),
    ("Registry", "require(status == Status.Suspended, RegistryWrongStatus(organisation, status));", ""),
    ("Registry", "status == Status.Active || status == Status.Suspended, RegistryWrongStatus",
     "status != Status.None, RegistryWrongStatus"),
    ("Registry", "sender.kind != Kind.None && sender.status == Status.Active, Registry",
     "sender.status == Status.Active, Registry"),
    ("Registry", "sender.kind != Kind.None && sender.status == Status.Active, Registry",
     "sender.kind != Kind.None, Registry"),
    ("Registry", "member.organisation == msg.sender && member.status == Status.Active,",
     "member.status == Status.Active,"),
    ("Registry", "member.status = Status.Expelled;", "delete _members[practitioner];"),
    ("Registry", "require(block.timestamp <= deadline, RegistryDeadlinePassed(deadline));", ""),
    ("Registry", "require(practitioner.isValid(digest, signature), RegistryBadSignature(practitioner));", ""),
    ("Registry", "member.role == Role.Doctor && member.status", "member.status"),
    ("Registry", "&& employer.kind == Kind.Hospital\n", "\n"),
    ("Registry", "&& employer.status == Status.Active,\n            RegistryNotActiveDoctor",
     ",\n            RegistryNotActiveDoctor"),
    ("Registry",
     "require(_patients[patientKey].organisation == address(0), RegistryPatientExists(patientKey));", ""),
    ("Registry", "keccak256(abi.encode(preimage)) == patient.rotationLock,", "true,"),
    ("Registry", "if (isPending || patient.organisation", "if (patient.organisation"),
    ("Registry", "block.number >= announcedAt + ROTATION_BLOCKS", "block.number > announcedAt"),
    ("Registry", "require(_rotationSeals[seal] == 0, RegistryAlreadyAnnounced(seal));", ""),
    ("Registry", "recovery.executableAt != 0 && block.timestamp", "block.timestamp"),
    ("Registry", "recovery.executableAt != 0 && block.timestamp >= recovery.executableAt",
     "recovery.executableAt != 0"),
    ("Registry", "require(_recoveries[patientKey].proposedAt == 0, RegistryRecoveryPending(patientKey));", ""),
    ("Registry", "patient.rotationLock = preimage;", ""),
    ("Registry", "require(version > _lastVersions[name]", "require(version >= _lastVersions[name]"),
    ("Registry", "deployed.code.length != 0 && actual == codeHash", "actual == codeHash"),
    ("Registry", "if (employer.status != Status.Active) return (address(0), Kind.None);", ""),
    ("Registry", "&& _members[hospital].status == Status.Active;", ";"),
    ("Registry", "return hospital != address(0) && member.organisation", "return member.organisation"),
    ("Registry", "emit PractitionerRemoved(msg.sender, practitioner);", ""),
    # AnchorLog
    ("AnchorLog", "require(_isActiveOrganisation(msg.sender), AnchorLogNotActiveOrganisation(msg.sender));", ""),
    ("AnchorLog", "require(firstSeq == expected, AnchorLogWrongSequence(expected, firstSeq));", ""),
    ("AnchorLog", "firstSeq == expected,", "firstSeq >= expected,"),
    ("AnchorLog", "require(_anchors[root].blockNumber == 0, AnchorLogAlreadyAnchored(root));", ""),
    ("AnchorLog", "_nextSeq[msg.sender] = expected + count;", "_nextSeq[msg.sender] = expected + 1;"),
    ("AnchorLog", "if (index >= count) return false;", "if (count == 0) return false;"),
    ("AnchorLog", "return last == 0 && node == root;", "return node == root;"),
    ("AnchorLog", "if (last == 0) return false;", ""),
    ("AnchorLog", "position & 1 == 1 || position == last", "position & 1 == 1"),
    ("AnchorLog", "bytes1(0x01)", "bytes1(0x00)"),
    # AccessLog
    ("AccessLog", "require(firstSeq == current.count, AccessLogWrongSequence(current.count, firstSeq));", ""),
    ("AccessLog", " || status == IRegistry.Status.Suspended", ""),
    ("AccessLog", "status == IRegistry.Status.Active ||", "status == IRegistry.Status.Expelled ||"),
    ("AccessLog", "sha256(abi.encodePacked(rolling, leaves[i]))", "sha256(abi.encodePacked(leaves[i]))"),
    ("AccessLog", "emit AccessLogged(msg.sender, firstSeq, leaves);", ""),
    # Consents
    ("Consents", "function record(bytes32 digest, bytes20 revocationLock) external onlyActiveOrganisation {",
     "function record(bytes32 digest, bytes20 revocationLock) external {"),
    ("Consents", "require(_states[digest].recordedAt == 0, ConsentsAlreadyRecorded(digest));", ""),
    ("Consents", "require(state.revokedAt == 0, ConsentsAlreadyRevoked(digest));", ""),
    ("Consents", "require(bytes20(keccak256(abi.encode(secret))) == state.lock, ConsentsWrongSecret(digest));", ""),
    ("Consents", "if (state.recordedAt == 0) return Refusal.NotRecorded;", ""),
    ("Consents", "if (state.revokedAt != 0) return Refusal.Revoked;", ""),
    ("Consents", "if (!_isIdentityOf(consent.patientKey, identity)) return Refusal.BadIdentity;", ""),
    ("Consents", "if (!identity.identity.isValid(digest, signature)) return Refusal.BadSignature;", ""),
    ("Consents", "if (block.timestamp < consent.notBefore) return Refusal.NotYetValid;", ""),
    ("Consents", "block.timestamp >= consent.expiresAt", "block.timestamp > consent.expiresAt"),
    ("Consents", "if (employer == address(0) || employer != consent.grantee) return Refusal.WrongGrantee;", ""),
    ("Consents", "if (!registry().isActiveMember(access.reader)) return Refusal.InactiveMember;", ""),
    ("Consents", "if (!_isCovered(consent.scope, access)) return Refusal.WrongScope;", ""),
    ("Consents", "if (scope == bytes32(0)) return false;", ""),
    ("Consents", "consent.purpose == bytes32(0) || access.purpose", "access.purpose"),
    ("Consents", "keccak256(bytes(consent.statement)),", "keccak256(bytes(\"\")),"),
    # RecordStore and the shared parts
    ("RecordStore", "kind == IRegistry.Kind.Hospital,", "kind != IRegistry.Kind.None,"),
    ("RecordStore", "series.count == 0 || series.organisation == organisation,", "true,"),
    ("RecordStore", "length != 0 && length <= MAX_IDENTIFIER", "length <= MAX_IDENTIFIER"),
    ("RecordStore", "uint32 version = series.count + 1;", "uint32 version = 1;"),
    ("Signatures", "if (signer == address(0)) return false;", ""),
    ("Signatures", "failure == ECDSA.RecoverError.NoError && recovered == signer", "recovered == signer"),
    ("Signatures", "success && answer.length >= 32", "answer.length >= 32"),
    ("Membership", "return status == IRegistry.Status.Active;", "return status != IRegistry.Status.None;"),
]  # fmt: skip
# No test can tell these from the original: another check behind it gives the same answer.
EQUIVALENT = {
    ("Signatures", "failure == ECDSA.RecoverError.NoError && recovered == signer"):
        "a failed recovery gives the zero address, which the first line refuses",
    ("Signatures", "if (signer == address(0)) return false;"):
        "nothing recovers to the zero address without an error, and it has no code",
    ("AnchorLog", "if (last == 0) return false;"):
        "a path that is too long cannot hash to the root again",
    ("Registry", "return hospital != address(0) && member.organisation"):
        "the hospital of an unknown patient is the zero address, which is never active",
}  # fmt: skip


def workspace(folder: Path) -> Path:
    """A copy with the compiler's cache, beside the same node_modules."""
    (folder / "node_modules").symlink_to(CONTRACTS.parent / "node_modules")
    if (CONTRACTS.parent / ".venv").exists():
        (folder / ".venv").symlink_to(CONTRACTS.parent / ".venv")
    return Path(shutil.copytree(CONTRACTS, folder / "contracts"))


def survives(copy: Path, contract: str, text: str, replacement: str) -> bool:
    path = copy / "src" / f"{contract}.sol"
    original = path.read_text()
    if original.count(text) < 1:
        raise BuildError(f"{contract}.sol has no longer the text {text!r}")
    path.write_text(original.replace(text, replacement, 1))
    try:
        artefacts.forge("test", "--fuzz-runs", "32", "--fail-fast", "--no-match-contract", "GasBench")
    except BuildError as error:
        if "Compiler run failed" in str(error):
            raise BuildError(f"the mutant of {text!r} does not compile:\n{str(error)[-2000:]}") from None
        return False
    else:
        return True
    finally:
        path.write_text(original)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, action="append", help="number of a mutant; may be given again")
    parser.add_argument("--from", dest="first", type=int, default=0)
    options = parser.parse_args()
    chosen = options.only or range(options.first, len(MUTANTS))
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        artefacts.CONTRACTS = copy = workspace(Path(folder))
        for number in chosen:
            contract, text, replacement = MUTANTS[number]
            if (contract, text) in EQUIVALENT:
                print(f"{number:3} same    {contract}: {EQUIVALENT[contract, text]}", flush=True)
                continue
            started = time.monotonic()
            is_alive = survives(copy, contract, text, replacement)
            word = "ALIVE" if is_alive else "killed"
            print(f"{number:3} {word:7} {time.monotonic() - started:4.0f} s  {contract}: {text[:90]!r}", flush=True)
            if is_alive:
                survivors.append(number)
    print(f"{len(chosen)} mutants, alive: {survivors or 'none'}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
