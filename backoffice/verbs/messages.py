"""Write to all who hold tickets of a concert, or of one tier of it (tickets/messages.py)."""

import re
from collections.abc import Collection
from typing import Any, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.urls import reverse

from accounts.models import User
from backoffice.verbs.verb import Done, Plan, Shown, Verb, VerbForm
from concerts.models import Concert, TicketTier
from mail.composing import html_of, text_of
from ticketbook.plain_text import plain_lines, plain_text
from ticketbook.postgres import clock
from tickets import messages
from tickets.mails import sample
from tickets.models import HolderMessage

Row = TypeVar("Row", bound=Model)

LOOK, TEST = "look", "test"  # the names of the other two buttons
STYLE = re.compile(r'style="([^"]*)"')


def without_braces(text: str) -> None:
    """A validator. Whoever types {name} expects something else to stand there in the mail."""
    if "{" in text or "}" in text:
        raise ValidationError(
            "Leave out the braces { and }. Nothing is filled in for them: the mail greets everybody by name, "
            "and shows their booking, by itself."
        )


class MessageForm(VerbForm):
    subject = forms.CharField(
        max_length=150,
        validators=[plain_text, without_braces],
        widget=forms.TextInput(attrs={"class": "vLargeTextField"}),
    )
    text = forms.CharField(
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 12, "class": "vLargeTextField"}),
        help_text="Plain text. An empty line begins a new paragraph.",
    )

    def clean_text(self) -> str:
        text = "\n".join(str(self.cleaned_data["text"]).splitlines())
        plain_lines(text)
        without_braces(text)
        return text


class MessageHolders(Verb[Row]):
    button = "Message holders"
    permission = "tickets.add_holdermessage"
    form_class = MessageForm
    cannot_be_undone = True
    template = "backoffice/message.html"
    of: str  # what the tickets are of, in sentences

    def for_(self, row: Row) -> dict[str, Any]:
        """The concert and the tier of a message to the holders of this row."""
        raise NotImplementedError

    def draft(self, row: Row, *, by: User, subject: str = "?", text: str = "?") -> HolderMessage:
        """With the number of people; for that the words do not matter."""
        return messages.draft(**self.for_(row), subject=subject, text=text, by=by, now=clock.ask())

    def why_not(self, row: Row) -> str:
        holders = HolderMessage(**self.for_(row), made_at=clock.now()).holders()
        return "" if holders.exists() else f"Nobody holds tickets of this {self.of} at the moment."

    def plan(self, row: Row) -> Plan:
        holders = HolderMessage(**self.for_(row), made_at=clock.ask()).holders()
        number = messages.people_of(holders)
        people = "1 person" if number == 1 else f"{number:,} people"
        return Plan(
            [
                f"It reaches {people}: everybody who holds tickets of this {self.of} by a confirmed booking, "
                "guests too, each of them once.",
                "Customers who book later do not get it, nor do those who give all tickets back before the "
                "mail leaves.",
                "The mail greets everybody by name, and shows their booking and its link. It says that it is "
                "not advertising, so write only what holders have to know.",
            ]
        )

    def show(self, row: Row, pressed: Collection[str], *, by: User, **typed: Any) -> Shown | None:
        if not {LOOK, TEST} & set(pressed):
            return None
        message, said = self.draft(row, by=by, **typed), ""
        letter, people = sample(message), message.people
        if TEST in pressed:
            messages.send_test(message)
            said = f"A test is on its way to {by.email}. Nobody else gets it."
        html = html_of(letter, {})
        facts = {"letter": letter, "html": html, "text": text_of(letter), "people": people}
        return Shown(said, facts, styles=STYLE.findall(html))

    def do(self, row: Row, *, by: User, **typed: Any) -> Done:
        message = self.draft(row, by=by, **typed)
        messages.send(message)
        people = "1 person" if message.people == 1 else f"{message.people:,} people"
        page = reverse("admin:tickets_holdermessage_change", args=[message.pk])
        return Done(f"The message goes to {people}. This page says how far it is.", page)


class MessageToConcert(MessageHolders[Concert]):
    name = "message"
    model = Concert
    of = "concert"

    def for_(self, row: Concert) -> dict[str, Any]:
        return {"concert": row, "tier": None}


class MessageToTier(MessageHolders[TicketTier]):
    name = "message"
    model = TicketTier
    of = "tier"

    def for_(self, row: TicketTier) -> dict[str, Any]:
        return {"concert": row.concert, "tier": row}
