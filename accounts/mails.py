"""What people are told by mail about their accounts. The words are made when a mail is sent.

| kind | event | about |
|---|---|---|
| `password_reset` | somebody has forgotten a password | nothing: the address says whose |
| `password_changed` | there is a new password | the user |
| `address_confirm` | somebody wants to have this address for their account | the AddressChange |
| `address_changed` | an account has another address now; goes to the old one | the user |
| `account_closed` | an account was closed; goes to the address that it had | the user |
"""

from typing import Any

from django.conf import settings
from django.urls import reverse

from accounts import closing, new_address, new_password
from accounts.models import AddressChange, User
from mail import kinds
from mail.kinds import Letter
from mail.models import Mail


def register_kinds() -> None:
    kinds.register(new_password.RESET, _password_reset)
    kinds.register(new_password.CHANGED, _password_changed)
    kinds.register(new_address.CONFIRM, _address_confirm)
    kinds.register(new_address.CHANGED, _address_changed)
    kinds.register(closing.CLOSED, _account_closed)


def _letter(mail: Mail, subject: str, user: User, **context: Any) -> Letter:
    return Letter(subject, f"accounts/mail/{mail.kind}", {"name": user.name, **context})


def _link(words: str, page: str, *args: str) -> tuple[str, str]:
    return words, settings.SITE_URL + reverse(f"accounts:{page}", args=args)


def _password_reset(mail: Mail) -> Letter | None:
    user = User.objects.accounts().filter(email=mail.address).first()
    if user is None or not new_password.may_reset(user):
        return None
    link = _link("Set a new password", "reset", *new_password.link_parts(user))
    return _letter(mail, "A new password for TicketBook", user, link=link)


def _password_changed(mail: Mail) -> Letter | None:
    user = User.objects.filter(pk=mail.about).first()
    if user is None:
        return None
    link = _link("Set another password", "forgot")
    return _letter(mail, "Your password was changed", user, link=link)


def _address_confirm(mail: Mail) -> Letter | None:
    change = AddressChange.objects.select_related("user").filter(pk=mail.about).first()
    if change is None or change.email != mail.address:
        return None
    link = _link("Confirm this address", "confirm_address", new_address.link_part(change))
    return _letter(mail, "Confirm your e-mail address", change.user, link=link)


def _address_changed(mail: Mail) -> Letter | None:
    user = User.objects.filter(pk=mail.about).first()
    if user is None:
        return None
    return _letter(mail, "Your account has another e-mail address", user)


def _account_closed(mail: Mail) -> Letter:
    return Letter("Your account is closed", f"accounts/mail/{mail.kind}", {})
