"""Pages before anybody signs in: start, registration of a patient, application of an organisation."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from hospitals import services
from hospitals.access import public
from hospitals.conf import conf
from hospitals.errors import Invalid
from hospitals.selectors import hospitals_open
from hospitals.types import OrganisationKind
from records import ingest

KINDS = [(kind.value, kind.label) for kind in OrganisationKind if kind != OrganisationKind.REGULATOR]


class ApplicationForm(forms.Form):
    name = forms.CharField(label=_("Name of the organisation"), max_length=120)
    kind = forms.ChoiceField(label=_("Kind"), choices=KINDS)
    contact_name = forms.CharField(
        label=_("Your name"), max_length=120, help_text=_("You become its administrator once it is admitted.")
    )
    contact_email = forms.EmailField(label=_("Your e-mail at the organisation"))
    website = forms.URLField(label=_("Website"), required=False, assume_scheme="https")
    statement = forms.CharField(
        label=_("Why should it be admitted?"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("Who you are, and by which licence you treat patients."),
    )
    evidence = forms.FileField(
        label=_("Licence or other evidence"), required=False, help_text=_("A PDF or a picture, up to 10 MB.")
    )

    def clean_evidence(self) -> Any:
        upload = self.cleaned_data.get("evidence")
        if upload and upload.error:
            raise forms.ValidationError(upload.error.user_message)
        if upload and upload.size > conf().evidence_bytes_max:
            raise forms.ValidationError(_("The file is larger than 10 MB. Send a smaller one."))
        return upload


@require_safe
@public
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "public/home.html", {"hospitals": hospitals_open().order_by("name")[:12]})


@require_safe
@public
def register(request: HttpRequest) -> HttpResponse:
    """One account serves every hospital: sign up first, then tell a hospital's desk."""
    return HttpResponseRedirect("/accounts/hospital/") if request.user.is_authenticated else redirect("account_signup")


@require_http_methods(["GET", "HEAD", "POST"])
@public
def apply(request: HttpRequest) -> HttpResponse:
    form = ApplicationForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        values = dict(form.cleaned_data)
        if upload := values.pop("evidence"):
            values |= {"evidence_name": upload.name, "evidence": ingest.upload_bytes(upload)}
        try:
            services.organisation_apply(**values)
            return redirect("public:apply-thanks")
        except Invalid as error:
            for field, message in error.fields.items():
                form.add_error(field, message)
    return render(request, "public/apply.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
@public
def apply_thanks(request: HttpRequest) -> HttpResponse:
    return render(request, "public/apply_thanks.html")
