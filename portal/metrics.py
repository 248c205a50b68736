"""`/metrics` for Prometheus: numbers from the database at the moment of the question. No name, id or content."""

import hmac
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from chain import selectors as chain_selectors
from chain.conf import conf
from chain.heartbeats import last_beats
from chain.models import OutboxItem
from hospitals.access import public
from hospitals.tenancy import all_tenants
from portal import alarms
from portal.alarm_kinds import KINDS
from records.models import Upload

LOOPBACK = ("127.0.0.1", "::1")


@public
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For who holds the token; without a configured token only for this machine itself."""
    if not _may_read(request):
        raise Http404
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Portal())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    # Behind a proxy every request comes from this machine, so one that was passed on does not count as local.
    is_passed_on = any(name in request.headers for name in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via"))
    return request.META.get("REMOTE_ADDR") in LOOPBACK and not is_passed_on


class Portal(Collector):
    """Any process gives the same answer, for nothing is counted in memory."""

    def collect(self) -> Iterator[Metric]:
        yield from _alarm_metrics()
        yield from _part_metrics()
        yield from _chain_metrics()
        with all_tenants("count uploads by state"):
            counts = dict(Upload.objects.order_by().values_list("state").annotate(Count("id")))
        yield _gauge("portal_uploads", "Uploads by state", ["state"], {(state,): n for state, n in counts.items()})


def _alarm_metrics() -> Iterator[Metric]:
    """Each known kind has a series from the start: an alarm rule needs a value to compare with."""
    counts = {(code, chain): 0 for code in KINDS for chain in ("", *conf().chains)}
    for row in alarms.alarms_all():
        counts[row.code, row.chain] = counts.get((row.code, row.chain), 0) + 1
    yield _gauge("portal_alarms", "Alarms that are raised now", ["code", "chain"], counts)


def _part_metrics() -> Iterator[Metric]:
    now, beats = timezone.now(), last_beats()
    ages = {(part,): max(0.0, (now - beats[part]).total_seconds()) for part in beats}
    yield _gauge("portal_heartbeat_age_seconds", "Seconds since a part gave a sign of life", ["part"], ages)
    expected = [*alarms.parts(), "watch"]
    up = {(part,): int(part in beats and ages[part,] <= conf().dead_seconds) for part in expected}
    yield _gauge("portal_part_up", "1 while a part gives signs of life", ["part"], up)


def _chain_metrics() -> Iterator[Metric]:
    syncs = {name: chain_selectors.sync_status(name) for name in conf().chains}
    for name, words, value in (
        ("head_block", "Newest block that the node told", lambda sync: sync.head),
        ("final_block", "Newest final block", lambda sync: sync.finalized),
        ("index_block", "Block up to which events are stored", lambda sync: sync.cursor),
        ("index_lag_blocks", "Blocks that the index is behind", lambda sync: sync.lag),
        ("index_halted", "1 when following has stopped for safety", lambda sync: int(bool(sync.halted_reason))),
        ("index_gaps", "Blocks that could not be read", lambda sync: len(sync.gaps)),
    ):
        yield _gauge(f"portal_chain_{name}", words, ["chain"], {(chain,): value(sync) for chain, sync in syncs.items()})
    counts = {
        (chain, state): count
        for chain, state, count in OutboxItem.objects.order_by().values_list("chain", "state").annotate(Count("id"))
    }
    yield _gauge("portal_outbox_items", "Wishes towards a chain by state", ["chain", "state"], counts)
    oldest = {(chain,): _age(chain) for chain in conf().chains}
    yield _gauge("portal_outbox_oldest_seconds", "Age of what waits longest to get into a block", ["chain"], oldest)


def _age(chain: str) -> float:
    oldest_at = chain_selectors.queue_status(chain).oldest_at
    return 0.0 if oldest_at is None else (timezone.now() - oldest_at).total_seconds()


def _gauge(name: str, words: str, labels: list[str], values: dict[tuple, float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(list(key), value)
    return family
