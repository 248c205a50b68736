"""The patient's sharing list, the wizard that starts a share, and the page that stops one.

The wizard keeps its answers in the session, never in the address: what somebody shares, and with whom,
stays out of histories and server logs. Each step is a plain form, so it works without script.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from allauth.account.decorators import reauthentication_required
from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from hospitals import selectors as people
from hospitals.access import patient_required
from hospitals.models import Membership, Organisation, Patient
from portal.look import CATEGORIES
from records import selectors, services
from records.conf import conf
from records.models import AccessGrant, Category, GrantState, Purpose, ScopeType

SESSION_KEY = "share"
STEPS = ("who", "what", "purpose", "until")
OPEN_STATES = (GrantState.PENDING, GrantState.ACTIVE, GrantState.REVOKING)
PURPOSES = [
    (Purpose.TREATMENT.value, gettext_lazy("Treatment")),
    (Purpose.PATIENT_REQUEST.value, gettext_lazy("Because I ask for it, e.g. a second opinion")),
]
TITLES = {
    "who": (
        gettext_lazy("Who may read?"),
        gettext_lazy("Choose a doctor. Nobody else at that hospital gains anything."),
    ),
    "what": (
        gettext_lazy("What may they read?"),
        gettext_lazy("Choose as little as is needed. You can share more later."),
    ),
    "purpose": (gettext_lazy("What is it for?"), gettext_lazy("They may use it for this purpose only.")),
    "until": (
        gettext_lazy("Until when?"),
        gettext_lazy("It ends by itself on that day. You can stop earlier at any time."),
    ),
}


class WhoForm(forms.Form):
    who = forms.ChoiceField(
        label=gettext_lazy("Doctor"),
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose one doctor. Search by name if yours is not in the list.")},
    )

    def __init__(self, *args: Any, found: list[Membership], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["who"].choices = [
            (str(m.pk), f"{m.user.name}, {m.title or m.get_role_display()}, {m.hospital.name}") for m in found
        ]


class WhatForm(forms.Form):
    registration = forms.ChoiceField(label=gettext_lazy("From which hospital?"), widget=forms.RadioSelect)
    what = forms.ChoiceField(
        label=gettext_lazy("Which records?"),
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose what they may read.")},
    )

    def __init__(self, *args: Any, registrations: list[Patient], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["registration"].choices = [(str(p.pk), p.hospital.name) for p in registrations]
        if len(registrations) == 1:
            self.fields["registration"].initial = str(registrations[0].pk)
            self.fields["registration"].widget = forms.HiddenInput()
        kinds = [(f"category:{value}", CATEGORIES[value][1]) for value in Category.values]
        self.fields["what"].choices = [*kinds, ("all", _("Everything this hospital wrote about me"))]


class PurposeForm(forms.Form):
    purpose = forms.ChoiceField(label=gettext_lazy("Purpose"), widget=forms.RadioSelect, choices=PURPOSES)


class UntilForm(forms.Form):
    until = forms.DateField(
        label=gettext_lazy("Last day"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={
            "required": gettext_lazy("Enter the last day."),
            "invalid": gettext_lazy("Enter a day, for example 2027-01-31."),
        },
    )

    def clean_until(self) -> Any:
        day, today = self.cleaned_data["until"], timezone.localdate()
        last = today + timedelta(days=conf().share_days_max)
        if day < today:
            raise forms.ValidationError(_("That day has passed. Choose today or later."))
        if day > last:
            raise forms.ValidationError(
                _("Choose a day up to %(day)s. You can share again later.") % {"day": date_format(last, "j F Y")}
            )
        return day


class CheckForm(forms.Form):
    understood = forms.BooleanField(
        label=gettext_lazy("I understand that copies they download stay with them."),
        error_messages={"required": gettext_lazy("Tick the box to go on.")},
    )


@dataclass(frozen=True)
class GrantRow:
    """A grant in plain sentences."""

    id: uuid.UUID
    organisation: Organisation
    who: str
    what: str
    until: str
    note: str
    state: str
    tx_url: str
    is_open: bool

    @property
    def can_stop(self) -> bool:
        return self.state in (GrantState.PENDING, GrantState.ACTIVE)


def what_words(scope_type: str, scope_value: str, hospital: str) -> str:
    if scope_type == ScopeType.CATEGORY:
        return _("%(kind)s from %(hospital)s") % {"kind": CATEGORIES[scope_value][1], "hospital": hospital}
    if scope_type == ScopeType.RECORD:
        return _("One record from %(hospital)s") % {"hospital": hospital}
    return _("Everything from %(hospital)s") % {"hospital": hospital}


def grant_row(grant: AccessGrant) -> GrantRow:
    state = grant.state
    if state == GrantState.ACTIVE and grant.expires_at <= timezone.now():
        state = GrantState.EXPIRED
    member = grant.grantee_membership
    who = f"{member.user.name}, {grant.grantee_organisation.name}" if member else grant.grantee_organisation.name
    purpose = dict(PURPOSES).get(grant.purpose, grant.get_purpose_display())
    notes = {
        GrantState.PENDING: _("Being confirmed. It opens in about ten seconds."),
        GrantState.REVOKING: _("It is closed already; the public note of it is being confirmed."),
        GrantState.FAILED: _("It could not be recorded, so nothing was opened. Please try again."),
    }
    tx_hash = grant.revoked_tx_hash or grant.recorded_tx_hash
    ended = grant.revoked_at or (grant.expires_at if state == GrantState.EXPIRED else None)
    return GrantRow(
        id=grant.pk,
        organisation=grant.grantee_organisation,
        who=who,
        what=_("%(what)s, to read, for this purpose: %(purpose)s.")
        % {
            "what": what_words(grant.scope_type, grant.scope_value, grant.hospital.name),
            "purpose": str(purpose).lower(),
        },
        until=(_("Ended %(day)s.") if ended else _("Ends %(day)s."))
        % {"day": date_format(timezone.localtime(ended or grant.expires_at), "j F Y")},
        note=str(notes.get(state, "")),
        state=state,
        tx_url=reverse("public:transaction", args=["MED", "0x" + bytes(tx_hash).hex()]) if tx_hash else "",
        is_open=state in OPEN_STATES,
    )


def grant_rows(registrations: list[Patient]) -> list[GrantRow]:
    return [grant_row(grant) for grant in selectors.grants_of(registrations)]


@require_safe
@patient_required
def sharing(request: HttpRequest) -> HttpResponse:
    found = grant_rows(request.registrations)
    if request.GET.get("show") == "open":
        found = [row for row in found if row.state == GrantState.ACTIVE]
    return render(
        request,
        "patient/sharing.html",
        {
            "registrations": request.registrations,
            "grants": [row for row in found if row.is_open],
            "ended": [row for row in found if not row.is_open],
            "is_moving": any(row.state in (GrantState.PENDING, GrantState.REVOKING) for row in found),
        },
    )


@require_safe
@patient_required
def share(request: HttpRequest) -> HttpResponse:
    """Start again with empty answers."""
    if not request.registrations:
        return redirect("patient:sharing")
    request.session[SESSION_KEY] = {}
    return redirect("patient:share-step", "who")


@require_http_methods(["GET", "HEAD", "POST"])
@patient_required
def step(request: HttpRequest, name: str) -> HttpResponse:
    answers = request.session.get(SESSION_KEY)
    if name not in STEPS:
        raise Http404
    if answers is None or not request.registrations:
        return redirect("patient:share" if request.registrations else "patient:sharing")
    search = request.GET.get("q", "").strip()[:80]
    form = _form(request, name, answers, search)
    if request.method == "POST" and form.is_valid():
        values = {
            key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in form.cleaned_data.items()
        }
        request.session[SESSION_KEY] = {**answers, **values}
        return redirect(_next_url(name, {**answers, **values}))
    number = STEPS.index(name) + 1
    title, lede = TITLES[name]
    context = {
        "form": form,
        "search": search,
        "back_url": reverse("patient:share-step", args=[STEPS[number - 2]])
        if number > 1
        else reverse("patient:sharing"),
        "step": {
            "name": name,
            "number": number,
            "of": len(STEPS) + 1,
            "title": title,
            "lede": lede,
            "question": _("Your answer"),
        },
        "nav_current": "patient:sharing",
    }
    return render(request, "patient/share_step.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@patient_required
def check(request: HttpRequest) -> HttpResponse:
    choice = _choice(request)
    if choice is None:
        return redirect("patient:share")
    if request.method == "POST":
        return _sign(request)
    return _check_page(request, choice, CheckForm())


@reauthentication_required
def _sign(request: HttpRequest) -> HttpResponse:
    """A grant opens a life's records, so the person proves again who they are if that was a while ago."""
    choice, form = _choice(request), CheckForm(request.POST)
    if not form.is_valid():
        return _check_page(request, choice, form, status=422)
    services.grant_create(
        actor=request.actor,
        patient=choice["patient"],
        grantee=choice["grantee"],
        scope_type=choice["scope_type"],
        scope_value=choice["scope_value"],
        purpose=choice["purpose"],
        expires_at=choice["expires_at"],
    )
    del request.session[SESSION_KEY]
    messages.success(
        request,
        _("Signed. %(who)s can read it as soon as it is confirmed, in about ten seconds.")
        % {"who": choice["grantee"].user.name},
    )
    return redirect("patient:sharing")


