"""The doors: who gets in, what strangers and the wrong role are told, and which scope is open inside."""

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.template.response import TemplateResponse
from django_scopes import ScopeError

from hospitals.access import member_required, patient_required, regulator_required
from hospitals.models import AuditEntry, Patient
from hospitals.roles import Permission
from hospitals.tenancy import tenant
from tests.factories import user_of


@member_required(Permission.PATIENT_REGISTER)
def register_page(request, slug):
    return HttpResponse(",".join(sorted(str(patient.pk) for patient in Patient.objects.all())))


@regulator_required(Permission.STATISTICS_READ)
def statistics_page(request):
    return HttpResponse(request.actor.role)


@patient_required
def own_page(request):
    return HttpResponse(",".join(sorted(str(patient.pk) for patient in Patient.objects.filter(user=request.user))))


def visit(rf, view, person, *args, path="/page"):
    request = rf.get(path)
    request.user = user_of(person) if person else AnonymousUser()
    request.session = {}
    return view(request, *args)


def ids(*patients):
    return ",".join(sorted(str(patient.pk) for patient in patients))


def test_a_member_with_the_role_is_inside_the_scope(rf, people):
    answer = visit(rf, register_page, people.alice, "northwick")
    assert answer.content.decode() == ids(people.pat_a, people.kim_a)
    with pytest.raises(ScopeError):
        Patient.objects.count()


@pytest.mark.scenario("H2")
@pytest.mark.parametrize("who", ["dora", "boris", "reg", "pat"])
@pytest.mark.parametrize("slug", ["northwick", "no-such-place"])
def test_a_stranger_is_told_nothing(rf, people, who, slug):
    with pytest.raises(Http404):
        visit(rf, register_page, getattr(people, who), slug)
    with tenant(people.a):
        assert not AuditEntry.objects.exists()


@pytest.mark.scenario("D9")
@pytest.mark.parametrize("who", ["hana", "cleo"])
def test_the_wrong_role_is_refused_and_logged(rf, people, who):
    with pytest.raises(PermissionDenied):
        visit(rf, register_page, getattr(people, who), "northwick")
    with tenant(people.a):
        entry = AuditEntry.objects.get()
    assert (entry.action, entry.is_refused, entry.actor_membership) == ("access.refused", True, getattr(people, who))
    assert entry.detail == {"permission": "patient:register", "reason": "role"}


def test_the_signed_out_are_sent_to_sign_in(rf, people):
    for view, args in ((register_page, ["northwick"]), (statistics_page, []), (own_page, [])):
        answer = visit(rf, view, None, *args)
        assert answer.status_code == 302
        assert answer.url.startswith("/accounts/login/")


@pytest.mark.scenario("H1")
@pytest.mark.parametrize("status", ["ended"])
def test_an_ended_role_is_a_strangers(rf, people, status):
    people.alice.status = status
    people.alice.save()
    with pytest.raises(Http404):
        visit(rf, register_page, people.alice, "northwick")


def test_a_pending_role_waits(rf, people):
    people.alice.status = "pending"
    people.alice.save()
    with pytest.raises(PermissionDenied, match="not confirmed yet"):
        visit(rf, register_page, people.alice, "northwick")


@pytest.mark.scenario("P20")
def test_staff_without_a_second_step_set_it_up_first(rf, people):
    Authenticator.objects.filter(user=people.alice.user).delete()
    answer = visit(rf, register_page, people.alice, "northwick")
    assert (answer.status_code, answer.url) == (302, "/accounts/2fa/")
    with pytest.raises(PermissionDenied, match="second step"):
        visit(rf, register_page, people.alice, "northwick", path="/api/v1/x")


@pytest.mark.scenario("P20")
def test_the_regulator_needs_a_passkey(rf, people, settings):
    assert visit(rf, statistics_page, people.reg).content == b"regulator"
    settings.HOSPITALS = {**settings.HOSPITALS, "regulator_needs_passkey": True}
    assert visit(rf, statistics_page, people.reg).status_code == 302
    Authenticator.objects.create(user=people.reg.user, type=Authenticator.Type.WEBAUTHN, data={"name": "key"})
    assert visit(rf, statistics_page, people.reg).content == b"regulator"


@pytest.mark.parametrize("who", ["alice", "hana", "dora", "pat"])
def test_the_regulators_pages_do_not_exist_for_others(rf, people, who):
    with pytest.raises(Http404):
        visit(rf, statistics_page, getattr(people, who))


@pytest.mark.scenario("P1")
def test_a_patient_is_in_the_scope_of_their_hospitals(rf, people):
    assert visit(rf, own_page, people.pat).content.decode() == ids(people.pat_a, people.pat_b)
    assert visit(rf, own_page, people.quinn).content.decode() == ids(people.quinn_b)
    assert visit(rf, own_page, people.alice).content == b""  # no registration: a page that says how to get one


def test_a_lazy_page_is_drawn_inside_the_scope(rf, people):
    @member_required()
    def lazy(request, slug):
        return TemplateResponse(request, "components/empty.html", {"patients": Patient.objects.all()})

    answer = visit(rf, lazy, people.alice, "northwick")
    assert answer.is_rendered


def test_one_request_has_one_id(rf, people):
    seen = []

    @member_required()
    def page(request, slug):
        seen.append((request.request_id, request.actor.request_id))
        return HttpResponse()

    visit(rf, page, people.alice, "northwick")
    visit(rf, page, people.alice, "northwick")
    assert seen[0][0] == seen[0][1]
    assert seen[0] != seen[1]
