"""Forms of the staff pages. Rules of more than one field, and all others that matter, are in the services."""

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from hospitals.types import Role, Sex
from portal import look
from records.models import Category, Chains

DATE = {"type": "date"}
STAFF_ROLES = (Role.DOCTOR, Role.NURSE, Role.CLERK, Role.PRIVACY, Role.ADMIN)
CATEGORY_CHOICES = [(value, look.CATEGORIES[value][1]) for value in Category.values]
TOKEN_DAYS = [("7", _("One week")), ("30", _("30 days")), ("90", _("90 days")), ("365", _("One year"))]


def clean_past(value, words):
    if value and value > timezone.localdate():
        raise forms.ValidationError(words)
    return value


class PatientForm(forms.Form):
    given_name = forms.CharField(label=_("Given names"), max_length=80)
    family_name = forms.CharField(label=_("Family name"), max_length=80)
    birth_date = forms.DateField(label=_("Birth date"), widget=forms.DateInput(attrs=DATE, format="%Y-%m-%d"))
    sex = forms.ChoiceField(label=_("Sex"), choices=Sex.choices, initial=Sex.UNKNOWN)
    mrn = forms.CharField(
        label=_("Patient number"),
        max_length=20,
        required=False,
        help_text=_("Leave empty and the next free number is used."),
    )
    email = forms.EmailField(
        label=_("E-mail"), required=False, help_text=_("The patient gets an invitation to open an account.")
    )
    phone = forms.CharField(label=_("Phone"), max_length=30, required=False)
    is_other = forms.BooleanField(label=_("This is another person. Register them."), required=False)

    def clean_birth_date(self):
        return clean_past(self.cleaned_data["birth_date"], _("The birth date lies in the future. Check the year."))


class UploadForm(forms.Form):
    category = forms.ChoiceField(label=_("Type"), choices=[("", _("Choose a type")), *CATEGORY_CHOICES])
    care_on = forms.DateField(
        label=_("Date of care"),
        widget=forms.DateInput(attrs=DATE, format="%Y-%m-%d"),
        initial=timezone.localdate,
    )
    title = forms.CharField(
        label=_("Title the patient will read"),
        max_length=120,
        required=False,
        help_text=_("Leave empty to use each file’s name."),
    )
    chains = forms.ChoiceField(choices=[("", _("As the hospital decided")), *Chains.choices], required=False)
    part = forms.IntegerField(min_value=1, max_value=99, required=False)
    parts = forms.IntegerField(min_value=1, max_value=99, required=False)

    def clean_care_on(self):
        return clean_past(self.cleaned_data["care_on"], _("The date of care lies in the future. Check the year."))


class VersionForm(forms.Form):
    # What the author looked at: whoever saves second is told.
    base_version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
    chains = forms.ChoiceField(choices=[("", _("As the hospital decided")), *Chains.choices], required=False)


class WithdrawForm(forms.Form):
    reason = forms.ChoiceField(
        label=_("Why is it an error?"),
        widget=forms.RadioSelect,
        choices=[
            ("wrong_patient", _("It belongs to another patient")),
            ("wrong_file", _("It is the wrong file")),
            ("duplicate", _("It is here twice")),
            ("wrong_content", _("What it says is wrong")),
        ],
        help_text=_("The reason stands in the access log, which the patient reads."),
    )


class StaffForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=120)
    email = forms.EmailField(label=_("Work e-mail"))
    title = forms.CharField(
        label=_("Position"),
        max_length=80,
        required=False,
        help_text=_("For example: cardiology, ward 4 East."),
    )
    role = forms.ChoiceField(
        label=_("Role"), widget=forms.RadioSelect, choices=[(role.value, role.label) for role in STAFF_ROLES]
    )


class SettingsForm(forms.Form):
    default_chains = forms.ChoiceField(label=_("Seals usually go to"), widget=forms.RadioSelect, choices=Chains.choices)
    special_categories = forms.MultipleChoiceField(
        label=_("Special types"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=CATEGORY_CHOICES,
        help_text=_("Seals of these types go to MEDchain, which fewer parties read."),
    )


class TokenForm(forms.Form):
    name = forms.CharField(label=_("What is it for?"), max_length=80)
    scopes = forms.MultipleChoiceField(label=_("It may"), widget=forms.CheckboxSelectMultiple)
    days = forms.ChoiceField(label=_("It ends after"), choices=TOKEN_DAYS, initial="30")

    def __init__(self, *args, scopes, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["scopes"].choices = scopes


def service_errors(form, invalid):
    """The field errors of a refused service call, at their fields."""
    for name, sentence in invalid.fields.items():
        form.add_error(name if name in form.fields else None, sentence)
