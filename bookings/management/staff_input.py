"""What staff type as arguments of a command, checked; each error is one sentence."""

import re
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import CommandError
from django.db import OperationalError
from django.db.models import Model, QuerySet

from accounts.models import User
from bookings.models import Booking, Refund
from bookings.numbers import read_number
from concerts.models import Concert, TicketTier
from ticketbook.amounts import decimals
from ticketbook.errors import Busy
from ticketbook.postgres.failures import is_broken, is_busy, is_lock_timeout

Row = TypeVar("Row", bound=Model)

LOST = (
    "The database was lost meanwhile, and what you asked for may have been done. Look at it in the back "
    "office before you try again."
)
LARGEST = 2**31 - 1  # that the column of a tier's counter takes


def add_by_and_reason(parser: ArgumentParser) -> None:
    parser.add_argument("--by", required=True, help="e-mail address of a member of staff")
    parser.add_argument("--reason", required=True, help="for those who read the history")


def staff(email: str) -> User:
    user = active_user("--by", email)
    if not user.is_staff:
        raise CommandError(f"--by: {email} is not a member of staff.")
    return user


def active_user(option: str, email: str) -> User:
    accounts = User.objects.accounts().filter(is_active=True)
    user = accounts.filter(email=email).first() if _is_text(email) else None
    if user is None:
        raise CommandError(f"{option}: nobody has the e-mail address {email}.")
    return user


def given(reason: str) -> str:
    if not reason.strip():
        raise CommandError("--reason is empty: say why.")
    if not _is_text(reason):
        raise CommandError("--reason is not text in UTF-8.")
    return reason.strip()


def _is_text(argument: str) -> bool:
    # Python keeps bytes of the command line that are no text, and the database does not take them.
    return "\0" not in argument and not re.search("[\ud800-\udfff]", argument)


def whole(name: str, text: str, least: int = 0, most: int = LARGEST) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise CommandError(f"{name} must be a whole number from {least} to {most:,}, not “{text}”.")
    return int(text)


def amount(name: str, text: str) -> Decimal:
    pattern, example = (
        (r"[0-9]{1,8}(\.[0-9]{1,2})?", "12.50") if decimals() else ("[0-9]{1,8}", "1250")
    )
    if not re.fullmatch(pattern, text) or not Decimal(text):
        raise CommandError(
            f"{name} must be an amount of money above 0, like {example}, not “{text}”."
        )
    return Decimal(text)


def key(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(f"{name} must be a UUID, not “{text}”.") from None


def concert(text: str) -> Concert:
    return _found("concert", text, Concert.objects.all())


def tier(text: str) -> TicketTier:
    return _found("tier", text, TicketTier.objects.all())


def booking(text: str) -> Booking:
    """By its id, or by the number that its customer reads out."""
    bookings = Booking.objects.with_details()
    if number := read_number(text):
        found = list(bookings.numbered(number)[:2])
        if len(found) > 1:
            raise CommandError(f"There are several bookings {number}. Name one by its id.")
        text = str(found[0].pk) if found else text
    return _found("booking", text, bookings)


def refund(text: str) -> Refund:
    return _found("refund", text, Refund.objects.select_related("booking"))


def _found(what: str, text: str, rows: QuerySet[Row]) -> Row:
    try:
        return rows.get(pk=UUID(text))
    except (ValueError, ObjectDoesNotExist):
        raise CommandError(f"There is no {what} {text}.") from None


@contextmanager
def if_busy(says: str) -> Iterator[None]:
    """Explain a tier or booking whose lock cannot be had."""
    try:
        yield
    except (OperationalError, Busy) as exc:
        if isinstance(exc, OperationalError) and (is_broken(exc) or not is_busy(exc)):
            raise
        if isinstance(exc, OperationalError) and not is_lock_timeout(exc):
            raise CommandError(LOST) from None
        raise CommandError(says) from None