@require_http_methods(["GET", "HEAD", "POST"])
@patient_required
def stop(request: HttpRequest, grant_id: uuid.UUID) -> HttpResponse:
    grant = next((g for g in selectors.grants_of(request.registrations) if g.pk == grant_id), None)
    if grant is None:
        raise Http404
    row = grant_row(grant)
    if request.method == "POST":
        if row.can_stop:
            services.grant_revoke(actor=request.actor, grant=grant)
            messages.success(request, _("Stopped. %(who)s can open nothing of it any more.") % {"who": row.who})
        return redirect("patient:sharing")
    return render(request, "patient/share_stop.html", {"grant": row, "nav_current": "patient:sharing"})


def _form(request: HttpRequest, name: str, answers: dict, search: str) -> forms.Form:
    data = request.POST if request.method == "POST" else None
    if name == "who":
        # The posted choice must be among the offered ones, so a posted id is looked up as well.
        chosen = data.get("who", "") if data else answers.get("who", "")
        return WhoForm(data, found=_doctors(search, chosen), initial=answers)
    if name == "what":
        return WhatForm(data, registrations=request.registrations, initial=answers)
    if name == "purpose":
        return PurposeForm(data, initial={"purpose": Purpose.TREATMENT.value, **answers})
    until = timezone.localdate() + timedelta(days=conf().share_days_default)
    return UntilForm(data, initial={"until": until.isoformat(), **answers})


