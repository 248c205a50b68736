"""What patients of other hospitals let a member of staff read, consent by consent."""

from dataclasses import dataclass

from django.db.models import Q
from django.utils import timezone

from hospitals.models import Membership
from hospitals.tenancy import all_tenants
from hospitals.types import MembershipStatus
from records import selectors
from records.models import AccessGrant, GrantState


@dataclass(frozen=True)
class SharedGroup:
    """One consent and the records that it opens now."""

    grant: AccessGrant
    rows: list[selectors.TimelineRow]


def shared_groups(membership: Membership) -> list[SharedGroup]:
    """What patients of other hospitals let this member read, consent by consent; an empty consent is shown too."""
    if membership.status != MembershipStatus.ACTIVE:
        return []
    rows = selectors.shared_with(membership)
    now = timezone.now()
    with all_tenants("consents given to a member"):
        live = list(
            AccessGrant.objects.filter(
                Q(grantee_membership=membership)
                | Q(grantee_membership__isnull=True, grantee_organisation_id=membership.hospital_id),
                state=GrantState.ACTIVE,
                expires_at__gt=now,
            )
            .select_related("patient", "hospital")
            .order_by("expires_at")
        )
    return [SharedGroup(grant, [row for row in rows if row.grant_id == grant.pk]) for grant in live]
