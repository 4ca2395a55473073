"""The verbs of a tier's stock."""

from typing import Any

from django import forms

from accounts.models import User
from backoffice.verbs.verb import Plan, Verb, WithReason
from concerts.models import TicketTier
from concerts.stock import add_tickets
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


class AddTickets(Verb[TicketTier]):
    name = "add-tickets"
    button = "Add or remove tickets"
    model = TicketTier
    permission = "concerts.change_tickettier"
    form_class = AddTicketsForm

    def plan(self, row: TicketTier) -> Plan:
        return Plan(
            [
                f"The tier has {row.total_quantity:,} tickets: {row.available_quantity:,} are free, "
                f"{row.kept_back:,} are kept back, and {row.taken_quantity:,} are sold or held.",
                "What is added is on sale at once, and only free tickets can be removed.",
            ]
        )

    def do(self, row: TicketTier, *, by: User, **typed: Any) -> str:
        changed = add_tickets(tier_id=row.pk, by=by, now=clock.ask(), **typed)
        return f"The tier had {changed.old:,} tickets, and has {changed.tier.total_quantity:,} now."
