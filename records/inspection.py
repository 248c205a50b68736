"""Is this file what its name says, and safe to keep? Names and the first 4 KiB here, whole files in formats.py.

Used twice: at the door, where a refused file leaves nothing, and by the worker, where it is held back
with its bytes sealed. Every refusal says what to do next.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

import puremagic

HEAD_BYTES = 4_096

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
# Directional marks turn "exe.gpj" into "jpg.exe" on the screen.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ACTIVE = re.compile(rb"^\s*(?:<!doctype\s+html|<html|<script|<svg|<\?php|#!|MZ|\x7fELF)", re.IGNORECASE)
_MARKUP = re.compile(rb"<(?:script|html|svg)[\s>]", re.IGNORECASE)


@dataclass(frozen=True)
class Kind:
    """A file type that the portal keeps."""

    name: str
    media_type: str
    extensions: tuple[str, ...]
    label: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("pdf", "application/pdf", ("pdf",), "PDF document"),
        Kind("png", "image/png", ("png",), "PNG picture"),
        Kind("jpeg", "image/jpeg", ("jpg", "jpeg"), "JPEG picture"),
        Kind("dicom", "application/dicom", ("dcm", "dicom"), "DICOM image"),
        Kind("fhir", "application/fhir+json", ("json",), "FHIR resource"),
        Kind("ccda", "application/cda+xml", ("xml",), "C-CDA document"),
        Kind("hl7", "x-application/hl7-v2+er7", ("hl7", "er7"), "HL7 version 2 message"),
        Kind("csv", "text/csv", ("csv",), "CSV table"),
        Kind("text", "text/plain", ("txt",), "text file"),
        Kind("zip", "application/zip", ("zip",), "ZIP archive"),
    )
}
_BY_EXTENSION = {extension: kind for kind in KINDS.values() for extension in kind.extensions}
ACCEPTED_EXTENSIONS = tuple(sorted(_BY_EXTENSION))
ACCEPTED_TEXT = "PDF, PNG, JPEG, DICOM, FHIR JSON, C-CDA XML, HL7 v2, CSV, text and ZIP files are accepted."
# Extensions that mean something on a desktop; before the last dot they are there to mislead.
_MISLEADING = re.compile(
    "|".join(_BY_EXTENSION)
    + "|exe|com|bat|cmd|scr|msi|dll|js|vbs|ps1|jar|app|sh|py|php|html|htm|svg|doc|docm|docx|xls|xlsm|xlsx|lnk|iso"
)


class Refusal(Exception):
    """Why a file was turned away or held back, in words for the person who sent it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Finding:
    """What a file is. `tags` are part of its sealed metadata and never stand in a column."""

    kind: Kind
    tags: dict = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def media_type(self) -> str:
        return self.kind.media_type


def name_check(raw: str, *, max_bytes: int = 255) -> str:
    """The name to keep, or a Refusal. Names never become paths; these rules protect whoever downloads."""
    if not raw or not raw.strip():
        raise Refusal("name_missing", "The file has no name. Give it a name and upload it again.")
    if len(raw.encode("utf-8", "surrogatepass")) > max_bytes:
        raise Refusal("name_too_long", f"The file name is longer than {max_bytes} bytes. Shorten it and upload again.")
    if "/" in raw or "\\" in raw or raw in (".", ".."):
        raise Refusal("name_path", "The file name contains a path. Rename the file without slashes and upload again.")
    if _BIDI.search(raw):
        raise Refusal(
            "name_direction",
            "The file name contains hidden characters that turn the reading direction. Rename it and upload again.",
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") for character in raw):
        raise Refusal("name_control", "The file name contains control characters. Rename it and upload again.")
    parts = raw.strip().lower().split(".")
    if len(parts) > 2 and _MISLEADING.fullmatch(parts[-2]) and parts[-2] != parts[-1]:
        raise Refusal(
            "name_double_extension",
            f"The file name ends in “.{parts[-2]}.{parts[-1]}”. Rename it with one ending and upload again.",
        )
    return unicodedata.normalize("NFC", raw.strip())


def head_check(name: str, head: bytes) -> Kind:
    """The kind of a file from its first bytes, which must agree with the ending of its name."""
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    expected = _BY_EXTENSION.get(extension)
    actual = sniff(head)
    if EICAR in head:
        raise Refusal("malware", "This file is marked as malware. Do not open it; tell your administrator.")
    if expected is None and not (extension == "" and actual is KINDS["dicom"]):
        ending = f"Files ending in “.{extension[:10]}”" if extension else "Files without an ending"
        raise Refusal("type_not_accepted", f"{ending} are not accepted. {ACCEPTED_TEXT}")
    if actual is None:
        raise Refusal(
            "type_mismatch",
            f"The name says {_BY_EXTENSION[extension].label}, but the content is {_described(head)}. "
            "Check that you chose the right file.",
        )
    if actual.name == "text" and expected is not None and expected.name in ("csv", "text"):
        return expected
    if actual.name == "hl7" and expected is not None and expected.name == "text":
        return actual
    if expected is not None and actual is not expected:
        raise Refusal(
            "type_mismatch",
            f"The name says {expected.label}, but the content is a {actual.label}. "
            "Rename the file to its true type, or choose the right file.",
        )
    return actual


def sniff(head: bytes) -> Kind | None:
    """The kind that the first bytes show, or None for anything the portal does not keep."""
    head = head[:HEAD_BYTES]
    if head[128:132] == b"DICM":
        return KINDS["dicom"]
    if head.startswith(b"%PDF-"):
        return KINDS["pdf"]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None if _MARKUP.search(head) else KINDS["png"]
    if head.startswith(b"\xff\xd8\xff"):
        return None if _MARKUP.search(head) else KINDS["jpeg"]
    if head.startswith(b"PK\x03\x04"):
        return KINDS["zip"]
    if _ACTIVE.match(head):
        return None
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not is_text(head):
        return None
    if text.startswith((b"MSH|", b"MSH^", b"MSH#")):
        return KINDS["hl7"]
    if text.startswith(b"{") and b'"resourceType"' in head:
        return KINDS["fhir"]
    if text.startswith(b"<"):
        return KINDS["ccda"] if b"ClinicalDocument" in head else None
    return KINDS["text"]


def is_text(data: bytes) -> bool:
    """UTF-8 without control bytes; a character cut at the end of the window is no fault."""
    if any(byte < 32 and byte not in (9, 10, 11, 12, 13, 28) for byte in data):
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3 and error.reason == "unexpected end of data"
    return True


def _described(head: bytes) -> str:
    if _ACTIVE.match(head):
        return "a program or a web page"
    try:
        found = puremagic.from_string(head, mime=False)
    except (puremagic.PureError, ValueError):
        return "something else"
    return f"of the type “{found.lstrip('.')}”" if found and found.lstrip(".").isalnum() else "something else"
