#!/usr/bin/env python3
"""Check a record, or an access log, against its receipt. One file; needs Python 3.11, cryptography and ecdsa.

    verify_receipt.py RECEIPT FILE [--rpc URL]...     is FILE what the hospital sealed?
    verify_receipt.py --log EXPORT [--rpc URL]...     is this access log complete? (--earlier: and does it
                                                      contain an older export of the same log?)

It says exactly one of: authentic, altered, pending, superseded, erased, cannot check now.
Without --rpc nothing is sent anywhere and the chain itself is not asked; the answer says so.
Formats: docs/formats.md. Exit codes: EXIT_CODES below.
"""

import argparse
import hashlib
import hmac
import json
import re
import sys
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import ecdsa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from ecdsa.ellipticcurve import PointJacobi

EXIT_CODES = {
    "authentic": 0,
    "altered": 10,
    "pending": 11,
    "superseded": 12,
    "erased": 13,
    "cannot check now": 14,
}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
MAX_ANSWER_BYTES = 8 * 1024 * 1024
TABLE_AFTER_USES = 3  # a table of the key's multiples halves each later check and costs as much as three
# First four bytes (functions) and topics (events) of the published interface; a test compares them with the build.
CALL_VERIFY = "9f49493b"
CALL_ANCHOR_OF = "cf4ff901"
TOPIC_ANCHORED = "0x5eea6dcb0482f330d97e74f81ad1484cb3c01200961b08169650b2287a5c7d40"
KIND_AUDIT_HEADS = 2
LOG_QUESTIONS_MAX = 4000  # a node that allows few blocks a question is asked for halves
TOPIC_ACCESS_LOGGED = "0xb43b8205a932e403092c35d9bc5a25ad8c551a3e1215d453eda969dacece9bb3"


class Altered(Exception):
    """The bytes contradict the receipt, or the receipt contradicts itself or the chain."""


class CannotCheck(Exception):
    """Nothing is known to be wrong, and nothing could be proven."""


class Refused(CannotCheck):
    """The node answered, but not this question; it may answer a smaller one."""


@dataclass
class Report:
    verdict: str
    sentences: list[str]
    facts: dict = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


# --- canonical JSON (RFC 8785, the subset without fractions) ---------------------------------------------------


def canonical(value) -> bytes:
    """`value` as read by read_canonical, which lets no fraction and no large number in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode() if text.isascii() else _text(value).encode()


def _text(value) -> str:
    """The slow way: RFC 8785 orders names by UTF-16 units, Python by code points."""
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in names) + "}"
    return json.dumps(value, ensure_ascii=False)


def read_canonical(data: bytes, what: str):
    """Parse and compare with the one canonical form: this catches duplicate keys, fractions and blanks alike."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise CannotCheck(f"The {what} is too large to be one.")
    try:
        value = json.loads(data.decode(), parse_float=_refuse, parse_constant=_refuse, parse_int=_integer)
        same = canonical(value) == data
    except (ValueError, RecursionError):
        same = False
    if not same or not isinstance(value, dict):
        raise Altered(f"The {what} is not in the one exact form in which it was issued.")
    return value


def _refuse(text):
    raise ValueError(f"{text} is not allowed")


def _integer(text: str) -> int:
    return int(text) if len(text) <= 17 and abs(int(text)) < 2**53 else _refuse(text)


# --- small pieces ----------------------------------------------------------------------------------------------


