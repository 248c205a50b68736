"""Receipts and log exports made from scratch, so that the checker is tested against the format, not our own writer."""

import hashlib
import hmac
import json
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from records.verification.verify_receipt import P256_ORDER

ORDER = P256_ORDER
SUP, MED = 31337, 31338
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
ORGANISATION = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


class Signer:
    """A P-256 key that signs the way the portal does."""

    def __init__(self, secret: int):
        self.key = ec.derive_private_key(secret, ec.SECP256R1())
        self.spki = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, kind: str, manifest: bytes, *, high_s: bool = False) -> str:
        message = b"medportal/sig/v1\0" + kind.encode() + b"\0" + sha(manifest)
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        low = min(s, ORDER - s)
        return (r.to_bytes(32, "big") + (ORDER - low if high_s else low).to_bytes(32, "big")).hex()


HOSPITAL, DOCTOR, STRANGER = Signer(11), Signer(12), Signer(13)


def tree(leaves: list[bytes]) -> bytes:
    """The definition in RFC 9162 section 2.1.1, kept apart from the code under test."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\1", tree(leaves[:split]), tree(leaves[split:]))


def path(leaves: list[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*path(leaves[:split], index), tree(leaves[split:])]
    return [*path(leaves[split:], index - split), tree(leaves[:split])]


@dataclass
class Receipt:
    """One record with its receipt; change a part, then ask for `data` to sign and serialise it again."""

    content: bytes = b"%PDF-1.7 discharge letter\n" * 40
    count: int = 5
    index: int = 3
    chains: tuple = (("SUP", SUP),)
    hospital: Signer = HOSPITAL
    doctor: Signer = DOCTOR
    high_s: str = ""
    changes: dict = field(default_factory=dict)
    authored_changes: dict = field(default_factory=dict)
    epoch_changes: dict = field(default_factory=dict)
    anchor_changes: dict = field(default_factory=dict)

    salt = bytes(range(32))
    leaf_salt = bytes(range(32, 64))

    @property
    def authored(self) -> bytes:
        return rfc8785.dumps(
            {
                "v": 1,
                "suite": 1,
                "tenant": "a1" * 16,
                "record": "b2" * 16,
                "version": 1,
                "prev_authored_digest": None,
                "author_kid": sha(self.doctor.spki).hex(),
                "media_type": "application/pdf",
                "size": len(self.content),
                "created_at": "2026-11-03T10:14:00Z",
                "pt_commit": hmac.digest(self.salt, sha(self.content), "sha256").hex(),
            }
            | self.authored_changes
        )

    @property
    def epoch(self) -> bytes:
        return rfc8785.dumps(
            {
                "authored_digest": sha(self.authored).hex(),
                "epoch": 0,
                "prev_epoch_digest": None,
                "ct_sha256": "c3" * 32,
                "ct_merkle_root": "d4" * 32,
                "size": len(self.content) + 72,
                "header": "e5" * 56,
                "wraps_digest": "f6" * 32,
                "signer_kid": sha(HOSPITAL.spki).hex(),
                "reason": "created",
            }
            | self.epoch_changes
        )

    @property
    def leaf(self) -> bytes:
        return sha(b"\0", self.leaf_salt, sha(self.epoch))

    @property
    def leaves(self) -> list[bytes]:
        return [self.leaf if i == self.index else sha(b"other", str(i).encode()) for i in range(self.count)]

    @property
    def root(self) -> bytes:
        return tree(self.leaves)

    def anchor(self, chain: str, chain_id: int) -> dict:
        return {
            "chain": chain,
            "chain_id": chain_id,
            "contract": CONTRACT,
            "organisation": ORGANISATION,
            "root": "0x" + self.root.hex(),
            "index": self.index,
            "count": self.count,
            "proof": ["0x" + item.hex() for item in path(self.leaves, self.index)],
            "tx_hash": "0x" + "77" * 32,
            "block_number": 18204,
            "block_hash": "0x" + "88" * 32,
            "block_time": "2026-11-03T10:14:12Z",
            "state": "final",
        } | self.anchor_changes

    @property
    def document(self) -> dict:
        authored, epoch = self.authored, self.epoch
        return {
            "v": 1,
            "type": "record-receipt",
            "suite": 1,
            "tenant": "a1" * 16,
            "status": "current",
            "authored": {
                "manifest": authored.decode(),
                "signature": self.doctor.sign("authored", authored, high_s=self.high_s == "authored"),
                "public_key": self.doctor.spki.hex(),
            },
            "epoch": {
                "manifest": epoch.decode(),
                "signature": HOSPITAL.sign("epoch", epoch, high_s=self.high_s == "epoch"),
                "public_key": HOSPITAL.spki.hex(),
            },
            "salt32": self.salt.hex(),
            "leaf_salt": self.leaf_salt.hex(),
            "leaf": self.leaf.hex(),
            "anchors": [self.anchor(*chain) for chain in self.chains],
            "issued_at": "2026-11-20T09:00:00Z",
        } | self.changes

    @property
    def data(self) -> bytes:
        return issue(self.document, self.hospital, high_s=self.high_s == "receipt")


def issue(document: dict, hospital: Signer = HOSPITAL, *, high_s: bool = False) -> bytes:
    """Sign and serialise, as the portal does last."""
    document = {name: value for name, value in document.items() if name != "signature" and value is not ...}
    kind = "receipt"
    value = hospital.sign(kind, rfc8785.dumps(document), high_s=high_s)
    return rfc8785.dumps(document | {"signature": {"public_key": hospital.spki.hex(), "value": value}})


TENANT, PATIENT, LOG_KEY = "a1" * 16, "b7" * 16, bytes(range(64, 96))
NEIGHBOURS = [sha(b"neighbour", bytes([n])) for n in range(20)]


def map_node(leaves: dict[str, bytes], prefix: str = "") -> bytes:
    """The definition in docs/formats.md over {bits of the index: leaf}, kept apart from the code under test."""
    below = {bits: leaf for bits, leaf in leaves.items() if bits.startswith(prefix)}
    if len(below) < 2:
        return next(iter(below.values()), bytes(32))
    return sha(b"\1", map_node(below, prefix + "0"), map_node(below, prefix + "1"))


def map_siblings(leaves: dict[str, bytes], bits: str) -> list[bytes]:
    """From the leaf upwards."""
    found, prefix = [], ""
    while sum(other.startswith(prefix) for other in leaves) > 1:
        step = bits[len(prefix)]
        found.append(map_node(leaves, prefix + "10"[int(step)]))
        prefix += step
    return found[::-1]


def bits_of(log_key: bytes) -> str:
    return f"{int.from_bytes(sha(b'medportal/log-index/v1', bytes(1), log_key)):0256b}"


def line_leaf(log_key: bytes, number: int, count: int, link: bytes) -> bytes:
    index = sha(b"medportal/log-index/v1", bytes(1), log_key)
    counts = number.to_bytes(8) + count.to_bytes(8)
    return sha(b"\0", index, sha(b"medportal/log-line/v1", bytes(1), log_key, counts, link))


def log_map(
    count: int, link: bytes, *, changes: dict | None = None, anchor_changes: dict | None = None, **place
) -> dict:
    """A map in which the line of LOG_KEY has `count` entries; `changes` come before the head is made."""
    number = place.get("number", 17)
    leaves = {bits_of(key): line_leaf(key, number, 3, sha(key)) for key in NEIGHBOURS[: place.get("neighbours", 20)]}
    mine = bits_of(LOG_KEY)
    leaves[mine] = line_leaf(LOG_KEY, number, count, link)
    found = {
        "number": number,
        "seq": 41,
        "link": sha(b"end").hex(),
        "lines": len(leaves),
        "root": map_node(leaves).hex(),
        "previous": sha(b"map before").hex(),
        "count": count,
        "siblings": [item.hex() for item in map_siblings(leaves, mine)],
    } | (changes or {})
    head = sha(
        b"\0medportal/log-map/v1\0",
        bytes.fromhex(TENANT),
        found["number"].to_bytes(8),
        found["seq"].to_bytes(8),
        bytes.fromhex(found["link"]),
        found["lines"].to_bytes(8),
        bytes.fromhex(found["root"]),
        bytes.fromhex(found["previous"]),
    )
    before = [sha(b"head before", bytes([n])) for n in range(place.get("before", 0))]
    anchor = {
        "chain": "MED",
        "chain_id": MED,
        "contract": CONTRACT,
        "organisation": ORGANISATION,
        "root": "0x" + tree([*before, head]).hex(),
        "index": len(before),
        "count": len(before) + 1,
        "proof": ["0x" + item.hex() for item in path([*before, head], len(before))],
        "tx_hash": "0x" + "77" * 32,
        "block_number": 502,
        "block_hash": "0x" + "bb" * 32,
        "block_time": "2026-11-03T10:14:20Z",
        "state": "final",
    } | (anchor_changes or {})
    return found | {"anchors": [anchor]}


def log_export(
    count: int = 7,
    *,
    final: int | None = None,
    counted: int | None = None,
    map_changes: dict | None = None,
    anchor_changes: dict | None = None,
    **place,
) -> dict:
    """An access log: the first `final` entries are in a confirmed block, and a confirmed map counts `counted`."""
    final = count if final is None else final
    counted = final if counted is None else counted
    links, entries = [bytes(32)], []
    for number in range(1, count + 1):
        body = rfc8785.dumps(
            {
                "patient_seq": number,
                "patient_previous_link": links[-1].hex(),
                "hospital": TENANT,
                "patient": PATIENT,
                "action": "records.version.read",
                "seq": number * 3,
            }
        )
        salt = sha(b"salt", bytes([number]))
        leaf = sha(b"\0", salt, sha(body))
        links.append(sha(links[-1], leaf))
        entries.append(
            {
                "body": body.decode(),
                "salt": salt.hex(),
                "leaf": leaf.hex(),
                "link": links[-1].hex(),
                "anchor": 0 if number <= final else None,
            }
        )
    anchor = {
        "chain": "MED",
        "chain_id": MED,
        "contract": CONTRACT,
        "organisation": ORGANISATION,
        "tx_hash": "0x" + "99" * 32,
        "block_number": 501,
        "block_hash": "0x" + "aa" * 32,
        "block_time": "2026-11-03T10:14:12Z",
        "state": "final",
    }
    link = links[counted] if counted <= count else sha(b"cut")
    return {
        "v": 2,
        "type": "access-log",
        "tenant": TENANT,
        "patient": PATIENT,
        "count": count,
        "entries": entries,
        "anchors": [anchor] if final else [],
        "log_key": LOG_KEY.hex(),
        "map": log_map(counted, link, changes=map_changes, anchor_changes=anchor_changes, **place) if final else None,
        "people": {},
        "issued_at": "2026-11-20T09:00:00Z",
    }


class FakeNode:
    """A JSON-RPC server on a free port that answers from a table; `answers[method]` is a value or a function."""

    def __init__(self, answers: dict):
        self.answers, self.asked = answers, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body["method"])
                answer = deepcopy(outer.answers.get(body["method"]))
                if callable(answer):
                    answer = answer(*body["params"])
                out = answer if isinstance(answer, bytes) else json.dumps({"id": body["id"], "result": answer}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(out)

            def log_message(self, *arguments):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    @cached_property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
