"""What of a record can be shown in a page: one release by the gate, so one entry in the log for one opening."""

import base64
import contextlib
import json
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from portal.dashboards import pictures
from records import gate
from records.inspection import KINDS
from records.models import Purpose

TEXT_BYTES = 64 << 10
PICTURE_BYTES = 4 << 20
PICTURES = frozenset({"image/png", "image/jpeg"})
TEXTS = frozenset(
    {"text/plain", "text/csv", "application/fhir+json", "x-application/hl7-v2+er7", "application/cda+xml"}
)
DICOM = "application/dicom"


@dataclass(frozen=True)
class Preview:
    """`kind` is image, text, file or gone; pictures come inside the page, so that no second request is needed."""

    kind: str
    filename: str = ""
    media_type: str = ""
    size: int = 0
    type_word: str = ""
    data_url: str = ""
    text: str = ""
    is_cut: bool = False
    note: str = ""
    basis: str = ""
    download_url: str = ""
    print_url: str = ""


GONE = Preview(kind="gone")


def preview(*, actor: Any, version: Any, purpose: str = Purpose.TREATMENT, action: str = "read") -> Preview:
    """Opens the version once. Raises what the gate raises: refused, unknown and foreign are not found."""
    release = gate.release(actor=actor, version=version, purpose=purpose, action=action)
    try:
        shown = Preview(
            kind="file",
            filename=release.filename,
            media_type=release.media_type,
            size=release.size,
            type_word=type_word(release.media_type),
            basis=release.basis,
        )
        if release.media_type in PICTURES and release.size <= PICTURE_BYTES:
            return replace(shown, kind="image", data_url=_data_url(release.media_type, b"".join(release.chunks)))
        if release.media_type == DICOM and release.size <= PICTURE_BYTES:
            return _dicom(shown, b"".join(release.chunks))
        if release.media_type in TEXTS:
            return _text(shown, release.chunks)
        return shown
    finally:
        release.chunks.close()


def type_word(media_type: str) -> str:
    return next((kind.label for kind in KINDS.values() if kind.media_type == media_type), _("file"))


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _dicom(shown: Preview, content: bytes) -> Preview:
    png = pictures.dicom_png(content)
    if png is None:
        return shown
    note = _("A picture made from the DICOM file, for orientation. Use the file itself for a finding.")
    return replace(shown, kind="image", data_url=_data_url("image/png", png), note=note)


def _text(shown: Preview, chunks: Any) -> Preview:
    content = b""
    for chunk in chunks:
        content += chunk
        if len(content) > TEXT_BYTES:
            break
    is_cut = len(content) > TEXT_BYTES
    text = content[:TEXT_BYTES].decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    if shown.media_type == "application/fhir+json" and not is_cut:
        with contextlib.suppress(ValueError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return replace(shown, kind="text", text=text.lstrip("\ufeff"), is_cut=is_cut)
