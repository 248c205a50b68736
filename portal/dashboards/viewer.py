"""Transactions and blocks in plain words, for anybody: hashes and numbers, never a name that is not public."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_safe

from chain import selectors as chain_selectors
from chain.errors import RpcUnavailable
from chain.types import EventView, TransactionView
from hospitals.access import public
from hospitals.selectors import organisation_names

CHAINS = ("SUP", "MED")

# Event of a contract: the sentence a person reads. Names of organisations are public; nobody else is named.
SENTENCES = {
    "OrganisationAdmitted": gettext_lazy("%(who)s was admitted."),
    "OrganisationSuspended": gettext_lazy("%(who)s was suspended."),
    "OrganisationReinstated": gettext_lazy("%(who)s was reinstated."),
    "OrganisationExpelled": gettext_lazy("%(who)s was expelled."),
    "PractitionerRegistered": gettext_lazy("%(who)s registered a member of its clinical staff."),
    "PractitionerRemoved": gettext_lazy("%(who)s removed a member of its clinical staff."),
    "PatientRegistered": gettext_lazy("%(who)s registered a patient under a random number."),
    "IdentityRotated": gettext_lazy("A patient changed their key."),
    "ReleaseAnnounced": gettext_lazy("A new version of a contract was announced."),
    "Proposed": gettext_lazy("An officer of the health authority proposed a change."),
    "Approved": gettext_lazy("An officer of the health authority approved a change."),
    "Cancelled": gettext_lazy("An officer of the health authority stopped a change."),
    "Executed": gettext_lazy("An approved change took effect after its waiting time."),
    "OfficersChanged": gettext_lazy("The officers who decide about releases were set."),
    "RoleGranted": gettext_lazy("A right in the contracts was given to an account."),
    "RoleRevoked": gettext_lazy("A right in the contracts was taken from an account."),
    "TargetFunctionRoleUpdated": gettext_lazy("It was set which right a function needs."),
    "ConsentRecorded": gettext_lazy("A consent was recorded. It names nobody."),
    "ConsentRevoked": gettext_lazy("A consent was ended. It names nobody."),
    "EmergencyMarked": gettext_lazy("%(who)s marked an emergency access."),
    "HealthRecordUpdated": gettext_lazy("An encrypted record was stored."),
}


@require_safe
@public
def chains(request: HttpRequest) -> HttpResponse:
    found = []
    for name in CHAINS:
        sync = chain_selectors.sync_status(name)
        try:
            newest = chain_selectors.blocks_newest(name, limit=8)
        except RpcUnavailable:
            newest = None
        found.append({"name": name, "sync": sync, "state": chain_state(sync, newest), "blocks": newest})
    query = request.GET.get("hash", "").strip().lower()
    if query:
        return _search(request, query, found)
    return render(request, "public/chains.html", {"chains": found})


@require_safe
@public
def transaction(request: HttpRequest, chain: str, tx_hash: str) -> HttpResponse:
    if chain not in CHAINS:
        return _not_known(request, chain)
    try:
        found = chain_selectors.transaction_view(chain, tx_hash.lower())
    except (ValueError, RpcUnavailable) as error:
        return _not_known(request, chain) if isinstance(error, ValueError) else _down(request, chain)
    if found is None:
        return _not_known(request, chain)
    names = organisation_names()
    return render(
        request,
        "public/transaction.html",
        {
            "tx": found,
            "sentence": sentence(found, names),
            "chip": chip(found),
            "sender_name": names.get(found.sender.lower(), ""),
            "events": [_event(event) for event in found.events],
        },
    )


@require_safe
@public
def block(request: HttpRequest, chain: str, number: int) -> HttpResponse:
    if chain not in CHAINS:
        return _not_known(request, chain)
    try:
        found = chain_selectors.block_view(chain, number)
    except RpcUnavailable:
        return _down(request, chain)
    if found is None:
        return _not_known(request, chain)
    names = organisation_names()
    rows = [{"tx": tx, "sentence": sentence(tx, names), "chip": chip(tx)} for tx in found.transactions]
    return render(request, "public/block.html", {"found": found, "rows": rows})


def chain_state(sync: Any, answers: object) -> str:
    """The word for a chain's health: down, halted, behind, ok."""
    if answers is None:
        return "down"
    if sync is None or sync.halted_reason:
        return "halted" if sync else "behind"
    return "behind" if sync.is_behind else "ok"


