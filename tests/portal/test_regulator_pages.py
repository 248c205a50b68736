"""The regulator's console: closed to everybody else, and without a word of clinical content."""

import pytest
from django.urls import reverse

from hospitals.types import OrganisationStatus
from tests.factories import make_organisation

pytestmark = pytest.mark.db
PAGES = [
    "home",
    "applications",
    "organisations",
    "contracts",
    "releases",
    "release_new",
    "chains",
    "statistics",
    "query",
    "seals",
    "shares",
    "accesses",
]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("person", ["alice", "hana", "dora", "pat"])
def test_not_found_for_everybody_else(people, page, person):
    assert people.client(getattr(people, person)).get(reverse(f"regulator:{page}")).status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_visitor_signs_in_first(people, client, page):
    assert client.get(reverse(f"regulator:{page}")).status_code == 302


@pytest.mark.scenario("G6", "G2")
@pytest.mark.parametrize("page", ["query", "statistics", "organisations"])
def test_pages_name_no_patient(people, page):
    text = people.client(people.reg).get(reverse(f"regulator:{page}")).content.decode()
    for name in ("Moreno", "Quinn", "Abara"):
        assert name not in text


@pytest.mark.scenario("G1")
def test_refusal_needs_a_reason_and_is_kept(people):
    applicant = make_organisation("Linden Hospital", slug="linden", status=OrganisationStatus.APPLIED)
    client = people.client(people.reg)
    page = reverse("regulator:application", args=["linden"])
    short = client.post(page, {"decision": "refuse", "reason": "no"})
    assert short.status_code == 422 and "at least 10 characters" in short.content.decode()
    done = client.post(page, {"decision": "refuse", "reason": "The licence ended in March."}, follow=True)
    assert "was refused" in done.content.decode()
    applicant.refresh_from_db()
    assert applicant.status == OrganisationStatus.REFUSED
    again = client.post(page, {"decision": "refuse", "reason": "The licence ended in March."})
    assert "already decided" in again.content.decode()


@pytest.mark.scenario("G1")
def test_admission_needs_evidence(people):
    make_organisation("Linden Hospital", slug="linden", status=OrganisationStatus.APPLIED)
    page = people.client(people.reg).post(reverse("regulator:application", args=["linden"]), {"decision": "admit"})
    assert page.status_code == 422 and "Attach the evidence" in page.content.decode()


@pytest.mark.scenario("G6")
def test_query_says_what_to_do_with_a_bad_date(people):
    response = people.client(people.reg).get(reverse("regulator:query"), {"since": "yesterday"})
    assert response.status_code == 422 and "Enter a valid date" in response.content.decode()
