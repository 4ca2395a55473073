"""Verbs that give back tickets or money of a booking."""

from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Sum

from accounts.models import User
from backoffice.verbs.of_booking import OfBooking, many, told, way_back
from backoffice.verbs.verb import Plan, VerbForm, WithReason
from bookings import refunding
from bookings.cancelling import cancel_for_customer, sums_that_come_back
from bookings.errors import NoCashDue, RefundTooLarge
from bookings.gateways import named
from bookings.models import Booking
from ticketbook.amounts import decimals
from ticketbook.postgres import clock
from ticketbook.templatetags.money import money
from tickets.fulfilment import tickets_of
from tickets.models import Ticket


class Cancel(OfBooking):
    name = "cancel"
    button = "Cancel and refund"
    cannot_be_undone = True
    in_bulk = True

    def plan(self, row: Booking) -> Plan:
        kept, back = row.kept_quantity, max(sums_that_come_back(row), default=Decimal(0))
        goes = f"{many(kept)} {'goes' if kept == 1 else 'go'} back on sale"
        comes = f"{money(back)} is {way_back(row)}" if back else "no money goes back"
        sentences = [f"{goes}, and {comes}.", told(row), "This cannot be undone."]
        return Plan(sentences, tickets=kept, money=back, seen=row.as_seen)

    def do(self, row: Booking, *, by: User, **typed: Any) -> str:
        return self._do(row, by=by, **typed)

    def do_among_many(self, row: Booking, *, by: User, **typed: Any) -> str:
        return self._do(row, by=by, send_now=False, **typed)

    def _do(self, row: Booking, *, by: User, reason: str, **how: Any) -> str:
        made = cancel_for_customer(
            row, row.kept_quantity, refund=None, by=by, note=reason, now=clock.ask(), **how
        )
        back = made.refund.outcome if made.refund else "No money goes back."
        return f"The booking is cancelled, and {many(made.tickets)} went back on sale. {back}"


PRICE, SUM, NOTHING = "price", "sum", "nothing"


def amount_field(**options: Any) -> forms.DecimalField:
    smallest = Decimal(1).scaleb(-decimals())
    return forms.DecimalField(
        max_digits=10, decimal_places=decimals(), min_value=smallest, **options
    )


class ReturnForm(WithReason):
    numbers = forms.TypedMultipleChoiceField(
        label="Tickets", coerce=int, widget=forms.CheckboxSelectMultiple
    )
    refund = forms.ChoiceField(
        label="Money",
        choices=[
            (PRICE, "Their price, as in the sentence above"),
            (SUM, "This sum:"),
            (NOTHING, "No money"),
        ],
        initial=PRICE,
        widget=forms.RadioSelect,
    )
    field_order = ["numbers", "refund", "amount", "reason"]

    def __init__(self, *args: Any, row: Booking, **kwargs: Any) -> None:
        super().__init__(*args, row=row, **kwargs)
        by_number = {ticket.number: ticket for ticket in tickets_of(row)}
        numbers: Any = self.fields["numbers"]
        numbers.choices = [
            (number, _ticket_in_words(number, by_number.get(number))) for number in row.kept_numbers
        ]
        self.fields["amount"] = amount_field(label="Sum", required=False)
        self.order_fields(self.field_order)

    def clean(self) -> None:
        amount, refund = self.cleaned_data.get("amount"), self.cleaned_data.get("refund")
        if refund == SUM and amount is None and "amount" not in self.errors:
            self.add_error("amount", "Type the sum, or choose another kind of refund.")
        if refund in {PRICE, NOTHING} and amount is not None:
            self.add_error("amount", "Choose “This sum”, or leave this empty.")


def _ticket_in_words(number: int, ticket: Ticket | None) -> str:
    if ticket is None:
        return f"Ticket {number}"
    return " ".join(filter(None, [f"Ticket {number}, {ticket.code}", ticket.holder_name]))


