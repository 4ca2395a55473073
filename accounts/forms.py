from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.email_field import EmailAddressFormField
from accounts.models import User
from accounts.own_password import check_own_password
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


def name_field() -> forms.CharField:
    return forms.CharField(
        label="Your name",
        max_length=150,
        validators=[plain_text],
        widget=forms.TextInput(attrs={"autocomplete": "name", "dir": "auto"}),
    )


def address_field(label: str, autocomplete: str) -> EmailAddressFormField:
    return EmailAddressFormField(
        label=label,
        max_length=254,
        validators=[plain_text],
        widget=forms.EmailInput(
            attrs={"autocomplete": autocomplete, "inputmode": "email", "dir": "auto"}
        ),
    )


def new_password_field(label: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=128,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 8 characters. Not your name or e-mail address, not one that many people use, "
        "and not only digits or spaces.",
    )


def valid_password(password: str, user: User) -> str:
    validate_password(password, user)
    return password


class SignUpForm(forms.Form):
    name = name_field()
    email = address_field("E-mail address", "username")
    password = new_password_field("Password")

    def clean(self) -> None:
        password, *person = (self.cleaned_data.get(f, "") for f in ("password", "name", "email"))
        if not password:
            return
        try:
            validate_password(password, User(name=person[0], email=person[1]))
        except ValidationError as exc:
            self.add_error("password", exc)


class KeepForm(forms.Form):
    """To sign up with an address that a mailed link has shown to be one's own."""

    name = name_field()
    password = new_password_field("Password")

    def __init__(self, email: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.email = email

    def clean_password(self) -> str:
        person = User(name=self.cleaned_data.get("name", ""), email=self.email)
        return valid_password(self.cleaned_data["password"], person)


class ForgottenForm(forms.Form):
    email = address_field("E-mail address", "username")


class ResetForm(forms.Form):
    """A new password for a user who has come by a mailed link."""

    new_password = new_password_field("New password")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_new_password(self) -> str:
        return valid_password(self.cleaned_data["new_password"], self.user)


class NameForm(forms.Form):
    name = name_field()


class AsksPassword(forms.Form):
    """A form of somebody who is logged in, and shows it by their password."""

    field_order = ("address", "password")

    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.user = request, user

    def clean_password(self) -> str:
        typed: str = self.cleaned_data["password"]
        check_own_password(self.request, self.user, typed)
        return typed


class PasswordForm(AsksPassword):
    new_password = new_password_field("New password")

    def clean_new_password(self) -> str:
        return valid_password(self.cleaned_data["new_password"], self.user)


class AddressForm(AsksPassword):
    # Not autocomplete="username": a password manager would fill in the old one.
    address = address_field("New e-mail address", "email")
