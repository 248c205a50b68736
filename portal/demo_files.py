"""Realistic clinical files for the demo, made on the spot and the same every time. Nobody in them exists."""

import hashlib
import io
import json
import math
from dataclasses import dataclass

import pydicom
from PIL import Image, ImageDraw, ImageFilter
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

LARGE_ROWS, LARGE_COLUMNS = 5000, 5000  # 16 bits a pixel: 50 MB


@dataclass(frozen=True)
class Person:
    given_name: str
    family_name: str
    birth_date: str  # ISO
    sex: str  # female, male
    mrn: str

    @property
    def name(self):
        return f"{self.given_name} {self.family_name}"


# -- documents -----------------------------------------------------------------------------------------------------


def pdf(title, lines):
    """A one-page PDF 1.4 written by hand: five objects, a cross-reference table, standard fonts."""

    def escape(text):
        return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")

    body = [f"BT /F2 18 Tf 60 780 Td ({escape(title)}) Tj ET", "0.05 0.33 0.39 RG 60 768 m 535 768 l S"]
    body += [f"BT /F1 11 Tf 60 {742 - 17 * row} Td ({escape(line)}) Tj ET" for row, line in enumerate(lines)]
    stream = "\n".join(body).encode("cp1252")
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        font % b"Helvetica",
        font % b"Helvetica-Bold",
    ]
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table))
    return out.getvalue()


def discharge_letter(person, hospital, doctor, day):
    return pdf(
        "Discharge letter",
        [
            f"{hospital}  ·  {day}",
            "",
            f"Patient: {person.name}, born {person.birth_date}, number {person.mrn}",
            "",
            "Reason for admission: chest pain on exertion for two weeks.",
            "Findings: ECG sinus rhythm 72/min, no ST changes. High-sensitivity troponin T normal",
            "twice (6 and 7 ng/L). Echocardiography: normal left ventricular function (EF 62 %).",
            "Exercise test: stopped at 150 W for tired legs, no ischaemia.",
            "",
            "Assessment: stable angina unlikely; musculoskeletal chest pain.",
            "Known: arterial hypertension; allergy to penicillin (rash, 2014).",
            "",
            "Medication: ramipril 5 mg once a day, unchanged.",
            "Plan: blood pressure diary for two weeks, lipid profile with the family doctor,",
            "return at once if pain comes at rest.",
            "",
            f"{doctor}",
        ],
    )


def medication_plan(person, hospital, doctor, day):
    return pdf(
        "Medication plan",
        [
            f"{hospital}  ·  {day}",
            f"{person.name}, born {person.birth_date}, number {person.mrn}",
            "",
            "Ramipril 5 mg                1 - 0 - 0 - 0     blood pressure",
            "Atorvastatin 20 mg           0 - 0 - 1 - 0     cholesterol",
            "Metformin 500 mg             1 - 0 - 1 - 0     blood sugar, with food",
            "Salbutamol inhaler 100 µg    when needed       breathlessness, at most 8 puffs a day",
            "",
            "Not to be taken: penicillin (rash).",
            "",
            f"Checked by {doctor}",
        ],
    )


# -- pictures ------------------------------------------------------------------------------------------------------


def ecg_png():
    """A rhythm strip: three leads on millimetre paper."""
    width, height = 1400, 620
    image = Image.new("RGB", (width, height), "#fffaf7")
    draw = ImageDraw.Draw(image)
    for step, colour in ((10, "#fbe3dc"), (50, "#f3b9aa")):
        for x in range(0, width, step):
            draw.line([(x, 0), (x, height)], fill=colour)
        for y in range(0, height, step):
            draw.line([(0, y), (width, y)], fill=colour)

    def beat(phase, size):
        waves = ((0.18, 0.03, 14), (0.33, 0.008, -12), (0.36, 0.012, 120), (0.39, 0.01, -26), (0.62, 0.05, 26))
        return size * sum(high * math.exp(-(((phase - at) / wide) ** 2)) for at, wide, high in waves)

    for lead, (label, size) in enumerate((("I", 0.7), ("II", 1.0), ("III", 0.55))):
        base = 150 + 190 * lead
        points = [(x, base - beat((x % 250) / 250, size)) for x in range(width)]
        draw.line(points, fill="#14222b", width=2)
        draw.text((12, base - 60), label, fill="#14222b", font_size=24)
    draw.text((12, height - 34), "25 mm/s   10 mm/mV   72/min", fill="#14222b", font_size=20)
    return encode(image, "PNG")