def chip(tx: TransactionView) -> dict[str, Any]:
    kinds = {"pending": "queued", "mined": "mined", "final": "final", "reverted": "failed"}
    return {
        "state": kinds.get(tx.state, "queued"),
        "n": min(tx.confirmations, tx.confirmations_needed),
        "m": tx.confirmations_needed,
    }


def sentence(tx: TransactionView, names: dict[str, str]) -> str:
    """What happened, from the first event; several anchored leaves read as a count."""
    if tx.state == "reverted":
        return _("The contract refused this transaction. Nothing was changed.")
    if not tx.events:
        if tx.contract:
            return _("A call of %(contract)s that recorded nothing.") % {"contract": tx.contract}
        return _("A transfer of funds for fees.") if tx.to else _("A contract was put on the chain.")
    event = tx.events[0]
    who = names.get(str(event.args.get("organisation", tx.sender)).lower(), _("An organisation"))
    if event.name == "Anchored":
        count = int(event.args.get("count", 1))
        text = ngettext("%(who)s sealed %(n)d record.", "%(who)s sealed %(n)d records with one transaction.", count)
        kinds = {
            "1": _("%(who)s published keys."),
            "2": _("%(who)s sealed its log."),
            "3": _("%(who)s sealed the other chain."),
        }
        return kinds.get(str(event.args.get("kind", 0)), text) % {"who": who, "n": count}
    if event.name == "AccessLogged":
        count = len(event.args.get("leaves", []))
        text = ngettext(
            "%(who)s added %(n)d entry to its access log.", "%(who)s added %(n)d entries to its access log.", count
        )
        return text % {"who": who, "n": count}
    if event.name == "ConsentRecorded" and len(tx.events) > 1:
        return _("%(n)d consents were recorded. They name nobody.") % {"n": len(tx.events)}
    return str(SENTENCES.get(event.name, event.name)) % {"who": who}


def _event(event: EventView) -> dict[str, Any]:
    rows = []
    for name, value in event.args.items():
        values = value if isinstance(value, list | tuple) else [value]
        rows.append({"name": name, "values": [str(v) for v in values[:8]], "more": max(0, len(values) - 8)})
    return {"contract": event.contract, "name": event.name, "rows": rows}


def _search(request: HttpRequest, query: str, found: list[dict]) -> HttpResponse:
    """A hash or a block number typed into the search box; each chain is asked."""
    for name in CHAINS:
        try:
            if query.isdecimal() and len(query) < 16 and name == request.GET.get("chain", "SUP"):
                if chain_selectors.block_view(name, int(query)):
                    return HttpResponseRedirect(reverse("public:block", args=[name, int(query)]))
            elif query.startswith("0x") and chain_selectors.transaction_view(name, query):
                return HttpResponseRedirect(reverse("public:transaction", args=[name, query]))
        except (ValueError, RpcUnavailable):
            continue
    problem = _("This is not known on SUPchain or MEDchain. Check that you copied all of it.")
    return render(request, "public/chains.html", {"chains": found, "problem": problem, "query": query}, status=404)


def _not_known(request: HttpRequest, chain: str) -> HttpResponse:
    name = f"{chain}chain" if chain in CHAINS else _("this chain")
    return render(request, "public/chain_unknown.html", {"chain_name": name}, status=404)


def _down(request: HttpRequest, chain: str) -> HttpResponse:
    return render(request, "public/chain_unknown.html", {"chain_name": f"{chain}chain", "is_down": True}, status=503)
