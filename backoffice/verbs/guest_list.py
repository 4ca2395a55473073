"""A guest list: a booking for each line. The page says first what will come of it, then what has come of it.

Each line has a key of its own, made of the form's key, the address and the name. So a list that is sent
twice, or again after a process has died at it, books each line once, also if other lines were corrected.
"""

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar
from uuid import UUID, uuid5

from django import forms
from django.db import OperationalError
from django.utils.safestring import SafeString

from accounts.forms import address_field, name_field
from accounts.models import User
from backoffice.verbs.desk_sales import (
    DECISIONS,
    WAIVERS,
    DeskForm,
    NotBooked,
    NotKnownYet,
    OfDesk,
    QuantityField,
    book,
    decision_of,
    said_of,
)
from backoffice.verbs.sentences import sentence_of
from backoffice.verbs.verb import Plan, Shown, VerbForm
from bookings import desk
from bookings.desk import Order
from bookings.wishes import Held, HoldResult
from concerts.models import TicketTier
from ticketbook.postgres import clock

MOST = 100  # lines
IN_BRACKETS = re.compile(r"(?P<name>.*?)\s*<(?P<email>[^<>]*)>[\s,;]*(?P<quantity>.*)")


@dataclass
class Line:
    """A line of a guest list, and what comes of it."""

    text: str
    name: str = ""
    email: str = ""
    quantity: int = 0
    said: SafeString | str = ""
    is_good: bool = True
    is_new: bool = field(default=True)  # it is not booked yet

    def says(self, said: SafeString | str, *, is_good: bool, is_new: bool = True) -> None:
        self.said, self.is_good, self.is_new = said, is_good, is_new

    def key(self, form: UUID) -> UUID:
        return uuid5(form, f"{self.email}\n{' '.join(self.name.lower().split())}")


class LineForm(forms.Form):
    name = name_field()
    email = address_field("E-mail address", "off")
    quantity = QuantityField(label="Tickets")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = "Name"


def read(text: str) -> Line:
    """A line as `name <address> quantity`, or as CSV: name, address, quantity. Without a number it is 1."""
    found = IN_BRACKETS.fullmatch(text)
    parts = list(found.groups()) if found else _columns(text)
    name, email, quantity, *more = [
        part.strip() for part in [*parts, "", "", ""][: max(len(parts), 3)]
    ]
    form = LineForm({"name": name, "email": email, "quantity": quantity or "1"})
    if more or not email:
        said = "Write a line as: name <address> number of tickets. Or as: name, address, number."
        return Line(text, said=said, is_good=False)
    if form.is_valid():
        return Line(text, **form.cleaned_data)
    wrong = [
        f"{form[name].label}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()
    ]
    return Line(text, said=" ".join(wrong), is_good=False)


def _columns(text: str) -> list[str]:
    separator = next((each for each in "\t;," if each in text), ",")
    return next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])


class GuestListForm(DeskForm):
    guests = forms.CharField(
        max_length=50_000,
        widget=forms.Textarea({"rows": 10, "spellcheck": "false"}),
        help_text=f"One line for each, up to {MOST}: Gwen Lee <gwen@example.com> 2. Or as a table: "
        "Gwen Lee, gwen@example.com, 2.",
    )
    field_order = ["guests", *DECISIONS]

    def clean_guests(self) -> list[Line]:
        texts = [text.strip() for text in self.cleaned_data["guests"].splitlines()]
        lines = [read(text) for text in texts if text]
        if len(lines) > MOST:
            raise forms.ValidationError(
                f"These are {len(lines)} lines. Book at most {MOST} at a time."
            )
        seen: dict[UUID, int] = {}
        for number, line in enumerate(lines, 1):
            key = line.key(UUID(int=0))
            if line.is_good and seen.setdefault(key, number) != number:
                said = f"Line {seen[key]} has the same name and address. Make one line of them."
                line.says(said, is_good=False)
        return lines


class GuestList(OfDesk):
    name = "guest-list"
    button = "Book a guest list"
    form_class: ClassVar[type[VerbForm]] = GuestListForm
    template = "backoffice/guest_list.html"

    def plan(self, row: TicketTier) -> Plan:
        first_look = (
            "First you see what will come of each line. Nothing is booked until you say so."
        )
        return Plan([*super().plan(row).sentences, first_look])

    def show(
        self, row: TicketTier, pressed: Collection[str], *, by: User, **typed: Any
    ) -> Shown | None:
        go = _button_of(row, typed)
        if go in pressed:
            return None
        lines = typed["guests"]
        orders = _orders(row, typed, by=by)
        answers = desk.foresee([order for _, order in orders], row, now=clock.ask())
        for (line, order), answer in zip(orders, answers, strict=True):
            _foresee(line, order, answer)
        new = sum(line.quantity for line in lines if line.is_good and line.is_new)
        return Shown(facts={"lines": lines, "go": go if orders else "", "tickets": new})

    def do(self, row: TicketTier, *, by: User, **typed: Any) -> Shown:
        for line, order in _orders(row, typed, by=by):
            try:
                placed = book(order)
            except NotKnownYet as exc:
                line.says(str(exc), is_good=False)
            except NotBooked as exc:
                line.says(f"Not booked: {exc}", is_good=False)
            except OperationalError as exc:
                line.says(sentence_of(exc), is_good=False)
            else:
                line.says(said_of(placed), is_good=True, is_new=not placed.replayed)
        row.refresh_from_db()
        lines = typed["guests"]
        booked = sum(line.is_good for line in lines)
        said = f"{booked} of {len(lines)} lines {'is' if booked == 1 else 'are'} booked."
        return Shown(said, facts={"lines": lines, "is_done": True, "go": _button_of(row, typed)})


def _orders(row: TicketTier, typed: dict[str, Any], *, by: User) -> list[tuple[Line, Order]]:
    decision = decision_of(typed, by=by)
    return [
        (
            line,
            Order(
                tier_id=row.pk,
                quantity=line.quantity,
                name=line.name,
                email=line.email,
                key=line.key(typed["key"]),
                decision=decision,
            ),
        )
        for line in typed["guests"]
        if line.is_good
    ]


def _foresee(line: Line, order: Order, answer: HoldResult) -> None:
    if not isinstance(answer, Held):
        line.says(f"Not booked: {desk.why_not(answer, order, WAIVERS)}", is_good=False)
    elif answer.replayed:
        line.says("This was booked before.", is_good=True, is_new=False)
    else:
        whom = "for the account with this address" if order.account else "for a guest"
        tickets = "1 ticket" if line.quantity == 1 else f"{line.quantity} tickets"
        line.says(f"{tickets} will be booked {whom}.", is_good=True)


def _button_of(row: TicketTier, typed: dict[str, Any]) -> str:
    """The name of the button that books just what the page has shown, and nothing that was typed since."""
    lines = [line.text for line in typed["guests"]]
    decided = [typed[name] for name in DECISIONS]
    return "book-" + sha256(repr([row.pk, lines, decided]).encode()).hexdigest()[:16]
