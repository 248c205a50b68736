"""Who acts: the person, the role they act in, and by which way the act came."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from hospitals.models import Membership, User
from hospitals.types import Channel, MembershipStatus


@dataclass(frozen=True)
class Actor:
    """Passed to every service. No membership: a patient acting for themselves, or (no user) the system."""

    user: User | None
    membership: Membership | None = None
    channel: str = Channel.PAGE
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def is_system(self) -> bool:
        return self.user is None

    @property
    def is_patient(self) -> bool:
        return self.user is not None and self.membership is None

    # The name used by callers that ask for the patient's own view of things.
    patient_user = is_patient

    @property
    def role(self) -> str:
        if self.membership:
            return self.membership.role
        return "system" if self.is_system else "patient"

    @property
    def hospital_id(self) -> uuid.UUID | None:
        return self.membership.hospital_id if self.membership else None

    def refreshed(self) -> "Actor":
        """The same actor with today's rights, for a job that started earlier."""
        if self.membership is None:
            return self
        membership = Membership.objects.select_related("user", "hospital").get(pk=self.membership.pk)
        return Actor(membership.user, membership, self.channel, self.request_id)


def system_actor(channel: str = Channel.TASK) -> Actor:
    return Actor(None, None, channel)


def request_actor(request: Any, membership: Membership | None = None) -> Actor:
    channel = Channel.API if request.path.startswith("/api/") else Channel.PAGE
    return Actor(request.user, membership, channel, request_id_of(request))


def member_actor(membership: Membership, channel: str = Channel.PAGE) -> Actor:
    return Actor(membership.user, membership, channel)


def is_live(membership: Membership) -> bool:
    return membership.status == MembershipStatus.ACTIVE and membership.user.is_active


def request_id_of(request: Any) -> str:
    """One id for a request, made here: a caller's own header is not trusted."""
    if not hasattr(request, "request_id"):
        request.request_id = uuid.uuid4().hex
    return request.request_id
