"""The staff pages in a browser: readable at 360 and 1280 pixels, usable without a script."""

import pytest
from django.urls import reverse

from hospitals import services
from hospitals.tenancy import tenant
from tests.e2e.axe import overflow, violations
from tests.e2e.conftest import shot

pytestmark = pytest.mark.django_db(transaction=True)

STILL = [
    ("alice", "home", []),
    ("hana", "home", []),
    ("alice", "patients", []),
    ("alice", "patients?q=moreno", []),
    ("alice", "patient_new", []),
    ("alice", "patient", ["pat_a"]),
    ("cleo", "patient", ["pat_a"]),
    ("alice", "patient_log", ["pat_a"]),
    ("alice", "upload_for", ["pat_a"]),
    ("cleo", "upload", []),
    ("cleo", "jobs", []),
    ("alice", "shared", []),
    ("cleo", "claims", []),
    ("hana", "log", []),
    ("hana", "staff", []),
    ("hana", "staff_new", []),
    ("hana", "staff_end", ["adam"]),
    ("hana", "settings", []),
]


def check(page):
    sideways = overflow(page)
    return violations(page) + ([f"scrolls sideways by {sideways} px"] if sideways > 0 else [])


def url(name, *args, slug="northwick"):
    return reverse(f"hospital:{name}", args=[slug, *args])


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("person", ["alice", "hana", "cleo"])
def test_every_staff_page_is_accessible(cast, open_page, person, width):
    with tenant(cast.a):
        services.patient_claim_create(
            user=cast.quinn,
            hospital=cast.a,
            given_name="Quinn",
            family_name="Abara",
            birth_date=cast.quinn_b.birth_date,
        )
    page = open_page(width, getattr(cast, person))
    problems = []
    for who, name, rows in STILL:
        if who == person:
            path, _, query = name.partition("?")
            answer = page.open(url(path, *[getattr(cast, row).pk for row in rows]) + (f"?{query}" if query else ""))
            assert answer.status == 200, name
            problems += [f"{name}: {problem}" for problem in check(page)]
            shot(page, f"hospital-{person}-{path}{'-found' if query else ''}")
    assert problems == []
