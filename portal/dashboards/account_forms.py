"""Forms around sign-in. The library's own forms get our lock and our words."""

from typing import Any

from allauth.account.forms import (
    AddEmailForm,
    ChangePasswordForm,
    LoginForm,
    ReauthenticateForm,
    ResetPasswordForm,
    ResetPasswordKeyForm,
    SetPasswordForm,
    SignupForm,
)
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.base.forms import ReauthenticateForm as ReauthenticateCodeForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django import forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from hospitals.adapters import code_or_lock
from hospitals.models import Organisation
from hospitals.types import OrganisationKind, OrganisationStatus, Sex

PASSWORD_HINT = _("At least 12 characters. Four words that nobody would guess are good.")
WORDS = {
    "login": _("E-mail address"),
    "email": _("E-mail address"),
    "password": _("Password"),
    "password1": _("Password"),
    "password2": _("The new password again"),
    "oldpassword": _("Your password now"),
    "code": _("Code"),
}


class Plain:
    """The library's form in our words, without placeholders: they repeat the label and hide what was typed."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.label = WORDS.get(name, field.label)
            if name == "password1":
                field.help_text = PASSWORD_HINT


class SignInForm(Plain, LoginForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs["autocomplete"] = "username webauthn"
        self.fields["password"].help_text = ""


class RegisterForm(Plain, SignupForm):
    pass


class EmailAddForm(Plain, AddEmailForm):
    pass


class PasswordChangeForm(Plain, ChangePasswordForm):
    pass


class PasswordSetForm(Plain, SetPasswordForm):
    pass


class PasswordForgottenForm(Plain, ResetPasswordForm):
    pass


class PasswordNewForm(Plain, ResetPasswordKeyForm):
    pass


class ConfirmForm(Plain, ReauthenticateForm):
    pass


class AppForm(Plain, ActivateTOTPForm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["code"].label = _("The six digits")
        self.fields["code"].widget.attrs.update({"inputmode": "numeric", "class": "p-field p-otp"})


class SecondStepForm(AuthenticateForm):
    code = forms.CharField(
        label=_("Code"),
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "class": "p-field p-otp", "autofocus": True}
        ),
    )

    def clean_code(self) -> str:
        return code_or_lock(self.user, super().clean_code)


class ConfirmStepForm(ReauthenticateCodeForm):
    code = SecondStepForm.base_fields["code"]

    def clean_code(self) -> str:
        return code_or_lock(self.user, super().clean_code)


class PasskeyForm(AddWebAuthnForm):
    name = forms.CharField(label=_("Name"), required=False, max_length=60, help_text=_("So that you know it again."))
    passwordless = forms.BooleanField(
        label=_("Sign in with this passkey alone, without my password"), required=False, initial=True
    )


class ActivationForm(forms.Form):
    code = forms.CharField(
        label=_("Code from your invitation"),
        max_length=80,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "spellcheck": "false"}),
    )
    password = forms.CharField(
        label=_("Your new password"),
        strip=False,
        help_text=PASSWORD_HINT,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean_password(self) -> str:
        password = self.cleaned_data["password"]
        validate_password(password)
        return password


class ClaimForm(forms.Form):
    """What the desk compares with the identity document."""

    hospital = forms.ModelChoiceField(Organisation.objects.none(), label=_("Hospital"), empty_label=_("Choose one"))
    given_name = forms.CharField(label=_("Given name"), max_length=80, help_text=_("As in your identity document."))
    family_name = forms.CharField(label=_("Family name"), max_length=80)
    birth_date = forms.DateField(
        label=_("Date of birth"),
        widget=forms.DateInput(attrs={"type": "date", "autocomplete": "bday"}, format="%Y-%m-%d"),
    )
    sex = forms.ChoiceField(label=_("Sex"), choices=Sex.choices, initial=Sex.UNKNOWN)
    phone = forms.CharField(
        label=_("Phone"), max_length=30, required=False, widget=forms.TextInput(attrs={"type": "tel"})
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["hospital"].queryset = Organisation.objects.filter(
            kind=OrganisationKind.HOSPITAL, status=OrganisationStatus.ACTIVE
        ).order_by("name")

    def clean_birth_date(self) -> Any:
        born = self.cleaned_data["birth_date"]
        if born > timezone.localdate() or born.year < 1890:
            raise ValidationError(_("Please check the year."))
        return born


class LinkForm(forms.Form):
    birth_date = forms.DateField(
        label=_("Your date of birth"),
        widget=forms.DateInput(attrs={"type": "date", "autocomplete": "bday"}, format="%Y-%m-%d"),
    )
