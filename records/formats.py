"""Whole-file checks for each accepted kind, with a bound on every byte, entry, depth and pixel.

Reads come from a sealed file that is opened piece by piece, so nothing is written anywhere.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from records.conf import Conf
from records.inspection import HEAD_BYTES, Finding, Kind, Refusal, head_check, is_text, name_check

_PARSE_WHOLE_BYTES = 4 << 20
_XML_ELEMENTS_MAX = 2_000_000
_XML_DEPTH_MAX = 200
_JSON_DEPTH_MAX = 200
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEFLATED_DICOM = "1.2.840.10008.1.2.1.99"
_ARCHIVE_NAME = re.compile(r"\.(zip|gz|tgz|bz2|xz|7z|rar|tar|jar|docx|xlsx)$", re.IGNORECASE)
_EOCD = b"PK\x05\x06"
_DICOM_TAGS = ("Modality", "StudyDate", "BodyPartExamined", "Rows", "Columns", "NumberOfFrames", "StudyDescription")


def inspect(*, name: str, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    """What the file is, or a Refusal. `stream` is seekable and hands out authenticated plaintext only."""
    name_check(name, max_bytes=conf.name_max_bytes)
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    kind = head_check(name, head)
    if kind.name not in ("zip", "text", "csv", "hl7"):
        _second_file(stream, size)
    if kind.name not in ("pdf", "dicom") and b"%PDF-" in head[:1024]:
        raise _polyglot("a PDF")
    stream.seek(0)
    try:
        return _CHECKS[kind.name](kind, stream, size, conf)
    except (struct.error, ValueError, IndexError, KeyError, RecursionError, OverflowError) as error:
        raise _broken(kind, "cannot be read") from error


def _second_file(stream: BinaryIO, size: int) -> None:
    """A ZIP directory that ends exactly where the file ends: archive tools would open this file."""
    start = max(0, size - 65_557)
    stream.seek(start)
    tail = stream.read(size - start)
    at = tail.rfind(_EOCD)
    while at >= 0:
        if len(tail) - at >= 22 and len(tail) - at - 22 == struct.unpack_from("<H", tail, at + 20)[0]:
            raise _polyglot("a ZIP archive")
        at = tail.rfind(_EOCD, 0, at)


def _polyglot(other: str) -> Refusal:
    return Refusal(
        "polyglot",
        f"The file is at the same time {other}. It was held back. Export it again from its program and upload that.",
    )


def _broken(kind: Kind, what: str) -> Refusal:
    return Refusal(
        "damaged", f"The {kind.label} {what}. It was held back. Export it again from its program and upload that."
    )


def _pdf(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    stream.seek(max(0, size - 2_048))
    if b"%%EOF" not in stream.read(2_048):
        raise _broken(kind, "is cut off")
    return Finding(kind)


def _png(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    at, tags = 8, {}
    while True:
        stream.seek(at)
        header = stream.read(8)
        if len(header) < 8:
            raise _broken(kind, "is cut off")
        length, chunk = struct.unpack(">I4s", header)
        if at == 8:
            if chunk != b"IHDR" or length != 13:
                raise _broken(kind, "has no header")
            width, height = struct.unpack(">II", stream.read(8))
            _pixels(width, height, conf)
            tags = {"width": width, "height": height}
        at += 12 + length
        if at > size:
            raise _broken(kind, "is cut off")
        if chunk == b"IEND":
            break
    if at != size:
        raise _polyglot("something else after its end")
    return Finding(kind, tags)


def _jpeg(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    at, tags = 2, {}
    while not tags:
        stream.seek(at)
        header = stream.read(9)
        if len(header) < 9 or header[0] != 0xFF:
            raise _broken(kind, "cannot be read")
        marker = header[1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in (0xD9, 0xDA):
            raise _broken(kind, "has no picture size")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", header[5:9])
            _pixels(width, height, conf)
            tags = {"width": width, "height": height}
        at += 2 + struct.unpack(">H", header[2:4])[0]
    stream.seek(max(0, size - 65_536))
    tail = stream.read(65_536)
    if b"\xff\xd9" not in tail:
        raise _broken(kind, "is cut off")
    if is_text(tail[tail.rfind(b"\xff\xd9") + 2 :]) and tail[tail.rfind(b"\xff\xd9") + 2 :].strip():
        raise _polyglot("text after its end")
    return Finding(kind, tags)


def _pixels(width: int, height: int, conf: Conf) -> None:
    if width * height > conf.pixels_max:
        raise Refusal(
            "pixel_bomb",
            f"The picture claims {width} x {height} points, more than any viewer can open. It was held back. "
            "Save it in a smaller size and upload that.",
        )


def _dicom(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    preamble = stream.read(132)[:128]
    if preamble.strip(b"\0") and preamble[:4] not in (b"II*\0", b"MM\0*"):
        raise Refusal(
            "dicom_preamble",
            "The first 128 bytes of this DICOM file belong to another kind of file, so it could run as a program. "
            "It was held back. Export the image again from the modality or PACS and upload that.",
        )
    try:
        with warnings.catch_warnings():
            # Old devices write small faults that every viewer reads over; only the structure counts here.
            warnings.simplefilter("ignore")
            return Finding(kind, _dicom_tags(kind, stream, size, conf))
    except Refusal:
        raise
    except Exception as error:  # pydicom raises whatever the bytes provoke
        raise _broken(kind, "cannot be read") from error


def _dicom_tags(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> dict:
    from pydicom import dcmread
    from pydicom.filereader import _read_file_meta_info

    stream.seek(132)
    meta = _read_file_meta_info(stream)
    if str(getattr(meta, "TransferSyntaxUID", "")) == _DEFLATED_DICOM:
        _inflate(iter(lambda: stream.read(65_536), b""), size, conf, limit=_PARSE_WHOLE_BYTES * 8)
    stream.seek(0)
    found = dcmread(stream, stop_before_pixels=True, specific_tags=["SOPClassUID", *_DICOM_TAGS])
    if not found.get("SOPClassUID") or not getattr(meta, "TransferSyntaxUID", ""):
        raise _broken(kind, "does not say what kind of image it is")
    return {tag: str(found.get(tag, "")) for tag in _DICOM_TAGS if found.get(tag, "") not in ("", None)}


def _fhir(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    if size > _PARSE_WHOLE_BYTES:
        # Too large to hold as objects; the head was checked, the end must close what it opened.
        stream.seek(size - 64)
        if not stream.read().rstrip().endswith(b"}"):
            raise _broken(kind, "is cut off")
        return Finding(kind, {}, ("not_validated",))
    content = stream.read()
    if _json_depth(content) > _JSON_DEPTH_MAX:
        raise _broken(kind, "nests beyond what is safe")
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _broken(kind, "is not valid JSON") from error
    resource = document.get("resourceType") if isinstance(document, dict) else None
    if not isinstance(resource, str) or not resource.isalpha():
        raise Refusal("not_fhir", "The JSON file is not a FHIR resource. Export it as FHIR R4 and upload that.")
    entries = document.get("entry")
    tags = {"resource_type": resource}
    if isinstance(entries, list):
        tags["entries"] = len(entries)
    return Finding(kind, tags)


def _json_depth(content: bytes) -> int:
    """How deep brackets nest outside of strings. The parser recurses, and where a library has raised the limit of
    recursion a hundred thousand brackets end the whole process."""
    depth = deepest = 0
    for bracket in _JSON_STRING.sub(b"", content).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _ccda(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    depth = count = 0
    root = None
    try:
        for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
            if event == "start":
                depth, count = depth + 1, count + 1
                if root is None:
                    root = element
                    if element.tag != "{urn:hl7-org:v3}ClinicalDocument":
                        raise Refusal(
                            "not_ccda", "The XML file is not a C-CDA document. Export it as C-CDA and upload that."
                        )
                if depth > _XML_DEPTH_MAX or count > _XML_ELEMENTS_MAX:
                    raise Refusal("xml_bomb", "The XML file nests or repeats beyond what is safe. It was held back.")
            else:
                depth -= 1
                if depth <= 1:
                    element.clear()
                    root.clear()
    except DefusedXmlException as error:
        raise Refusal(
            "xml_entities",
            "The XML file brings its own entities or document type, which can attack a reader. It was held back. "
            "Export it again without a DOCTYPE.",
        ) from error
    except (ParseError, ValueError) as error:
        raise _broken(kind, "is not valid XML") from error
    return Finding(kind, {"elements": count})


def _text(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 0
    try:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            text = decoder.decode(piece)
            if "\0" in text:
                raise _broken(kind, "contains binary data")
            lines += piece.count(b"\n") + (piece.count(b"\r") if kind.name == "hl7" else 0)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Refusal(
            "not_utf8", f"The {kind.label} is not stored as UTF-8. Save it with the encoding UTF-8 and upload again."
        ) from error
    return Finding(kind, {"lines": lines})


def _zip(kind: Kind, stream: BinaryIO, size: int, conf: Conf) -> Finding:
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            _zip_directory(entries, size, conf)
            for entry in entries:
                if not entry.is_dir():
                    _zip_entry(archive, stream, entry, conf)
    except Refusal:
        raise
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, zlib.error, OSError, EOFError) as error:
        raise _broken(kind, "cannot be unpacked") from error
    return Finding(kind, {"entries": len(entries)})


def _zip_directory(entries: list[zipfile.ZipInfo], size: int, conf: Conf) -> None:
    """What the directory claims; also overlapping entries, the trick of bombs without nesting."""
    total = sum(entry.file_size for entry in entries)
    if len(entries) > conf.inflate_entries_max:
        raise _bomb(f"{len(entries):,} entries")
    if total > conf.inflate_bytes_max or total > conf.inflate_ratio_max * max(size, 1):
        raise _bomb(f"{total:,} bytes")
    end = 0
    for entry in sorted(entries, key=lambda item: item.header_offset):
        if entry.header_offset < end:
            raise _bomb("entries that overlap")
        end = entry.header_offset + 30 + entry.compress_size
    for entry in entries:
        if entry.flag_bits & 1:
            raise Refusal(
                "zip_encrypted", "The archive has a password, so it cannot be checked. Upload it without one."
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Refusal("zip_link", "The archive contains links. Pack the files themselves and upload again.")
        if _ARCHIVE_NAME.search(entry.filename):
            raise Refusal("zip_nested", "The archive contains another archive. Unpack it and upload the files.")
        if entry.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", entry.filename):
            raise Refusal("zip_path", "The archive contains names that point outside of it. Pack it again.")
        if not entry.is_dir():
            name_check(re.split(r"[/\\]", entry.filename)[-1], max_bytes=conf.name_max_bytes)


def _zip_entry(archive: zipfile.ZipFile, stream: BinaryIO, entry: zipfile.ZipInfo, conf: Conf) -> None:
    """Inflates one entry to nowhere: what comes out must be what the directory promised."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refusal("zip_method", "The archive uses an unusual compression. Pack it as a plain ZIP and upload again.")
    if entry.file_size > conf.inflate_ratio_max * max(entry.compress_size, 1):
        raise _bomb(f"{entry.file_size:,} bytes out of {entry.compress_size:,}")
    stream.seek(entry.header_offset)
    header = stream.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("no local header")
    name_length, extra_length = struct.unpack_from("<HH", header, 26)
    stream.seek(entry.header_offset + 30 + name_length + extra_length)
    pieces = _limited(stream, entry.compress_size)
    if entry.compress_type == zipfile.ZIP_STORED:
        if entry.compress_size != entry.file_size:
            raise _bomb("sizes that contradict each other")
        return
    if _inflate(pieces, entry.compress_size, conf, limit=entry.file_size) != entry.file_size:
        raise _bomb("sizes that contradict each other")


