"""Whatever is written into the log about a patient has words on the patient's page."""

import re

from django.conf import settings

from portal.dashboards import log_rows

WRITTEN = re.compile(r"""action="([a-z_]+(?:\.[a-z_]+)+)"|^    "(?:[a-z]+)": "(records\.[a-z_.]+)",$""", re.MULTILINE)
# Entries that name no patient: about staff, keys, settings and organisations.
WITHOUT_PATIENT = ("access.", "keys.", "organisations.", "staff.", "tokens.", "operator.", "claims.")


def written():
    found = set()
    for app in ("hospitals", "records", "portal"):
        for path in (settings.BASE_DIR / app).rglob("*.py"):
            found |= {one or other for one, other in WRITTEN.findall(path.read_text())}
    return found


def test_every_entry_about_a_patient_has_words():
    actions = {action for action in written() if not action.startswith(WITHOUT_PATIENT)}
    assert {"records.version.read", "grants.revoked", "log.opened"} <= actions
    assert actions - set(log_rows.WORDS) - {"records.record.not_found"} == set()