class ReturnTickets(OfBooking):
    name = "return-tickets"
    button = "Return some tickets"
    form_class = ReturnForm
    cannot_be_undone = True

    def plan(self, row: Booking) -> Plan:
        sums = sums_that_come_back(row)
        each = ", ".join(f"{many(n)}: {money(sum_)}" for n, sum_ in enumerate(sums, start=1))
        return Plan(
            [
                f"The tickets that you choose go back on sale. What is refunded for them is {way_back(row)}.",
                f"Their price is, for {each}." if any(sums) else "Nothing is left to refund.",
                f"{told(row)} A booking whose last ticket goes back is cancelled.",
            ],
            seen=row.as_seen,
        )

    def do(self, row: Booking, *, by: User, **typed: Any) -> str:
        numbers, refund = typed["numbers"], {SUM: typed["amount"], NOTHING: Decimal(0)}
        try:
            made = cancel_for_customer(
                row,
                len(numbers),
                numbers=numbers,
                refund=refund.get(typed["refund"]),
                seen=typed["seen"],
                by=by,
                note=typed["reason"],
                now=clock.ask(),
            )
        except RefundTooLarge as refusal:
            raise _with_most(refusal) from None
        back = made.refund.outcome if made.refund else "No money goes back."
        return f"{many(made.tickets)} went back on sale, and the booking keeps {row.kept_quantity}. {back}"


def _with_most(refusal: RefundTooLarge) -> RefundTooLarge:
    most = money(Decimal(str(refusal.facts["refundable"])))
    refusal.args = (f"{refusal} At most {most} is left of the price.",)
    return refusal


class RefundForm(WithReason):
    field_order = ["amount", "reason"]

    def __init__(self, *args: Any, row: Booking, **kwargs: Any) -> None:
        super().__init__(*args, row=row, **kwargs)
        self.fields["amount"] = amount_field(help_text=f"At most {money(row.refundable)}.")
        self.order_fields(self.field_order)


class GiveMoneyBack(OfBooking):
    name = "refund"
    button = "Give money back"
    form_class = RefundForm
    cannot_be_undone = True

    def why_not(self, row: Booking) -> str:
        if row.payment_status != Booking.PaymentStatus.SUCCESS or not row.refundable:
            return "Nothing of this booking can be refunded: it was not paid, or all of it was given back."
        return ""

    def plan(self, row: Booking) -> Plan:
        keeps = f"The customer keeps {many(row.kept_quantity)}." if row.kept_quantity else ""
        return Plan(
            [
                f"{money(row.total_price)} was paid, and {money(row.refunded_total)} of it was given back. "
                f"What you type is {way_back(row)}.",
                f"{keeps} {told(row)}".strip(),
            ],
            seen=row.as_seen,
        )

    def do(self, row: Booking, *, by: User, **typed: Any) -> str:
        try:
            refund = refunding.give_money_back(
                row,
                typed["amount"],
                seen=typed["seen"],
                by=by,
                note=typed["reason"],
                now=clock.ask(),
            )
        except RefundTooLarge as refusal:
            raise _with_most(refusal) from None
        return refund.outcome


class HandOverCash(OfBooking):
    name = "hand-over-cash"
    button = "Cash was handed over"
    form_class = VerbForm
    cannot_be_undone = True
    in_bulk = True

    def why_not(self, row: Booking) -> str:
        return "" if self._due(row) else str(NoCashDue())

    def _due(self, row: Booking) -> Decimal:
        if row.gateway != named.CASH:
            return Decimal(0)
        due = row.refunds.to_hand_over().aggregate(sum=Sum("amount", default=Decimal(0)))
        amount: Decimal = due["sum"]
        return amount

    def plan(self, row: Booking) -> Plan:
        due = self._due(row)
        says = f"Give {money(due)} to {row.user} in cash first. Then press the button."
        then = (
            "The history keeps who handed it over and when, and the figures count it as of today."
        )
        return Plan([says, then], money=due, seen=row.as_seen)

    def do(self, row: Booking, *, by: User, **typed: Any) -> str:
        amount = refunding.hand_over_cash(row, seen=typed["seen"], by=by, now=clock.ask())
        return f"{money(amount)} was handed over in cash."
