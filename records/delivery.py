"""The one way bytes of a record leave over HTTP: ranges, headers that keep a browser from running them, no caches."""

import re

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header, quote_etag

from hospitals.actors import Actor
from records import gate
from records.models import Purpose, RecordVersion

# The only kinds a browser may draw in place; everything else is saved, whatever it says it is.
INLINE_TYPES = frozenset({"image/png", "image/jpeg"})
NOWHERE = 1 << 62
RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
# Marks that turn the reading direction or end a line could make a name look like another one.
DECEIVING = re.compile("[\x00-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069/\\\\]")


def parse_range(header: str | None) -> tuple[int | None, int | None]:
    """(start, end) for the gate: end is exclusive, a negative start counts from the end, (None, None) is the whole.

    A header that is malformed, of another unit or names several ranges may be ignored (RFC 9110, 14.2), and is.
    """
    match = RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None, None
    first, last, suffix = match.groups()
    if suffix is not None:
        return (-int(suffix), None) if int(suffix) else (NOWHERE, None)
    if last and int(last) < int(first):
        return None, None
    return int(first), int(last) + 1 if last else None


def deliver(
    request: HttpRequest,
    *,
    actor: Actor,
    version: RecordVersion,
    purpose: str = Purpose.TREATMENT,
    action: str = "download",
    inline: bool = False,
) -> HttpResponse:
    """The bytes that the gate releases to this person, or the part that the request names."""
    start, end = parse_range(request.headers.get("Range")) if request.method == "GET" else (None, None)
    release = gate.release(actor=actor, version=version, purpose=purpose, action=action)
    if "If-Range" in request.headers and request.headers["If-Range"].strip() != quote_etag(release.etag):
        start = end = None  # the copy that the client goes on with is of other sealed bytes
    is_part = (start, end) != (None, None)
    if is_part:
        release = release.narrow(start, end)
    is_drawn = inline and release.media_type in INLINE_TYPES
    response = StreamingHttpResponse(release.chunks, status=206 if is_part else 200, content_type=release.media_type)
    response["Content-Length"] = release.end - release.start
    response["Content-Disposition"] = content_disposition_header(not is_drawn, safe_name(release.filename))
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = quote_etag(release.etag)
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    if is_part:
        response["Content-Range"] = release.content_range
    return response


def safe_name(name: str) -> str:
    return DECEIVING.sub("_", name).strip(" .")[:200] or "record"
