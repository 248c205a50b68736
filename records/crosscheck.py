"""Records that were chosen for both chains: the same leaf was queued for each, and reached each."""

import uuid

from chain import crosscheck
from chain.models import Finding
from hospitals.tenancy import all_tenants
from records.models import Anchor, Chains, Epoch

CHECKED = 200  # the newest, and as many from a random place on, so that in time all are looked at


def both_check() -> int:
    """Compares what the records say with what was queued; the chains themselves are asked by `chain.crosscheck`."""
    with all_tenants("compare anchors of both chains"):
        epochs = Epoch.objects.filter(version__chains=Chains.BOTH).only("pk", "leaf", "created_at")
        rows = {row.pk: row for row in epochs.order_by("-created_at")[:CHECKED]}
        rows |= {row.pk: row for row in epochs.filter(pk__gte=uuid.uuid4()).order_by("pk")[:CHECKED]}
        doubted = Finding.objects.filter(cleared_at__isnull=True, ref__startswith="rec:").values("ref")
        rows |= {row.pk: row for row in epochs.filter(anchors__ref__in=doubted)[:CHECKED]}
        refs: dict[uuid.UUID, dict[str, str]] = {pk: {} for pk in rows}
        for epoch_id, chain, ref in Anchor.objects.filter(epoch__in=rows).values_list("epoch_id", "chain", "ref"):
            refs[epoch_id][chain] = ref
        wanted = []
        for pk, epoch in rows.items():
            # A row of ours that is gone is missed under the ref it would have.
            named = {chain: refs[pk].get(chain, anchor_ref(pk, chain)) for chain in Chains.of(Chains.BOTH)}
            wanted.append(crosscheck.Wanted(named, bytes(epoch.leaf), epoch.created_at))
    return crosscheck.both_check(wanted)


def anchor_ref(epoch_id: uuid.UUID, chain: str) -> str:
    return f"rec:{epoch_id.hex}:{chain}"