def _limited(stream: BinaryIO, length: int):
    while length:
        piece = stream.read(min(length, 65_536))
        if not piece:
            return
        length -= len(piece)
        yield piece


def _inflate(pieces, size: int, conf: Conf, *, limit: int) -> int:
    """Bytes that come out, counted and thrown away; stops at `limit`."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    for piece in pieces:
        while piece:
            total += len(inflater.decompress(piece, 1 << 18))
            if total > limit or total > conf.inflate_ratio_max * max(size, 1):
                raise _bomb(f"more than {limit:,} bytes")
            piece = inflater.unconsumed_tail
    return total


def _bomb(what: str) -> Refusal:
    return Refusal(
        "zip_bomb",
        f"The file unpacks to {what}, far beyond its size. It was held back. Upload the files one by one instead.",
    )


_CHECKS: dict[str, Callable[[Kind, BinaryIO, int, Conf], Finding]] = {
    "pdf": _pdf,
    "png": _png,
    "jpeg": _jpeg,
    "dicom": _dicom,
    "fhir": _fhir,
    "ccda": _ccda,
    "hl7": _text,
    "csv": _text,
    "text": _text,
    "zip": _zip,
}


class SealedStream(io.RawIOBase):
    """A sealed object as a seekable file of plaintext that exists only in memory."""

    name = ""  # pydicom asks every buffered file for one

    def __init__(self, reader) -> None:
        self._reader = reader
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._reader.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        data = self._reader.read(self._at, min(self._at + len(buffer), self._reader.size))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
