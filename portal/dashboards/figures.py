"""Numbers on home pages: each with the block it stands at and a link to exactly the rows that it counts."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chain import selectors as chain_selectors
from hospitals.models import Organisation
from records import figures

# Block time is one second in the demo; behind by more than this many blocks is worth a word.
LAG_BLOCKS = 10
ROWS_A_PAGE = 50
DAYS = 30


@dataclass(frozen=True)
class Figure:
    label: str
    value: int
    href: str
    line: str = ""


def as_of() -> list[str]:
    """A sentence for each chain whose index is behind: figures tell what was so at that block."""
    found = []
    for name in ("SUP", "MED"):
        sync = chain_selectors.sync_status(name)
        if sync.lag > LAG_BLOCKS or sync.is_behind:
            words = ngettext(
                "%(chain)s figures are as of block %(number)s; the index is %(lag)s block behind.",
                "%(chain)s figures are as of block %(number)s; the index is %(lag)s blocks behind.",
                sync.lag,
            )
            number = max(0, min(sync.finalized, sync.cursor))
            found.append(words % {"chain": f"{name}chain", "number": number, "lag": sync.lag})
    return found


def of_hospital(hospital: Organisation) -> list[Figure]:
    def link(route: str, **query: Any) -> str:
        return f"{reverse(f'hospital:{route}', args=[hospital.slug])}?{urlencode(query)}"

    waiting = figures.seals(hospital=hospital, state="waiting").count()
    pending = figures.shares(hospital=hospital, state="pending").count()
    return [
        Figure(
            _("Seals on the chains"),
            figures.seals(hospital=hospital, state="final").count(),
            link("seals", state="final"),
            _("%(n)s on their way") % {"n": waiting},
        ),
        Figure(
            _("Patients’ shares open"),
            figures.shares(hospital=hospital, state="open").count(),
            link("shares", state="open"),
            _("%(n)s being confirmed") % {"n": pending},
        ),
        Figure(
            _("Entries in the access log"),
            figures.accesses(hospital=hospital, days=DAYS).count(),
            link("log", days=DAYS),
            _("In the last 30 days"),
        ),
        Figure(
            _("Refused"),
            figures.accesses(hospital=hospital, days=DAYS, is_refused=True).count(),
            link("log", days=DAYS, kind="refused"),
            _("In the last 30 days"),
        ),
    ]


def of_regulator() -> list[Figure]:
    """Call inside `all_tenants`."""

    def link(route: str, **query: Any) -> str:
        return f"{reverse(f'regulator:{route}')}?{urlencode(query)}"

    waiting = {chain: figures.seals(chain=chain, state="waiting").count() for chain in ("SUP", "MED")}
    return [
        *(
            Figure(
                _("Seals on %(chain)s") % {"chain": f"{chain}chain"},
                figures.seals(chain=chain, state="final").count(),
                link("seals", chain=chain, state="final"),
                _("%(n)s on their way") % {"n": waiting[chain]},
            )
            for chain in ("SUP", "MED")
        ),
        Figure(
            _("Patients’ shares open"),
            figures.shares(state="open").count(),
            link("shares", state="open"),
            _("At all hospitals"),
        ),
        Figure(
            _("Entries in the access logs"),
            figures.accesses(days=DAYS).count(),
            link("accesses", days=DAYS),
            _("In the last 30 days, at all hospitals"),
        ),
    ]


def page_of(request: HttpRequest, rows: Any) -> Page:
    return Paginator(rows, ROWS_A_PAGE).get_page(request.GET.get("page"))


def day_of(text: str) -> date | None:
    """`today`, or a day as 2026-11-21; anything else is no limit."""
    if text == "today":
        return timezone.localdate()
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def chosen(request: HttpRequest, name: str, allowed: tuple[str, ...]) -> str:
    value = request.GET.get(name, "")
    return value if value in allowed else ""
