"""The one way bytes of a record leave over HTTP: ranges, headers that keep a browser from running them, no caches."""

import re

from django.http import HttpRequest
from django.utils.http import parse_etags

from records.errors import RangeNotSatisfiable

# The only kinds a browser may draw in place; everything else is saved, whatever it says it is.
INLINE_TYPES = frozenset({"image/png", "image/jpeg"})
RANGE = re.compile(r"bytes=(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))")
# Marks that turn the reading direction or end a line could make a name look like another one.
DECEIVING = re.compile("[\x00-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069/\\\\]")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """[start, end) of a single byte range; None: send the whole. Raises RangeNotSatisfiable (RFC 9110, 14.2)."""
    match = RANGE.fullmatch(header.strip()) if header else None
    if match is None:  # absent, malformed, another unit or several ranges: a server may ignore all of these
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start = int(first)
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable(size)
    return start, end


def wanted_range(request: HttpRequest, *, size: int, etag: str) -> tuple[int, int] | None:
    """A range counts only when the copy that the client continues is still the same one."""
    condition = request.headers.get("If-Range")
    if request.method != "GET" or (condition and etag not in parse_etags(condition)):
        return None
    return parse_range(request.headers.get("Range"), size)


def safe_name(name: str) -> str:
    return DECEIVING.sub("_", name).strip(" .")[:200] or "record"
