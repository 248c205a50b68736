"""The role table, cell by cell, as a reviewed text."""

import pytest

from hospitals import roles
from hospitals.actors import Actor, system_actor
from hospitals.errors import Refused
from hospitals.roles import ROLE_PERMISSIONS, Permission, decide, require
from hospitals.types import MembershipStatus, OrganisationStatus, Role

TABLE = """
                        doctor nurse clerk admin privacy regulator researcher insurer
home:read                 x      x     x     x      x        x         x         x
organisation:settings     .      .     .     x      .        .         .         .
staff:list                x      x     x     x      x        .         x         x
staff:manage              .      .     .     x      .        .         .         .
patient:search            x      x     x     x      x        .         .         .
patient:read              x      x     x     x      x        .         .         .
patient:register          x      .     .     .      .        .         .         .
claim:check               x      .     x     x      .        .         .         .
record:list               x      x     .     .      .        .         .         .
record:read               x      x     .     .      .        .         .         .
record:upload             x      x     x     .      .        .         .         .
record:author             x      x     .     .      .        .         .         .
record:withdraw           x      .     .     .      .        .         .         .
upload:states             x      x     x     x      .        .         .         .
shared:read               x      x     .     .      .        .         x         x
audit:read                .      .     .     x      x        x         .         .
token:manage              x      x     x     x      x        x         x         x
application:decide        .      .     .     .      .        x         .         .
organisation:supervise    .      .     .     .      .        x         .         .
statistics:read           .      .     .     .      .        x         .         .
record:query              .      .     .     .      .        x         .         .
chain:health              .      .     .     .      .        x         .         .
release:govern            .      .     .     .      .        x         .         .
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]


@pytest.mark.scenario("H8", "D9", "D13")
@pytest.mark.parametrize("role", Role.values)
def test_the_table(role):
    column = HEAD.index(role) + 1
    assert {row[0] for row in ROWS} == {str(permission) for permission in Permission}
    assert {row[0] for row in ROWS if row[column] == "x"} == {str(p) for p in ROLE_PERMISSIONS[role]}


def test_every_role_has_a_row():
    assert set(ROLE_PERMISSIONS) == set(Role)
    assert roles.roles_with(Permission.PATIENT_REGISTER) == [Role.DOCTOR]


def test_no_membership_no_rights(people):
    for actor in (Actor(people.pat), system_actor()):
        assert {decide(actor, permission).reason for permission in Permission} == {"no_membership"}


def test_an_ended_or_pending_role_has_no_rights(people):
    for status, reason in ((MembershipStatus.ENDED, "ended"), (MembershipStatus.PENDING, "pending")):
        people.alice.status = status
        assert {decide(people.actor(people.alice), p).reason for p in Permission} == {reason}


def test_a_closed_account_has_no_rights(people):
    people.alice.user.is_active = False
    assert decide(people.actor(people.alice), Permission.RECORD_READ).reason == "ended"


@pytest.mark.scenario("H7")
def test_suspension_closes_the_outside_and_keeps_the_care(people):
    people.a.status = OrganisationStatus.SUSPENDED
    actor = people.actor(people.alice)
    actor.membership.hospital.status = OrganisationStatus.SUSPENDED
    assert decide(actor, Permission.RECORD_READ)
    assert decide(actor, Permission.RECORD_UPLOAD)
    for permission in (Permission.PATIENT_REGISTER, Permission.SHARED_READ):
        assert decide(actor, permission).reason == "suspended"
    with pytest.raises(Refused, match="suspended"):
        require(actor, Permission.PATIENT_REGISTER)


@pytest.mark.parametrize("status", ["applied", "admitting", "expelled", "refused"])
def test_an_organisation_that_is_not_admitted_can_do_nothing(people, status):
    actor = people.actor(people.alice)
    actor.membership.hospital.status = status
    allowed = [p for p in Permission if decide(actor, p)]
    assert allowed == [Permission.HOME]


def test_a_role_counts_in_its_own_house_only(people):
    require(people.actor(people.hana), Permission.STAFF_MANAGE, hospital=people.a)
    with pytest.raises(Refused):
        require(people.actor(people.hana), Permission.STAFF_MANAGE, hospital=people.b)
