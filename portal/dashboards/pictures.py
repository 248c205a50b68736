"""A small picture of a DICOM file for a page: plain greyscale only, everything else is downloaded."""

import io
from array import array

from PIL import Image
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

PIXELS_MAX = 4_000_000
PLAIN = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})


def dicom_png(content: bytes) -> bytes | None:
    """The first frame stretched to 8 bits, or None when it is no plain greyscale picture."""
    try:
        dataset = dcmread(io.BytesIO(content))
        rows, columns, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
        is_plain = (
            dataset.file_meta.TransferSyntaxUID in PLAIN
            and dataset.SamplesPerPixel == 1
            and str(dataset.PhotometricInterpretation) in ("MONOCHROME1", "MONOCHROME2")
            and bits in (8, 16)
            and 0 < rows * columns <= PIXELS_MAX
        )
        if not is_plain:
            return None
        frame = bytes(dataset.PixelData)[: rows * columns * bits // 8]
        if len(frame) < rows * columns * bits // 8:
            return None
        values = array("B" if bits == 8 else "h" if dataset.PixelRepresentation else "H", frame)
        grey = _stretch(values, is_inverse=dataset.PhotometricInterpretation == "MONOCHROME1")
        out = io.BytesIO()
        Image.frombytes("L", (columns, rows), grey).save(out, "PNG")
        return out.getvalue()
    except (InvalidDicomError, AttributeError, ValueError, TypeError, KeyError, EOFError, NotImplementedError):
        # Elements of a file are whatever somebody wrote into it; without a picture the download remains.
        return None


def _stretch(values: array, *, is_inverse: bool) -> bytes:
    """Darkest to black, brightest to white, without the outermost half percent."""
    ordered = sorted(values[:: max(1, len(values) // 20_000)])
    low, high = ordered[len(ordered) // 200], ordered[-1 - len(ordered) // 200]
    span = max(1, high - low)
    table = {value: min(255, max(0, (value - low) * 255 // span)) for value in set(values)}
    if is_inverse:
        table = {value: 255 - grey for value, grey in table.items()}
    return bytes(map(table.__getitem__, values))