def _doctors(search: str, chosen: str, *, others: int = 20) -> list[Membership]:
    """Public doctor entries that fit the search, and always the one that was chosen."""
    found = (
        people.practitioner_search(search)
        if search
        else list(people.practitioners_public().order_by("user__name")[:others])
    )
    try:
        chosen_id = uuid.UUID(chosen)
    except ValueError:
        return found
    if all(member.pk != chosen_id for member in found):
        found += people.practitioners_public().filter(pk=chosen_id)
    return found if others else [member for member in found if member.pk == chosen_id]


def _next_url(name: str, answers: dict) -> str:
    """The next open question, or the check page once all are answered."""
    if all(key in answers for key in ("who", "what", "purpose", "until")):
        return reverse("patient:share-check")
    return reverse("patient:share-step", args=[STEPS[min(STEPS.index(name) + 1, len(STEPS) - 1)]])


def _choice(request: HttpRequest) -> dict[str, Any] | None:
    """The answers as rows, or None when one is missing or no longer valid."""
    answers = request.session.get(SESSION_KEY) or {}
    patient = next((p for p in request.registrations if str(p.pk) == answers.get("registration")), None)
    grantee = next(iter(_doctors("", answers.get("who", ""), others=0)), None)
    if patient is None or grantee is None or not {"what", "purpose", "until"} <= set(answers):
        return None
    scope_type, _sep, scope_value = answers["what"].partition(":")
    day = datetime.fromisoformat(answers["until"]).date()
    end_of_day = timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))
    return {
        "patient": patient,
        "grantee": grantee,
        "scope_type": scope_type,
        "scope_value": scope_value,
        "purpose": answers["purpose"],
        "expires_at": end_of_day,
        "day": day,
    }


def _check_page(request: HttpRequest, choice: dict[str, Any], form: forms.Form, status: int = 200) -> HttpResponse:
    grantee = choice["grantee"]
    preview = selectors.grant_preview(
        patient=choice["patient"],
        grantee=grantee,
        scope_type=choice["scope_type"],
        scope_value=choice["scope_value"],
        purpose=choice["purpose"],
    )
    days = (choice["day"] - timezone.localdate()).days + 1
    answers = [
        {"label": _("Who"), "value": f"{grantee.user.name}, {grantee.hospital.name}", "step": "who"},
        {
            "label": _("What"),
            "value": what_words(choice["scope_type"], choice["scope_value"], choice["patient"].hospital.name),
            "step": "what",
        },
        {"label": _("They may"), "value": _("Read and download, not change"), "step": ""},
        {"label": _("Purpose"), "value": dict(PURPOSES)[choice["purpose"]], "step": "purpose"},
        {
            "label": _("Until"),
            "value": ngettext(
                "%(day)s (%(n)d day), then it ends by itself", "%(day)s (%(n)d days), then it ends by itself", days
            )
            % {"day": date_format(choice["day"], "j F Y"), "n": days},
            "step": "until",
        },
    ]
    return render(
        request,
        "patient/share_check.html",
        {
            "answers": answers,
            "preview": _preview_words(preview, grantee),
            "form": form,
            "nav_current": "patient:sharing",
        },
        status=status,
    )


def _preview_words(preview: Any, grantee: Membership) -> dict[str, list[str]]:
    name, gains = grantee.user.name, preview.gained
    first = (
        ngettext(
            "%(who)s can read %(n)d record that they cannot read now.",
            "%(who)s can read %(n)d records that they cannot read now.",
            gains,
        )
        if gains
        else _("%(who)s gains nothing today. Records of this kind that are added later will be open to them.")
    ) % {"who": name, "n": gains}
    return {
        "gains": [first],
        "unchanged": [
            _("Nobody else at %(hospital)s gains anything.") % {"hospital": grantee.hospital.name},
            _("Everything you did not choose stays closed."),
        ],
    }
