"""The verbs of a tier's stock."""

from typing import Any, ClassVar

from django import forms

from accounts.models import User
from backoffice.verbs.verb import Plan, Verb, WithReason
from concerts.models import TicketTier
from concerts.stock import add_tickets, keep_more_back
from ticketbook.postgres import clock

LARGEST = 1_000_000


class AddTicketsForm(WithReason):
    tickets = forms.IntegerField(
        min_value=-LARGEST,
        max_value=LARGEST,
        help_text="How many more the tier has. A negative number removes tickets that are free.",
    )
    field_order = ["tickets", "reason"]

    def clean_tickets(self) -> int:
        tickets: int = self.cleaned_data["tickets"]
        if not tickets:
            raise forms.ValidationError(
                "Type how many tickets are added or removed; 0 changes nothing."
            )
        return tickets


class HowManyForm(WithReason):
    tickets = forms.IntegerField(min_value=1, max_value=LARGEST)
    field_order = ["tickets", "reason"]


class OfStock(Verb[TicketTier]):
    model = TicketTier
    permission = "concerts.change_tickettier"
    what_happens: ClassVar[str]

    def plan(self, row: TicketTier) -> Plan:
        return Plan(
            [
                f"The tier has {row.total_quantity:,} tickets: {row.available_quantity:,} are free, "
                f"{row.kept_back:,} are kept back, and {row.taken_quantity:,} are sold or held.",
                self.what_happens,
            ]
        )


class AddTickets(OfStock):
    name = "add-tickets"
    button = "Add or remove tickets"
    form_class = AddTicketsForm
    what_happens = "What is added is on sale at once, and only free tickets can be removed."

    def do(self, row: TicketTier, *, by: User, **typed: Any) -> str:
        changed = add_tickets(tier_id=row.pk, by=by, now=clock.ask(), **typed)
        return f"The tier had {changed.old:,} tickets, and has {changed.tier.total_quantity:,} now."


class KeepBack(OfStock):
    name = "keep-back"
    button = "Keep tickets back"
    form_class = HowManyForm
    what_happens = (
        "That many more of the free tickets are kept back. Staff can still give these away."
    )

    def why_not(self, row: TicketTier) -> str:
        return "" if row.available_quantity else "No ticket of this tier is free at the moment."

    def do(self, row: TicketTier, *, by: User, **typed: Any) -> str:
        return _moved(row, typed.pop("tickets"), by=by, **typed)


class GiveFree(OfStock):
    name = "give-free"
    button = "Put kept-back tickets on sale"
    form_class = HowManyForm
    what_happens = "That many of the tickets that are kept back can be bought at once."

    def why_not(self, row: TicketTier) -> str:
        return "" if row.kept_back else "No ticket of this tier is kept back."

    def do(self, row: TicketTier, *, by: User, **typed: Any) -> str:
        return _moved(row, -typed.pop("tickets"), by=by, **typed)


def _moved(row: TicketTier, tickets: int, *, by: User, reason: str) -> str:
    changed = keep_more_back(tier_id=row.pk, tickets=tickets, by=by, reason=reason, now=clock.ask())
    tier = changed.tier
    return (
        f"{changed.old:,} tickets were kept back, and {tier.kept_back:,} are now. "
        f"{tier.available_quantity:,} are free."
    )
