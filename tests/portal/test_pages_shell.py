"""What every page shares: error pages that need no database, states in words, menus by role."""

import pytest
from django.test import RequestFactory
from django.urls import reverse

from hospitals.types import MembershipStatus, OrganisationStatus
from portal import errors, look, navigation
from portal.templatetags import portal_ui
from records.models import AnchorState, GrantState, UploadState, VersionState

PROBLEMS = [400, 403, 404, 413, 422, 429, 500, 503, 507]


@pytest.mark.parametrize("status", PROBLEMS)
@pytest.mark.parametrize("is_fragment", [False, True])
def test_error_pages_need_neither_user_nor_database(status, is_fragment):
    headers = {"HX-Request": "true"} if is_fragment else {}
    request = RequestFactory().get("/anything/", headers=headers)
    answer = errors.respond(request, errors.Problem(status, "code", "A calm title", "What to do next."))
    text = answer.content.decode()
    assert answer.status_code == status
    assert "A calm title" in text and "What to do next." in text
    assert ("<!DOCTYPE html>" in text) is not is_fragment


@pytest.mark.parametrize(
    ("domain", "state"),
    [("record", s) for s in (*UploadState.values, *VersionState.values, *AnchorState.values)]
    + [("grant", s) for s in GrantState.values]
    + [("organisation", s) for s in OrganisationStatus.values]
    + [("member", s) for s in MembershipStatus.values],
)
def test_every_stored_state_has_a_word(domain, state):
    assert look.status_look(domain, state) is not look.UNKNOWN


def test_confirmed_is_said_of_final_only():
    said = {state for state, shown in look.STATES["record"].items() if str(shown.label) == "Confirmed"}
    assert said == {"final"}


def test_blocks_are_counted():
    assert look.status_look("record", "mined", 2, 3).label == "Anchored, 2 of 3 blocks"


@pytest.mark.parametrize(
    ("name", "letters"), [("Dr Alice Okafor", "AO"), ("Pat", "P"), ("", "?"), ("a@b.example", "AB"), ("Dr", "D")]
)
def test_initials(name, letters):
    assert portal_ui.initials(name) == letters


def test_hex_is_folded():
    assert portal_ui.short_hash(portal_ui.hex(b"\x12" * 32)) == "0x1212…1212"


@pytest.mark.django_db
def test_menus_follow_the_role(people):
    def routes(person):
        request = RequestFactory().get(f"/h/{people.a.slug}/")
        request.hospital, request.membership = people.a, person
        return {item["route"] for item in navigation.menu("staff", request)}

    assert "hospital:staff" in routes(people.hana) and "hospital:staff" not in routes(people.alice)
    assert "hospital:upload" in routes(people.cleo) and "hospital:shared" not in routes(people.cleo)


@pytest.mark.django_db
def test_one_entry_is_current(people):
    page = people.client(people.alice).get(reverse("hospital:patients", args=[people.a.slug]))
    assert page.text.count('aria-current="page"') == 3  # side bar, phone menu, tab bar
