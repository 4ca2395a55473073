from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.email_field import EmailAddressFormField
from accounts.models import User
from ticketbook.error_handlers import answer_429
from ticketbook.errors import Throttled
from ticketbook.plain_text import plain_text


class SaysWhenToTryAgain(AuthenticationForm):
    """A log-in form that keeps what was typed when there were too many attempts."""

    def clean(self) -> dict[str, Any]:
        try:
            return super().clean()
        except Throttled as throttled:
            if self.request is not None:
                answer_429(self.request, throttled)
            raise ValidationError(str(throttled), code=throttled.code) from throttled


class StaffLogInForm(SaysWhenToTryAgain, AdminAuthenticationForm):
    pass


class LogInForm(SaysWhenToTryAgain):
    error_messages = {
        "invalid_login": "The e-mail address or the password is not right.",
        "inactive": "This account has been closed.",
    }

    username = EmailAddressFormField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "dir": "auto"}),
    )


class SignUpForm(forms.Form):
    name = forms.CharField(
        label="Your name",
        max_length=150,
        validators=[plain_text],
        widget=forms.TextInput(attrs={"autocomplete": "name", "dir": "auto"}),
    )
    email = EmailAddressFormField(
        label="E-mail address",
        max_length=254,
        validators=[plain_text],
        widget=forms.EmailInput(attrs={"autocomplete": "username", "dir": "auto"}),
    )
    password = forms.CharField(
        label="Password",
        max_length=128,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 8 characters. Not your name or e-mail address, not one that many people use, "
        "and not only digits or spaces.",
    )

    def clean(self) -> None:
        password, *person = (self.cleaned_data.get(f, "") for f in ("password", "name", "email"))
        if not password:
            return
        try:
            validate_password(password, User(name=person[0], email=person[1]))
        except ValidationError as exc:
            self.add_error("password", exc)
