"""To close an account for good. Bookings and money stay for the books; name and address are replaced.

The address can sign up again. Mails that wait for it are still sent, because what they tell has happened.
After that `forget_addresses` replaces it in the rows of mails, too.
"""

from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import make_password
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils.crypto import salted_hmac
from knox.models import AuthToken

from accounts.models import AddressChange, Session, User
from accounts.new_password import PasswordChangedMeanwhile, locked
from accounts.own_data import parts
from mail.models import Mail
from mail.outbox import post
from ticketbook.errors import Refusal

CLOSED = "account_closed"  # a kind of mail
NOBODY = "Closed account"


class StaffAccount(Refusal):
    """This account may use the back office. Ask a colleague to take that away first."""


class Unfinished(Refusal):
    """Something is still under way."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.args = (why,)


class NotAgreed(Refusal):
    """Please read what happens to your tickets, and agree to it."""


def warnings(user: User) -> list[str]:
    """What the person has to agree to."""
    return [warning for part in parts if (warning := part.warning(user))]


def agreement(user: User) -> str:
    """What a page sends back of somebody who has agreed to just these warnings; empty if there is none."""
    found = warnings(user)
    return salted_hmac("accounts.closing", "\n".join(found)).hexdigest()[:16] if found else ""


def why_not(user: User) -> Refusal | None:
    """Why the account cannot be closed now; None if it can be."""
    if user.is_staff or user.is_superuser:
        return StaffAccount()
    sentences = [why for part in parts if (why := part.unfinished(user))]
    return Unfinished(" ".join(sentences)) if sentences else None


def close(user: User, *, agreed: str) -> None:
    """Close an account whose password was checked. `agreed` comes from a page that showed the warnings.

    Raises StaffAccount, Unfinished, NotAgreed and PasswordChangedMeanwhile.
    """
    with transaction.atomic():
        # A booking that a request is making at this very moment is not seen. It is made, and nobody is told.
        # To wait for such bookings, each of them would have to lock its user first.
        now = locked(user.pk)
        if now is None or now.password != user.password:
            raise PasswordChangedMeanwhile
        if refusal := why_not(now):
            raise refusal
        if agreed != agreement(now):
            raise NotAgreed
        post(kind=CLOSED, about=now.pk, to=now.email)
        for part in parts:
            part.forget(now)
        for model in (Session, AuthToken, AddressChange):
            model.objects.filter(user=now).delete()
        _replace(now)


def _replace(user: User) -> None:
    user.email, user.name = _no_address(user.pk), NOBODY
    user.password, user.is_active, user.last_login = make_password(None), False, None
    user.save(update_fields=["email", "name", "password", "is_active", "last_login"])
    history = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(User), object_id=str(user.pk)
    )
    history.update(object_repr=str(user))


def _no_address(pk: UUID) -> str:
    # No mail ever goes to an address in .invalid (RFC 2606; mail/composing.py).
    return f"{pk}@closed.invalid"


def forget_addresses() -> None:
    """Replace the addresses of closed accounts in mails, once none of theirs waits any more."""
    done = Mail.objects.exclude(status=Mail.Status.WAITING)
    for last in done.filter(kind=CLOSED).exclude(address__endswith=".invalid"):
        # Later mails belong to somebody who has signed up with the address again.
        theirs = Mail.objects.filter(address=last.address, pk__lte=last.pk)
        if theirs.waiting().exists():
            continue
        # What a mail server said may name the address.
        theirs.failed().update(last_error="The account was closed.")
        theirs.update(address=_no_address(last.about))
