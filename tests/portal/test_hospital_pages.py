"""The staff pages: what each role gets, and that everybody else gets nothing."""

import uuid
from datetime import date

import pytest
from django.urls import reverse

from hospitals.models import AuditEntry, Patient
from hospitals.tenancy import tenant

pytestmark = pytest.mark.django_db


def url(name, *args, slug="northwick"):
    return reverse(f"hospital:{name}", args=[slug, *args])


# (route, arguments, who may, who may not)
PAGES = [
    ("home", [], ["alice", "cleo", "hana"], []),
    ("secure", [], ["alice", "cleo", "hana"], []),
    ("chains", [], ["alice", "cleo", "hana"], []),
    ("patients", [], ["alice", "cleo", "hana"], []),
    ("patient_new", [], ["alice"], ["cleo", "hana"]),
    ("claims", [], ["alice", "cleo", "hana"], []),
    ("upload", [], ["alice", "cleo"], ["hana"]),
    ("jobs", [], ["alice", "cleo", "hana"], []),
    ("upload_states", [], ["alice", "cleo", "hana"], []),
    ("shared", [], ["alice"], ["cleo", "hana"]),
    ("log", [], ["hana"], ["alice", "cleo"]),
    ("staff", [], ["alice", "cleo", "hana"], []),
    ("staff_new", [], ["hana"], ["alice", "cleo"]),
    ("settings", [], ["alice", "cleo", "hana"], []),
    ("patient", ["pat_a"], ["alice", "cleo", "hana"], []),
    ("patient_log", ["pat_a"], ["alice", "hana"], []),
    ("upload_for", ["pat_a"], ["alice", "cleo"], ["hana"]),
    ("staff_end", ["adam"], ["hana"], ["alice", "cleo"]),
]


@pytest.mark.parametrize(("route", "names", "may", "may_not"), PAGES, ids=[row[0] for row in PAGES])
def test_each_page_by_role(people, route, names, may, may_not):
    path = url(route, *[getattr(people, name).pk for name in names])
    for name in may:
        assert people.client(getattr(people, name)).get(path).status_code == 200, (route, name)
    for name in may_not:
        assert people.client(getattr(people, name)).get(path).status_code == 403, (route, name)
    # Outsiders: a doctor of another hospital, the regulator, a patient get what a random address gives.
    for outsider in (people.dora, people.reg, people.pat):
        assert people.client(outsider).get(path).status_code == 404, route
