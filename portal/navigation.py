"""The menus of the four portals. An entry whose route does not exist, or that the role may not open, is left out."""

from dataclasses import dataclass, field

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Entry:
    route: str
    label: str
    icon: str
    short: str = ""  # the word under the icon on phones; empty: not in the tab bar
    roles: frozenset[str] = field(default_factory=frozenset)  # empty: everybody
    is_last: bool = False  # stands at the foot of the side bar


CARE = frozenset({"doctor", "nurse"})
DESK = frozenset({"doctor", "nurse", "clerk", "admin", "privacy"})
OFFICE = frozenset({"admin", "privacy"})

MENUS: dict[str, tuple[Entry, ...]] = {
    "staff": (
        Entry("hospital:home", _("Home"), "home", _("Home")),
        Entry("hospital:patients", _("Patients"), "people", _("Patients"), DESK),
        Entry("hospital:upload", _("Upload"), "upload", _("Upload"), CARE | {"clerk"}),
        Entry("hospital:shared", _("Shared with us"), "share", _("Shared"), CARE),
        Entry("hospital:jobs", _("Uploads in progress"), "list", "", CARE | {"clerk", "admin"}),
        Entry("hospital:log", _("Access log"), "eye", _("Log"), OFFICE),
        Entry("hospital:staff", _("Staff and roles"), "key", _("Staff"), OFFICE),
        Entry("hospital:settings", _("Settings"), "cog", is_last=True),
    ),
    "patient": (
        Entry("patient:home", _("Home"), "home", _("Home")),
        Entry("patient:records", _("Records"), "doc", _("Records")),
        Entry("patient:log", _("Who looked"), "eye", _("Who looked")),
        Entry("patient:sharing", _("Sharing"), "share", _("Sharing")),
    ),
    "regulator": (
        Entry("regulator:home", _("Overview"), "home", _("Overview")),
        Entry("regulator:applications", _("Applications"), "doc", _("Applications")),
        Entry("regulator:organisations", _("Organisations"), "building", _("Places")),
        Entry("regulator:contracts", _("Contracts"), "build"),
        Entry("regulator:releases", _("Releases"), "check"),
        Entry("regulator:chains", _("Chain health"), "chain", _("Chains")),
        Entry("regulator:statistics", _("Statistics"), "chart"),
        Entry("regulator:query", _("Record query"), "search"),
    ),
    "operator": (
        Entry("operator:health", _("Health"), "pulse", _("Health")),
        Entry("admin:index", _("Accounts, roles, logs"), "cog", _("Console")),
    ),
    "public": (
        Entry("public:verify", _("Verify a file"), "shield"),
        Entry("public:chain", _("The two chains"), "chain"),
    ),
}
# Single places other templates link to, by a name that outlives the route.
PLACES = {
    "patient-search": "hospital:patients",
    "verify": "public:verify",
    "status": "public:chain",
    "contracts": "public:contracts",
}


def route_url(route: str, request: HttpRequest) -> str | None:
    hospital = getattr(request, "hospital", None)
    try:
        return reverse(route, args=[hospital.slug] if route.startswith("hospital:") and hospital else [])
    except NoReverseMatch:
        return None


def menu(name: str, request: HttpRequest, current: str = "") -> list[dict]:
    """The entries this person may open; `current` names a route, else the longest matching path wins."""
    membership = getattr(request, "membership", None)
    role = str(getattr(membership, "role", ""))
    items = []
    for entry in MENUS[name]:
        url = route_url(entry.route, request)
        if url is None or (entry.roles and role not in entry.roles):
            continue
        items.append(
            {
                "url": url,
                "route": entry.route,
                "label": entry.label,
                "icon": entry.icon,
                "short": entry.short,
                "tab": bool(entry.short),
                "is_last": entry.is_last,
                "current": False,
            }
        )
    matches = [i for i in items if i["route"] == current] or sorted(
        (i for i in items if request.path.startswith(i["url"])), key=lambda i: len(i["url"]), reverse=True
    )
    if matches:
        matches[0]["current"] = True
    return items