def skin_jpeg():
    """A photograph-like picture of a healing abrasion with a ruler."""
    grain = hashlib.shake_256(b"demo skin").digest(1280 * 860)
    image = Image.frombytes("L", (1280, 860), grain).point(lambda level: 110 + level // 7)
    skin = Image.merge("RGB", [image.point(lambda level, k=k: min(255, int(level * k))) for k in (1.72, 1.32, 1.1)])
    wound = Image.new("L", skin.size, 0)
    ImageDraw.Draw(wound).ellipse([420, 280, 860, 560], fill=190)
    wound = wound.filter(ImageFilter.GaussianBlur(34))
    skin = Image.composite(Image.new("RGB", skin.size, "#9c3b34"), skin.filter(ImageFilter.GaussianBlur(2)), wound)
    draw = ImageDraw.Draw(skin)
    draw.rectangle([240, 690, 1040, 770], fill="#f7f5ee")
    for millimetre in range(81):
        x = 240 + millimetre * 10
        draw.line([(x, 690), (x, 722 if millimetre % 10 == 0 else 706)], fill="#22333b", width=2)
        if millimetre % 10 == 0 and millimetre < 80:
            draw.text((x + 5, 728), str(millimetre // 10), fill="#22333b", font_size=24)
    return encode(skin, "JPEG", quality=86)


def encode(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


# -- DICOM ---------------------------------------------------------------------------------------------------------


def dicom_slice(name, person):
    """A slice that pydicom ships, under a demo patient's name."""
    dataset = pydicom.dcmread(get_testdata_file(name, download=False))
    return saved(named(dataset, person))


def large_dicom(person):
    """Fifty megabytes: one uncompressed 5000 × 5000 image."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.Rows, dataset.Columns = LARGE_ROWS, LARGE_COLUMNS
    dataset.SOPInstanceUID = "2.25.314159265358979323846264338327950288"
    dataset.SeriesDescription = "Whole body scout, full resolution"
    noise = hashlib.shake_256(b"demo scout image").digest(LARGE_ROWS * LARGE_COLUMNS)
    pixels = bytearray(2 * len(noise))
    pixels[0::2] = noise
    pixels[1::2] = bytes([3]) * len(noise)
    dataset.PixelData = bytes(pixels)
    return saved(named(dataset, person))


def named(dataset, person):
    dataset.PatientName = f"{person.family_name}^{person.given_name}"
    dataset.PatientID = person.mrn
    dataset.PatientBirthDate = person.birth_date.replace("-", "")
    dataset.PatientSex = person.sex[0].upper()
    return dataset


def saved(dataset):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    for group in [element.tag for element in dataset if element.tag.is_private or element.tag == 0xFFFCFFFC]:
        del dataset[group]
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


# -- exchange formats ----------------------------------------------------------------------------------------------

BLOOD = (
    ("718-7", "Haemoglobin", 138, "g/L", 120, 160),
    ("6690-2", "Leucocytes", 6.4, "10*9/L", 4.0, 10.0),
    ("2160-0", "Creatinine", 71, "umol/L", 45, 84),
    ("1988-5", "C-reactive protein", 3.1, "mg/L", 0, 5),
    ("2823-3", "Potassium", 4.2, "mmol/L", 3.5, 5.1),
    ("4548-4", "Haemoglobin A1c", 6.9, "%", 4.0, 6.0),
)


def fhir_bundle(person, hospital, day):
    """FHIR R4: a patient and one blood panel."""
    patient = {
        "resourceType": "Patient",
        "id": "patient",
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.19.5", "value": person.mrn}],
        "name": [{"family": person.family_name, "given": [person.given_name]}],
        "gender": person.sex,
        "birthDate": person.birth_date,
    }
    results = [
        {
            "resourceType": "Observation",
            "id": f"result-{number}",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": text},
            "subject": {"reference": "Patient/patient"},
            "effectiveDateTime": f"{day}T07:40:00Z",
            "valueQuantity": quantity(value, unit),
            "referenceRange": [{"low": quantity(low, unit), "high": quantity(high, unit)}],
        }
        for number, (code, text, value, unit, low, high) in enumerate(BLOOD, 1)
    ]
    report = {
        "resourceType": "DiagnosticReport",
        "id": "report",
        "status": "final",
        "code": {"text": "Blood panel"},
        "subject": {"reference": "Patient/patient"},
        "effectiveDateTime": f"{day}T07:40:00Z",
        "performer": [{"display": hospital}],
        "result": [{"reference": f"Observation/{result['id']}"} for result in results],
    }
    entries = [{"resource": resource} for resource in (patient, report, *results)]
    bundle = {"resourceType": "Bundle", "type": "collection", "timestamp": f"{day}T09:00:00Z", "entry": entries}
    return json.dumps(bundle, indent=2).encode()


def quantity(value, unit):
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def ccda(person, hospital, day):
    """A short C-CDA continuity of care document."""
    stamp, born = day.replace("-", ""), person.birth_date.replace("-", "")
    sex = {"female": ("F", "Female"), "male": ("M", "Male")}[person.sex]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3">
  <realmCode code="US"/>
  <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
  <templateId root="2.16.840.1.113883.10.20.22.1.1" extension="2015-08-01"/>
  <templateId root="2.16.840.1.113883.10.20.22.1.2" extension="2015-08-01"/>
  <id root="2.16.840.1.113883.19.5.99999.1" extension="{person.mrn}-{stamp}"/>
  <code code="34133-9" codeSystem="2.16.840.1.113883.6.1" displayName="Summarization of Episode Note"/>
  <title>Continuity of care document</title>
  <effectiveTime value="{stamp}120000+0000"/>
  <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
  <languageCode code="en"/>
  <recordTarget><patientRole>
    <id root="2.16.840.1.113883.19.5" extension="{person.mrn}"/>
    <patient>
      <name><given>{person.given_name}</given><family>{person.family_name}</family></name>
      <administrativeGenderCode code="{sex[0]}" codeSystem="2.16.840.1.113883.5.1" displayName="{sex[1]}"/>
      <birthTime value="{born}"/>
    </patient>
  </patientRole></recordTarget>
  <author><time value="{stamp}120000+0000"/><assignedAuthor>
    <id nullFlavor="NA"/><representedOrganization><name>{hospital}</name></representedOrganization>
  </assignedAuthor></author>
  <custodian><assignedCustodian><representedCustodianOrganization>
    <id root="2.16.840.1.113883.19.5"/><name>{hospital}</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
  <component><structuredBody>
    <component><section>
      <code code="48765-2" codeSystem="2.16.840.1.113883.6.1" displayName="Allergies"/>
      <title>Allergies</title>
      <text><list><item>Penicillin: rash (2014), moderate</item></list></text>
    </section></component>
    <component><section>
      <code code="11450-4" codeSystem="2.16.840.1.113883.6.1" displayName="Problem list"/>
      <title>Problems</title>
      <text><list><item>Essential hypertension, since 2019</item><item>Type 2 diabetes, since 2022</item></list></text>
    </section></component>
  </structuredBody></component>
</ClinicalDocument>
""".encode()


def hl7(person, hospital, day):
    """HL7 v2.5.1 ORU^R01: the same blood panel as a laboratory system sends it."""
    stamp, born = day.replace("-", ""), person.birth_date.replace("-", "")
    facility = hospital.upper().replace(" ", "_")
    segments = [
        f"MSH|^~\\&|LAB|{facility}|PORTAL|{facility}|{stamp}0905||ORU^R01^ORU_R01|{person.mrn}{stamp}|P|2.5.1",
        f"PID|1||{person.mrn}^^^{facility}^MR||{person.family_name}^{person.given_name}||{born}|{person.sex[0].upper()}",
        f"OBR|1||{stamp}-1|24323-8^Blood panel^LN|||{stamp}0740",
    ]
    segments += [
        f"OBX|{number}|NM|{code}^{text}^LN||{value}|{unit}|{low}-{high}|{'H' if value > high else 'N'}|||F"
        for number, (code, text, value, unit, low, high) in enumerate(BLOOD, 1)
    ]
    return ("\r".join(segments) + "\r").encode()