def sha256(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def unhex(value, length: int | None, what: str, prefix: str = "") -> bytes:
    """Strict: lower case, exact length, with the prefix that the format prescribes."""
    body = value[len(prefix) :] if isinstance(value, str) and value.startswith(prefix) else None
    if body is None or not re.fullmatch(r"(?:[0-9a-f]{2})*", body) or (length and len(body) != 2 * length):
        raise Altered(f"The {what} in the receipt is not readable.")
    return bytes.fromhex(body)


def member(document: dict, name: str, kind: type):
    value = document.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Altered(f"The receipt has no readable “{name}”.")
    return value


def _is(value, *numbers: int) -> bool:
    """One of these integers; Python alone would take `true` for 1."""
    return type(value) is int and value in numbers


def address_bytes(value, what: str) -> bytes:
    return unhex(value.lower() if isinstance(value, str) else value, 20, what, "0x")


class PublicKey:
    """One key in both libraries; each of them checks that the point lies on the curve."""

    def __init__(self, der: bytes):
        try:
            self.first = serialization.load_der_public_key(der)
            self.second = ecdsa.VerifyingKey.from_der(der)
        except Exception as error:
            raise Altered("A public key in the receipt is not readable.") from error
        if not isinstance(self.first, ec.EllipticCurvePublicKey) or self.second.curve != ecdsa.NIST256p:
            raise Altered("A public key in the receipt is of the wrong kind.")
        self.uses = 0

    def accepted_by_cryptography(self, message: bytes, r: int, s: int) -> bool:
        try:
            self.first.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def accepted_by_ecdsa(self, message: bytes, signature: bytes) -> bool:
        self.uses += 1
        if self.uses == TABLE_AFTER_USES:
            point, curve = self.second.pubkey.point, ecdsa.NIST256p
            table = PointJacobi(curve.curve, point.x(), point.y(), 1, curve.order, generator=True)
            self.second = ecdsa.VerifyingKey.from_public_point(table, curve, validate_point=False)
        try:
            return self.second.verify(signature, message, hashfunc=hashlib.sha256)
        except ecdsa.BadSignatureError:
            return False


public_key = lru_cache(maxsize=256)(PublicKey)


def signature_holds(der: bytes, message: bytes, signature: bytes, *, is_checked_twice: bool = True) -> bool:
    """True when the libraries accept; the higher of the two possible s values is refused as malleable."""
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not 0 < r < P256_ORDER or not 0 < s <= P256_ORDER // 2:
        return False
    key = public_key(der)
    accepted = key.accepted_by_cryptography(message, r, s)
    if is_checked_twice and key.accepted_by_ecdsa(message, signature) != accepted:
        raise Altered("The two signature checks disagree. Please report this receipt.")
    return accepted


def check_signature(kind: str, manifest: bytes, signature, der, who: str) -> bytes:
    """The two manifests, which carry the proof, are checked by both libraries; the frame around them by one."""
    key = unhex(der, None, f"key of {who}")
    message = b"medportal/sig/v1\0" + kind.encode() + b"\0" + sha256(manifest)
    value = unhex(signature, 64, f"signature of {who}")
    if not signature_holds(key, message, value, is_checked_twice=kind != "receipt"):
        raise Altered(f"The signature of {who} does not fit.")
    return key


def root_from_proof(leaf: bytes, index: int, count: int, proof: list[bytes]) -> bytes | None:
    """RFC 9162 section 2.1.3.2; None when the proof has the wrong shape."""
    if not 0 <= index < count:
        return None
    first, last, value = index, count - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if first & 1 or first == last:
            value = sha256(b"\x01", sibling, value)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            value = sha256(b"\x01", value, sibling)
        first, last = first >> 1, last >> 1
    return value if last == 0 else None


def file_digest(stream) -> tuple[bytes, int]:
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(1 << 20):
        digest.update(piece)
        size += len(piece)
    return digest.digest(), size


# --- the chain, by plain JSON-RPC ------------------------------------------------------------------------------


class Node:
    """One JSON-RPC address. Every failure is CannotCheck: a silent node proves nothing."""

    def __init__(self, url: str, timeout_seconds: float = 10):
        if not url.startswith(("http://", "https://")):
            raise CannotCheck("The node address must start with http:// or https://.")
        self.url, self.timeout_seconds, self.log_questions = url, timeout_seconds, 0
        self.chain_id = self.number("eth_chainId")

    def ask(self, method: str, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url, body, headers)  # noqa: S310 the scheme is checked above
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:  # noqa: S310
                answer = json.loads(response.read(MAX_ANSWER_BYTES))
            if answer["id"] != 1 or "result" not in answer:
                if isinstance(answer.get("error"), dict):
                    raise Refused("The chain's node refuses a question, so this says nothing about the file.")
                raise ValueError("no result")
            return answer["result"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CannotCheck("The chain's node does not answer, so this says nothing about the file.") from error

    def number(self, method: str, *params) -> int:
        return self.integer(self.ask(method, *params))

    @staticmethod
    def integer(value) -> int:
        try:
            return int(value, 16)
        except (TypeError, ValueError) as error:
            raise CannotCheck("The chain's node gives answers that make no sense.") from error

    def call(self, contract: str, data: str) -> list[int]:
        answer = self.ask("eth_call", {"to": contract, "data": "0x" + data}, "latest")
        if not isinstance(answer, str) or len(answer) < 66:
            raise CannotCheck("There is no such contract on the chain that was asked.")
        return [self.integer(answer[i : i + 64]) for i in range(2, len(answer) - 1, 64)]

    def logs(self, contracts: list[str], topics: list[str], first: int, last: int) -> list[dict]:
        """All of them; a range that the node finds too long is asked for in halves."""
        self.log_questions += 1
        if self.log_questions > LOG_QUESTIONS_MAX:
            raise CannotCheck("The chain's node answers in too small pieces.")
        question = {"address": contracts, "topics": topics, "fromBlock": hex(first), "toBlock": hex(last)}
        try:
            found = self.ask("eth_getLogs", question)
        except Refused:
            if first >= last:
                raise
            middle = (first + last) // 2
            return self.logs(contracts, topics, first, middle) + self.logs(contracts, topics, middle + 1, last)
        if not isinstance(found, list):
            raise CannotCheck("The chain's node gives answers that make no sense.")
        return found

    def block_is(self, number: int, block_hash: bytes) -> None:
        if self.number("eth_blockNumber") < number:
            raise CannotCheck("The chain's node has not caught up with the block of this receipt.")
        block = self.ask("eth_getBlockByNumber", hex(number), False)
        if not isinstance(block, dict) or str(block.get("hash")).lower() != "0x" + block_hash.hex():
            raise Altered(f"The chain holds another block {number} than the receipt says.")


def _word(value) -> str:
    return (value if isinstance(value, bytes) else value.to_bytes(32, "big")).hex().rjust(64, "0")


def anchor_on_chain(
    node: Node, anchor: dict, root: bytes, leaf: bytes, proof: list[bytes], kind: int | None = None
) -> None:
    """Ask the contract for the root and for the proof, and the chain for the block and the writer."""
    contract, number = anchor["contract"], anchor["block_number"]
    node.block_is(number, unhex(anchor.get("block_hash"), 32, "block hash", "0x"))
    held = node.call(contract, CALL_ANCHOR_OF + root.hex())
    if len(held) < 5 or held[0] == 0:
        raise Altered("The chain does not hold the root that the receipt names.")
    if held[0] != number or held[2] != anchor["count"]:
        raise Altered("The chain holds this root with another block or another number of entries.")
    if kind is not None and held[4] != kind:
        raise Altered("The chain holds this root as something else than the receipt says.")
    data = _word(root) + _word(leaf) + _word(anchor["index"]) + _word(0x80) + _word(len(proof))
    if node.call(contract, CALL_VERIFY + data + b"".join(proof).hex()) != [1]:
        raise Altered("The contract refuses the proof in the receipt.")
    if not any(log["topics"][2:] == ["0x" + root.hex()] for log in _logs_of(node, anchor, TOPIC_ANCHORED)):
        raise Altered("The transaction named in the receipt wrote something else.")


def _topic_of(anchor: dict) -> str:
    return "0x" + address_bytes(anchor.get("organisation"), "organisation").hex().rjust(64, "0")


def _logs_of(node: Node, anchor: dict, topic: str) -> list[dict]:
    """What the transaction of the receipt wrote: right contract, event, organisation."""
    transaction = unhex(anchor.get("tx_hash"), 32, "transaction", "0x")
    found = node.ask("eth_getTransactionReceipt", "0x" + transaction.hex())
    if not isinstance(found, dict):
        raise CannotCheck("The chain's node does not know the transaction of this receipt.")
    organisation = _topic_of(anchor)
    try:
        if node.integer(found["blockNumber"]) != anchor["block_number"]:
            raise Altered("The transaction named in the receipt wrote something else.")
        return [
            log
            for log in found["logs"]
            if log["address"].lower() == anchor["contract"].lower()
            and log["topics"][:2] == [topic, organisation]
            and isinstance(log["data"], str)
        ]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise CannotCheck("The chain's node gives answers that make no sense.") from error


def nodes_by_chain(urls: list[str]) -> dict[int, Node]:
    return {node.chain_id: node for node in map(Node, urls)}


def check_trust(trust: dict | None, anchors: list[dict], hospital_keys: list[bytes]) -> list[str]:
    """Compare contracts and keys with the list the regulator publishes; without it, name them to be compared."""
    kids = [sha256(key).hex() for key in hospital_keys]
    if trust is None:
        return [f"The hospital's key is {kids[0][:16]}…; compare it with the published list (--trust)."]
    known = {(c["chain_id"], c["contract"].lower()) for c in trust.get("contracts", [])}
    for anchor in anchors:
        if (anchor["chain_id"], anchor["contract"].lower()) not in known:
            raise CannotCheck(f"The contract on {anchor['chain']} is not on the published list that you gave.")
    names = trust.get("keys", {})
    if any(kid not in names for kid in kids):
        raise CannotCheck("The hospital's key is not on the published list that you gave.")
    return [f"The key and the contracts are on the published list: {names[kids[0]]}."]


# --- a record --------------------------------------------------------------------------------------------------


def check_receipt(data: bytes, stream=None, *, rpc_urls=(), trust=None) -> Report:
    """`data`: the receipt's bytes; `stream`: the record, open for reading in binary."""
    try:
        return _check_receipt(data, stream, list(rpc_urls), trust)
    except Altered as reason:
        return Report("altered", [str(reason), "Do not rely on this file; ask the hospital for it again."])
    except CannotCheck as reason:
        return Report("cannot check now", [str(reason)])


def _open(data: bytes, kind: str, versions: tuple[int, ...] = (1,)) -> dict:
    receipt = read_canonical(data.removesuffix(b"\n"), "receipt")
    if not _is(receipt.get("v"), *versions) or receipt.get("type") != kind:
        raise CannotCheck(f"This is not a version {versions[-1]} {kind}; a newer checker may know it.")
    return receipt


def _check_issue(receipt: dict) -> bytes:
    """The hospital's signature over the whole document, so that no byte of it can change unnoticed."""
    signature = member(receipt, "signature", dict)
    rest = canonical({name: value for name, value in receipt.items() if name != "signature"})
    return check_signature("receipt", rest, signature.get("value"), signature.get("public_key"), "the hospital")


def _check_manifests(receipt: dict) -> tuple[dict, bytes, list[bytes]]:
    layers, keys = {}, {}
    for layer, who in (("authored", "the author"), ("epoch", "the hospital on the sealed copy")):
        part = member(receipt, layer, dict)
        text = member(part, "manifest", str).encode("utf-8", "replace")
        layers[layer] = read_canonical(text, f"{layer} manifest"), text
        keys[layer] = check_signature(layer, text, part.get("signature"), part.get("public_key"), who)
    (authored, authored_text), (epoch, epoch_text) = layers["authored"], layers["epoch"]
    if authored.get("author_kid") != sha256(keys["authored"]).hex():
        raise Altered("The author's key is not the one that the author named.")
    if epoch.get("authored_digest") != sha256(authored_text).hex():
        raise Altered("The sealed copy belongs to another original.")
    if epoch.get("signer_kid") != sha256(keys["epoch"]).hex():
        raise Altered("The hospital's key is not the one that the sealed copy names.")
    if authored.get("tenant") != receipt.get("tenant"):
        raise Altered("The receipt names another hospital than the author did.")
    return authored, epoch_text, [keys["epoch"]]


def _check_file(authored: dict, receipt: dict, stream) -> int:
    digest, size = file_digest(stream)
    salt = unhex(receipt.get("salt32"), 32, "salt")
    promised = unhex(authored.get("pt_commit"), 32, "commitment")
    if size != authored.get("size"):
        raise Altered(f"The file has {size:,} bytes, the sealed one had {authored.get('size')!r:.20}.")
    if not hmac.compare_digest(hmac.digest(salt, digest, "sha256"), promised):
        raise Altered("The file is not, byte for byte, the one that was sealed.")
    return size


def _check_place(anchor: dict) -> None:
    """Where to look: any chain, any contract, any block, but readable."""
    address_bytes(anchor.get("contract"), "contract")
    for name, kind in (("chain", str), ("chain_id", int), ("block_number", int)):
        member(anchor, name, kind)


def _check_anchor(anchor: dict, leaf: bytes, what: str = "record") -> tuple[bytes, list[bytes]]:
    _check_place(anchor)
    root = unhex(anchor.get("root"), 32, "root", "0x")
    proof = [unhex(item, 32, "proof", "0x") for item in member(anchor, "proof", list)]
    found = root_from_proof(leaf, member(anchor, "index", int), member(anchor, "count", int), proof)
    if found != root:
        raise Altered(f"The proof does not lead from this {what} to the anchored root.")
    return root, proof


def _check_receipt(data: bytes, stream, rpc_urls: list[str], trust) -> Report:
    receipt = _open(data, "record-receipt")
    hospital_keys = [_check_issue(receipt)]
    authored, epoch_text, more = _check_manifests(receipt)
    hospital_keys += more
    status = receipt.get("status")
    leaf = unhex(receipt.get("leaf"), 32, "leaf")
    facts = {"record": authored.get("record"), "version": authored.get("version"), "author_key": authored["author_kid"]}
    if status != "erased":
        salted = sha256(b"\0", unhex(receipt.get("leaf_salt"), 32, "salt of the leaf"), sha256(epoch_text))
        if not hmac.compare_digest(salted, leaf):
            raise Altered("The entry of the receipt was made for another record.")
        if stream is not None:
            facts["size"] = _check_file(authored, receipt, stream)
    anchors = member(receipt, "anchors", list)
    if not all(isinstance(anchor, dict) for anchor in anchors):
        raise Altered("An anchor in the receipt is not readable.")
    proofs = [(anchor, *_check_anchor(anchor, leaf)) for anchor in anchors if "root" in anchor]
    facts["anchors"] = [
        {name: anchor.get(name) for name in ("chain", "chain_id", "block_number", "block_time", "tx_hash", "state")}
        for anchor in anchors
    ]
    if status == "erased":
        ground = member(receipt, "erased", dict)
        said = f"The hospital erased this record on {ground.get('at')} ({ground.get('ground')})."
        return Report("erased", [said, "That is lawful deletion, not tampering; nothing is left to compare."], facts)
    if not proofs or len(proofs) < len(anchors) or any(anchor.get("state") != "final" for anchor in anchors):
        said = "The receipt was made before the anchor was confirmed. Get a newer receipt and check again."
        return Report("pending", [said], facts)
    if stream is None:
        raise CannotCheck("The receipt is sound, but no file was given to compare with it.")
    sentences = check_trust(trust, anchors, hospital_keys)
    sentences.insert(0, _ask_chains(proofs, leaf, rpc_urls, facts))
    if status == "superseded":
        newer = member(receipt, "superseded", dict)
        said = f"Unchanged, but version {newer.get('by_version')} replaced it on {newer.get('at')}."
        return Report("superseded", [said, *sentences], facts)
    if status == "withdrawn":
        said = f"Unchanged, but its author withdrew it on {member(receipt, 'withdrawn', dict).get('at')}."
        return Report("superseded", [said, *sentences], facts)
    if status != "current":
        raise Altered("The receipt has a state that does not exist.")
    said = f"The file is byte for byte the one that was sealed and anchored by {anchors[0].get('block_time')}."
    return Report("authentic", [said, *sentences], facts)


def _ask_chains(proofs: list, leaf: bytes, rpc_urls: list[str], facts: dict) -> str:
    places = ", ".join(f"{anchor['chain']} block {anchor.get('block_number')}" for anchor, *_ in proofs)
    if not rpc_urls:
        facts["chain"] = "not asked"
        return f"Checked against the receipt's own anchor ({places}). The chain itself was not asked (--rpc)."
    nodes = nodes_by_chain(rpc_urls)
    if not {anchor["chain_id"] for anchor, *_ in proofs} & set(nodes):
        asked = ", ".join(map(str, nodes))
        raise CannotCheck(f"The node belongs to chain {asked}; the receipt names {proofs[0][0]['chain_id']}.")
    agreed = []
    for anchor, root, proof in proofs:
        if node := nodes.get(anchor["chain_id"]):
            anchor_on_chain(node, anchor, root, leaf, proof)
            agreed.append(f"{anchor['chain']} block {anchor['block_number']}")
    facts["chain"] = "agrees"
    return f"Compared just now with {', '.join(agreed)}."


# --- an access log ---------------------------------------------------------------------------------------------


def check_log(data: bytes, *, earlier: bytes | None = None, rpc_urls=(), trust=None) -> Report:
    """`earlier`: an older export of the same log, which this one must contain."""
    try:
        return _check_log(data, earlier, list(rpc_urls), trust)
    except Altered as reason:
        return Report("altered", [str(reason), "The log was changed after it was written; tell the hospital."])
    except CannotCheck as reason:
        return Report("cannot check now", [str(reason)])


@dataclass
class Log:
    """An export whose entries follow from each other; `links[n]` is the link after entry n."""

    export: dict
    hospital_key: bytes
    leaves: list[bytes] = field(default_factory=list)
    links: list[bytes] = field(default_factory=lambda: [bytes(32)])

    def __len__(self) -> int:
        return len(self.leaves)


def _read_log(data: bytes) -> Log:
    export = _open(data, "access-log", versions=(1, 2))
    log = Log(export, _check_issue(export))
    for number, entry in enumerate(member(export, "entries", list), 1):
        leaf, link = _check_entry(entry, number, log.links[-1], export)
        log.leaves.append(leaf)
        log.links.append(link)
    if member(export, "count", int) != len(log):
        raise Altered(f"Entry {len(log) + 1} is missing: the log should have {export['count']}.")
    return log


def _check_entry(entry: dict, number: int, previous: bytes, export: dict) -> tuple[bytes, bytes]:
    """The leaf and the new link of entry `number`, or Altered with that number."""
    if not isinstance(entry, dict):
        raise Altered(f"Entry {number} is not readable.")
    body_text = member(entry, "body", str).encode("utf-8", "replace")
    body = read_canonical(body_text, f"entry {number}")
    if not _is(body.get("patient_seq"), number):
        raise Altered(f"Entry {number} is missing.")
    if (body.get("hospital"), body.get("patient")) != (export.get("tenant"), export.get("patient")):
        raise Altered(f"Entry {number} belongs to another log.")
    leaf = sha256(b"\0", unhex(entry.get("salt"), 32, f"salt of entry {number}"), sha256(body_text))
    if leaf.hex() != entry.get("leaf"):
        raise Altered(f"Entry {number} was changed.")
    if body.get("patient_previous_link") != previous.hex():
        raise Altered(f"Entry {number} does not follow the one before it.")
    link = sha256(previous, leaf)
    if link.hex() != entry.get("link"):
        raise Altered(f"Entry {number} was changed.")
    return leaf, link


def _check_earlier(log: Log, earlier: Log) -> None:
    """What a hospital once gave out it cannot take back."""
    if any(log.export.get(name) != earlier.export.get(name) for name in ("tenant", "patient")):
        raise CannotCheck("The earlier export is of another log.")
    if "log_key" in earlier.export and log.export.get("log_key") != earlier.export["log_key"]:
        raise Altered("The log has another key than in the earlier export: two logs may be kept.")
    for number, (new, old) in enumerate(zip(log.leaves, earlier.leaves, strict=False), 1):
        if new != old:
            raise Altered(f"Entry {number} is another one than in the earlier export.")
    if len(log) < len(earlier):
        raise Altered(f"Entry {len(log) + 1} is missing: the earlier export has {len(earlier)}.")


def _log_anchors(entries: list, anchors: list) -> dict[int, list[int]]:
    """Which entries, from the first on without a gap, each confirmed transaction carries."""
    used = {}
    for number, entry in enumerate(entries, 1):
        place = entry.get("anchor")
        if place is None:
            break
        if type(place) is not int or not 0 <= place < len(anchors) or not isinstance(anchors[place], dict):
            raise Altered(f"Entry {number} names an anchor that is not there.")
        if anchors[place].get("state") != "final":
            break
        _check_place(anchors[place])
        used.setdefault(place, []).append(number)
    return used


def _uint64(document: dict, name: str) -> bytes:
    value = member(document, name, int)
    if value < 0:
        raise Altered(f"The receipt has no readable “{name}”.")
    return value.to_bytes(8, "big")


def _check_map(log: Log, found: dict, confirmed: int) -> list[tuple[dict, bytes, list[bytes]]]:
    """How long the anchored map says that this line is, and how it ends. Returns its anchors with root and proof.

    `confirmed`: so many entries were found on the chain, so a wrong one comes after them.
    """
    number, count = _uint64(found, "number"), _uint64(found, "count")
    if found["count"] > len(log):
        raise Altered(f"Entry {len(log) + 1} is missing: the anchored map counts {found['count']}.")
    key = unhex(log.export.get("log_key"), 32, "log key")
    siblings = [unhex(item, 32, "map") for item in member(found, "siblings", list)]
    if len(siblings) > 256:
        raise Altered("The map in the receipt is not readable.")
    index = sha256(b"medportal/log-index/v1\0", key)
    line = sha256(b"medportal/log-line/v1\0", key, number, count, log.links[found["count"]])
    node, place = sha256(b"\0", index, line), int.from_bytes(index, "big") >> (256 - len(siblings))
    for sibling in siblings:
        node = sha256(b"\1", sibling, node) if place & 1 else sha256(b"\1", node, sibling)
        place >>= 1
    if node != unhex(found.get("root"), 32, "root of the map"):
        if 0 < confirmed < found["count"]:
            raise Altered(f"Entry {confirmed + 1} or a later one is not the one in the anchored map.")
        raise Altered(f"Entries 1 to {found['count']} are not the ones in the anchored map.")
    tenant = unhex(log.export.get("tenant"), 16, "hospital")
    end, before = unhex(found.get("link"), 32, "end of the log"), unhex(found.get("previous"), 32, "map before")
    head = sha256(
        b"\0medportal/log-map/v1\0", tenant, number, _uint64(found, "seq"), end, _uint64(found, "lines"), node, before
    )
    anchors = member(found, "anchors", list)
    if not anchors or not all(isinstance(anchor, dict) for anchor in anchors):
        raise Altered("An anchor in the receipt is not readable.")
    proofs = [(anchor, *_check_anchor(anchor, head, "map")) for anchor in anchors]
    if any(anchor["index"] != anchor["count"] - 1 for anchor in anchors):
        # Two maps under one root would be two answers: only the last leaf counts.
        raise Altered("Another map follows this one in the same batch.")
    found["head"] = head
    return proofs


def _check_log(data: bytes, earlier: bytes | None, rpc_urls: list[str], trust) -> Report:
    log = _read_log(data)
    if earlier is not None:
        _check_earlier(log, _read_log(earlier))
    export, anchors = log.export, member(log.export, "anchors", list)
    used = _log_anchors(export["entries"], anchors)
    nodes = nodes_by_chain(rpc_urls)
    if nodes:
        # Before the map, which can only say that something is wrong, not where.
        wrong = [
            number
            for place, numbers in used.items()
            for number in _not_on_chain(_node_of(nodes, anchors[place]), anchors[place], log, numbers)
        ]
        if wrong:
            raise Altered(f"The chain does not hold entry {min(wrong)} as written.")
    found = export.get("map") if export["v"] == 2 else None
    proofs = []
    if found is not None:
        confirmed = sum(map(len, used.values())) if nodes else 0
        proofs = _check_map(log, member(export, "map", dict), confirmed)
        if any(anchor.get("state") != "final" for anchor, *_ in proofs):
            proofs = []
    sentences = check_trust(
        trust, [anchors[place] for place in used] + [anchor for anchor, *_ in proofs], [log.hospital_key]
    )
    facts = {"count": len(log), "anchored": sum(map(len, used.values())), "complete_to": 0, "chain": "not asked"}
    newer = None
    if rpc_urls:
        if not used and not proofs:
            raise CannotCheck("No entry of this log has reached a confirmed block yet.")
        newer = _map_on_chains(log, proofs, nodes, trust)
        facts["chain"] = "agrees"
    if not proofs or (found["count"] == 0 and len(log)):
        said = f"Entries 1 to {len(log)} follow from each other, but no confirmed block says yet how many there are."
        return Report("pending", [said, "Get a newer export and check again.", *sentences], facts)
    anchor, count = proofs[0][0], found["count"]
    facts |= {"complete_to": count, "map": found["number"], "block_number": anchor["block_number"]}
    place = f"anchored at {anchor['chain']} block {anchor['block_number']}"
    said = [f"Entries 1 to {count} are complete and unchanged, {place}."]
    if len(log) > count:
        later = f"Entry {len(log)} was" if len(log) == count + 1 else f"Entries {count + 1} to {len(log)} were"
        said.append(f"{later} written after that block.")
    if newer is not None:
        said.append(f"Block {newer['block_number']} says anew how many there are: get a newer export.")
        if newer["block_time"] < str(export.get("issued_at")):
            said.append("This export was made after that block and leaves it out. Do not accept it; ask again.")
        return Report("superseded", [*said, *sentences], facts)
    asked = "Compared just now with the chain, which holds no newer count."
    if not rpc_urls:
        asked = "The chain itself was not asked (--rpc), so a newer and longer list may exist."
    return Report("authentic", [*said, asked, *sentences], facts)


def _map_on_chains(log: Log, proofs: list, nodes: dict[int, Node], trust) -> dict | None:
    """The map under its root on each chain that can be asked; returns the place of a newer map, if there is one."""
    for anchor, root, proof in proofs:
        # The first chain holds the log itself and has to be asked; the other is a witness.
        if anchor is proofs[0][0] or anchor["chain_id"] in nodes:
            anchor_on_chain(_node_of(nodes, anchor), anchor, root, log.export["map"]["head"], proof, KIND_AUDIT_HEADS)
    return _newer_map(_node_of(nodes, proofs[0][0]), *proofs[0][:2], trust) if proofs else None


def _node_of(nodes: dict[int, Node], anchor: dict) -> Node:
    node = nodes.get(member(anchor, "chain_id", int))
    if node is None:
        raise CannotCheck(f"No node of chain {anchor['chain_id']} was given.")
    return node


def _not_on_chain(node: Node, anchor: dict, log: Log, numbers: list[int]) -> list[int]:
    """The entries whose leaves their transaction did not write."""
    node.block_is(anchor["block_number"], unhex(anchor.get("block_hash"), 32, "block hash", "0x"))
    there = {word for event in _logs_of(node, anchor, TOPIC_ACCESS_LOGGED) for word in _words(event["data"])[3:]}
    return [number for number in numbers if log.leaves[number - 1].hex() not in there]


def _newer_map(node: Node, anchor: dict, root: bytes, trust) -> dict | None:
    """The first later map of the same organisation, also on other contracts that the published list names."""
    topics = [TOPIC_ANCHORED, _topic_of(anchor)]
    listed = {c["contract"].lower() for c in (trust or {}).get("contracts", []) if c["chain_id"] == node.chain_id}
    places = sorted(listed | {anchor["contract"].lower()})
    logs = node.logs(places, topics, anchor["block_number"], node.number("eth_blockNumber"))
    try:
        maps = sorted(
            (node.integer(log["blockNumber"]), node.integer(log["logIndex"]), log["topics"][2])
            for log in logs
            if node.integer(_words(log["data"])[2]) == KIND_AUDIT_HEADS
        )
        places = [place for place, found in enumerate(maps) if found[2] == "0x" + root.hex()]
        if not places:
            raise CannotCheck("The chain's node leaves out events that it has shown before.")
        later = maps[places[0] + 1 :]
        if not later:
            return None
        block = node.ask("eth_getBlockByNumber", hex(later[0][0]), False)
        at = datetime.fromtimestamp(node.integer(block["timestamp"]), UTC)
    except (KeyError, TypeError, IndexError, ValueError, OverflowError, OSError) as error:
        raise CannotCheck("The chain's node gives answers that make no sense.") from error
    return {"block_number": later[0][0], "block_time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _words(data: str) -> list[str]:
    return [data[i : i + 64] for i in range(2, len(data), 64)]


# --- command ---------------------------------------------------------------------------------------------------


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("receipt", nargs="?", help="the receipt (JSON), byte for byte as downloaded")
    parser.add_argument("file", nargs="?", help="the record")
    parser.add_argument("--log", metavar="EXPORT", help="check an access log export instead of a record")
    parser.add_argument("--earlier", metavar="EXPORT", help="an older export, which the one of --log must contain")
    parser.add_argument("--rpc", metavar="URL", action="append", default=[], help="a chain node to ask; repeatable")
    parser.add_argument("--trust", metavar="LIST", help="published list of contracts and hospital keys (JSON)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    if bool(options.log) == bool(options.receipt):
        parser.error("give either RECEIPT and FILE, or --log EXPORT")
    if options.earlier and not options.log:
        parser.error("--earlier belongs to --log")
    try:
        report = _run(options)
    except (OSError, ValueError) as error:
        report = Report("cannot check now", [f"A file could not be read: {error}."])
    if options.json:
        print(json.dumps({"verdict": report.verdict, "sentences": report.sentences, "facts": report.facts}))
    else:
        print(report.verdict)
        print("\n".join(report.sentences))
    return report.exit_code


def _run(options) -> Report:
    trust = None
    if options.trust:
        with open(options.trust, "rb") as stream:
            trust = json.load(stream)
    with open(options.log or options.receipt, "rb") as stream:
        data = stream.read(MAX_DOCUMENT_BYTES + 1)
    if options.log:
        earlier = None
        if options.earlier:
            with open(options.earlier, "rb") as stream:
                earlier = stream.read(MAX_DOCUMENT_BYTES + 1)
        return check_log(data, earlier=earlier, rpc_urls=options.rpc, trust=trust)
    if not options.file:
        return check_receipt(data, None, rpc_urls=options.rpc, trust=trust)
    with open(options.file, "rb") as stream:
        return check_receipt(data, stream, rpc_urls=options.rpc, trust=trust)


if __name__ == "__main__":
    sys.exit(main())
