"""Real and hostile files, made on the spot."""

import io
import json
import struct
import zipfile
import zlib

from pydicom.data import get_testdata_file

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
HL7 = b"MSH|^~\\&|LAB|A|EHR|A|20260101||ORU^R01|1|P|2.5\rPID|1||123\rOBX|1|NM|HBA1C||6.1|%\r"
CSV = b"day,systolic,diastolic\n2026-01-01,120,80\n"
FHIR = json.dumps(
    {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": "Patient"}}]}
)
CCDA = b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><title>Summary</title></ClinicalDocument>'


def png(width=2, height=2, *, more=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + b"\x10\x80\xf0" * min(width, 8) for _ in range(min(height, 8)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
        + more
    )


def jpeg(*, more=b""):
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(out, "JPEG")
    return out.getvalue() + more


def dicom(*, preamble=None):
    with open(get_testdata_file("CT_small.dcm"), "rb") as file:
        data = file.read()
    return data if preamble is None else preamble.ljust(128, b"\0")[:128] + data[128:]


def archive(entries, *, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return out.getvalue()


def bomb(megabytes=60):
    return archive({"zeros.txt": bytes(megabytes << 20)})


def lying_bomb():
    """The directory promises 10 bytes; what comes out is 20 MB."""
    data = bytearray(archive({"zeros.txt": bytes(20 << 20)}))
    at = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 10)
    return bytes(data)


def overlapping():
    """Two directory entries for the same bytes."""
    data = bytearray(archive({"a.txt": b"x" * 1000, "b.txt": b"y" * 1000}))
    second = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, second + 42, 0)
    return bytes(data)


def symlink():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        info = zipfile.ZipInfo("link.txt")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    return out.getvalue()


GOOD = {
    "report.pdf": PDF,
    "scan.png": png(),
    "photo.jpg": jpeg(),
    "photo.jpeg": jpeg(),
    "slice.dcm": dicom(),
    "IM0001": dicom(),
    "bundle.json": FHIR.encode(),
    "summary.xml": CCDA,
    "result.hl7": HL7,
    "result.txt": HL7,
    "pressure.csv": CSV,
    "note.txt": "Grüße aus der Ambulanz\n".encode(),
    "lab.2026.pdf": PDF,
    "study.zip": archive({"study/IM1.dcm": dicom(), "study/readme.txt": b"two lines\n"}),
}
MEDIA = {
    "report.pdf": "application/pdf",
    "slice.dcm": "application/dicom",
    "bundle.json": "application/fhir+json",
    "summary.xml": "application/cda+xml",
    "result.txt": "x-application/hl7-v2+er7",
    "pressure.csv": "text/csv",
    "study.zip": "application/zip",
}
# Refused at the door from name and first bytes: nothing is stored.
AT_THE_DOOR = [
    ("../../x", PDF, "name_path"),
    ("..\\x.pdf", PDF, "name_path"),
    ("a\0.pdf", PDF, "name_control"),
    ("invoice\u202efdp.exe", PDF, "name_direction"),
    ("x" * 4_096 + ".pdf", PDF, "name_too_long"),
    ("ü" * 130 + ".pdf", PDF, "name_too_long"),
    ("line\nbreak.pdf", PDF, "name_control"),
    ("scan.exe.pdf", PDF, "name_double_extension"),
    ("scan.png.pdf", PDF, "name_double_extension"),
    ("scan.pdf.exe", PDF, "name_double_extension"),
    ("scan.pdf", png(), "type_mismatch"),
    ("scan.png", PDF, "type_mismatch"),
    ("note.txt", b"MZ\x90\0\3 program", "type_mismatch"),
    ("note.txt", b"<script>alert(1)</script>", "type_mismatch"),
    ("page.html", b"<html></html>", "type_not_accepted"),
    ("drawing.svg", b"<svg onload=alert(1)>", "type_not_accepted"),
    ("program.exe", b"MZ", "type_not_accepted"),
    ("noending", PDF, "type_not_accepted"),
    ("eicar.txt", EICAR, "malware"),
    ("picture.png", png()[:40] + b"<script>alert(1)</script>" + png()[40:], "type_mismatch"),
    ("data.json", b'{"name": "not FHIR"}', "type_mismatch"),
    ("data.xml", b"<?xml version='1.0'?><html/>", "type_mismatch"),
]
# Found by the worker, who sees the whole file: held back with the bytes sealed.
HELD_BACK = [
    ("slice.dcm", dicom(preamble=b"MZ\x90\0" + b"\1" * 100), "dicom_preamble"),
    ("slice.dcm", dicom(preamble=b"%PDF-1.4 "), "dicom_preamble"),
    ("slice.dcm", dicom()[:200] + b"\xff" * 400, "damaged"),
    ("bomb.zip", bomb(), "zip_bomb"),
    ("bomb.zip", lying_bomb(), "zip_bomb"),
    ("bomb.zip", overlapping(), "zip_bomb"),
    ("nested.zip", archive({"inner.zip": archive({"a.txt": b"x"})}), "zip_nested"),
    ("slip.zip", archive({"../../etc/x.txt": b"x"}), "zip_path"),
    ("link.zip", symlink(), "zip_link"),
    ("cut.zip", archive({"a.txt": b"x" * 100})[:-30], "damaged"),
    ("scan.pdf", PDF + archive({"a.txt": b"x"}), "polyglot"),
    ("scan.png", png(more=b"x" * 5_000 + b"<html>"), "polyglot"),
    ("scan.png", png(50_000, 50_000), "pixel_bomb"),
    ("scan.png", png()[:-12], "damaged"),
    ("photo.jpg", jpeg(more=b" " * 5_000 + b"<html>hello"), "polyglot"),
    ("photo.jpg", jpeg(more=archive({"a.class": b"x"})), "polyglot"),
    ("photo.jpg", jpeg()[:-2], "damaged"),
    ("report.pdf", b"%PDF-1.4\n" + b"x" * 5_000, "damaged"),
    ("bundle.json", FHIR.encode()[:-1], "damaged"),
    ("bundle.json", b'{"resourceType":' + b"[" * 100_000, "damaged"),
    (
        "summary.xml",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><ClinicalDocument xmlns="urn:hl7-org:v3">&a;'
        b"</ClinicalDocument>",
        "xml_entities",
    ),
    ("summary.xml", CCDA[:-5], "damaged"),
    ("summary.xml", b"<other><ClinicalDocument/></other>", "not_ccda"),
    ("note.txt", b"x" * 5_000 + b"\xff\xfe", "not_utf8"),
    ("note.txt", b"x" * 5_000 + b"\0", "damaged"),
]
