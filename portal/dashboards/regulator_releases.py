"""The regulator's releases: a new contract version is proposed, approved by another officer, waits, takes effect."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from chain import council, deploying, releasing
from chain.artefacts import deployment
from chain.errors import ChainError, DeploymentMismatch
from chain.gateway import checksum
from hospitals import services
from hospitals.access import regulator_required
from hospitals.errors import HospitalsError, Invalid
from hospitals.models import Membership
from hospitals.roles import Permission
from hospitals.services.releases import Standing
from hospitals.types import OrganisationKind
from portal.dashboards.viewer import CHAINS

# What a call of the council does, for a person. Anything else is shown by its names.
CALLS = {
    "announceRelease": gettext_lazy("Announce a new version"),
    "setOfficers": gettext_lazy("Change the officers"),
    "grantRole": gettext_lazy("Give a right to an account"),
    "revokeRole": gettext_lazy("Take a right from an account"),
    "setTargetClosed": gettext_lazy("Close or open a contract to the authority"),
    "setTargetFunctionRole": gettext_lazy("Change which right a function needs"),
}


class LookForm(forms.Form):
    chain = forms.ChoiceField(label=gettext_lazy("Chain"), choices=[(name, f"{name}chain") for name in CHAINS])
    contract = forms.ChoiceField(
        label=gettext_lazy("Contract"), choices=[(name, name) for name in deploying.ANNOUNCED], initial="AnchorLog"
    )
    address = forms.CharField(
        label=gettext_lazy("Address of the new version"),
        max_length=60,
        help_text=gettext_lazy("It must be deployed already: 0x and 40 hex digits."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


class ProposeForm(LookForm):
    reason = forms.CharField(
        label=gettext_lazy("Why this version?"),
        widget=forms.Textarea(attrs={"rows": 4}),
        max_length=1000,
        help_text=gettext_lazy("At least 10 characters. The chain holds only its seal; the words stay here."),
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name in ("chain", "contract", "address"):
            self.fields[name].widget = forms.HiddenInput()


class CancelForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=1000,
        help_text=gettext_lazy("At least 10 characters. It is kept in the log."),
    )


@require_safe
@regulator_required(Permission.RELEASE_GOVERN)
def releases(request: HttpRequest) -> HttpResponse:
    rows = [row for name in CHAINS for row in council.proposals(name)]
    rows.sort(key=lambda row: row.proposed.at, reverse=True)
    names = _names()
    return render(
        request,
        "regulator/releases.html",
        {
            "open": [_shown(row, names) for row in rows if row.is_open],
            "ended": [_shown(row, names) for row in rows if not row.is_open][:50],
            "sent": [(name, row) for name in CHAINS for row in council.proposals_pending(name)],
            "councils": [_council(name, request, names) for name in CHAINS],
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@regulator_required(Permission.RELEASE_GOVERN)
def propose(request: HttpRequest) -> HttpResponse:
    """First the address is looked at, then the officer says why."""
    found, step = None, None
    look = LookForm(request.GET if "address" in request.GET else None)
    form = ProposeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        step = _act(request, form, lambda: services.release_propose(actor=request.actor, **values))
        if step is not None and step.ref:
            messages.success(request, _("Proposed. It appears below as soon as the chain has confirmed it."))
            return redirect("regulator:releases")
    asked = form if request.method == "POST" else look
    if asked.is_bound and (asked.is_valid() or request.method == "POST"):
        wanted = {name: asked.data.get(name, "") for name in ("chain", "contract", "address")}
        found = _candidate(look if asked is look else form, wanted)
        if request.method != "POST":
            form = ProposeForm(initial=wanted)
    status = 422 if form.errors or (look.is_bound and look.errors) else 200
    context = {
        "look": look,
        "form": form,
        "found": found,
        "step": step,
        "standing": services.officer_standing(actor=request.actor, chain=found.chain) if found else None,
        "candidates": _candidates(),
    }
    return render(request, "regulator/release_new.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@regulator_required(Permission.RELEASE_GOVERN)
def release(request: HttpRequest, chain: str, proposal_id: str) -> HttpResponse:
    found = council.proposal(chain, proposal_id) if chain in CHAINS else None
    if found is None:
        raise Http404
    form, step = CancelForm(request.POST if request.POST.get("act") == "cancel" else None), None
    if request.method == "POST":
        acts: dict[str, tuple[Callable, str]] = {
            "approve": (services.release_approve, _("Approved. It counts once the chain has confirmed it.")),
            "execute": (services.release_execute, _("On its way. The new version counts once the chain confirmed it.")),
            "cancel": (services.release_cancel, _("Stopped, as soon as the chain has confirmed it.")),
        }
        choice = request.POST.get("act", "")
        if choice in acts and (choice != "cancel" or form.is_valid()):
            service, words = acts[choice]
            given = {"reason": form.cleaned_data["reason"]} if choice == "cancel" else {}
            step = _act(
                request, form, lambda: service(actor=request.actor, chain=chain, proposal_id=proposal_id, **given)
            )
            if step is not None and step.ref:
                messages.success(request, words)
                return redirect("regulator:release", chain, proposal_id)
    names = _names()
    standing = services.officer_standing(actor=request.actor, chain=chain)
    context = {
        **_shown(found, names),
        "standing": standing,
        "has_approved": found.has_approved(standing.checksum),
        "council": _council(chain, request, names),
        "form": form,
        "step": step,
        "rows": [{"name": name, "value": value} for name, value in found.args.items()],
    }
    return render(request, "regulator/release.html", context, status=422 if form.errors else 200)


def _act(request: HttpRequest, form: forms.Form, service: Callable[[], Any]) -> Any:
    """Runs one service; what it refuses stands by the field or above the page."""
    try:
        return service()
    except Invalid as error:
        for field, words in error.fields.items():
            form.add_error(field if field in form.fields and not form.fields[field].widget.is_hidden else None, words)
    except (HospitalsError, ChainError) as error:
        messages.error(request, error.user_message)
    return None


def _candidate(form: forms.Form, wanted: dict[str, str]) -> releasing.Candidate | None:
    try:
        found = releasing.candidate_at(wanted["chain"], wanted["contract"], wanted["address"])
    except ChainError as error:
        form.add_error(None, error.user_message)
        return None
    if found.problem:
        if form.is_bound and not form.errors:
            form.add_error(None if form.fields["address"].widget.is_hidden else "address", found.problem)
        return None
    return found


def _candidates() -> list[dict[str, Any]]:
    """What was deployed for this and is not in use: one click fills the form."""
    found = []
    for name in CHAINS:
        try:
            place = deployment(name)
        except DeploymentMismatch:
            continue
        found += [{"chain": name, "item": item} for item in place.candidates if item.address not in place.names]
    return found


def _names() -> dict[str, str]:
    """Officers by address: the regulator sees who of its own people acted."""
    rows = Membership.objects.filter(hospital__kind=OrganisationKind.REGULATOR, chain_address__isnull=False)
    return {checksum(bytes(row.chain_address)): row.user.name for row in rows.select_related("user")}


def _who(act: council.Act | None, names: dict[str, str]) -> dict[str, Any] | None:
    if act is None:
        return None
    place = _("officer %(n)d") % {"n": act.officer} if act.officer else _("no officer any more")
    return {"act": act, "name": names.get(act.address, ""), "place": place if act.address else ""}


def _shown(found: council.Proposal, names: dict[str, str]) -> dict[str, Any]:
    title = str(CALLS.get(found.function, "")) or f"{found.contract or found.target} {found.function}"
    if found.is_release:
        title = _("%(contract)s, version %(n)d") % {"contract": found.release_name, "n": found.args["version"]}
    return {
        "proposal": found,
        "title": title,
        "deployed": checksum(bytes.fromhex(found.args["deployed"][2:])) if found.is_release else "",
        "what": CALLS.get(found.function, found.function),
        "proposed": _who(found.proposed, names),
        "approvals": [_who(act, names) for act in found.approvals],
        "missing": max(0, found.threshold - found.approval_count),
        "ended": _who(found.ended, names),
        "pending": [{"row": row, "name": names.get(row.address, row.address)} for row in found.pending],
    }


def _council(chain: str, request: HttpRequest, names: dict[str, str]) -> dict[str, Any]:
    decided = council.council(chain)
    standing: Standing = services.officer_standing(actor=request.actor, chain=chain)
    officers = [
        {"number": number, "address": address, "name": names.get(address, ""), "is_you": address == standing.checksum}
        for number, address in enumerate(decided.officers if decided else (), 1)
    ]
    return {"chain": chain, "decided": decided, "officers": officers, "standing": standing}
