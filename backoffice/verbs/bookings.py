"""The verbs of a booking, of its refunds, and of what gateways told us about it."""

from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import uuid4

from django import forms
from django.db.models import Sum
from django.utils.text import capfirst

from accounts.email_field import EmailAddressFormField
from accounts.models import User
from backoffice.verbs.verb import Plan, Verb, VerbForm, WithReason
from bookings import alerts, refunding
from bookings.asking import ask_now, may_be_asked
from bookings.cancelling import cancel_for_customer, sums_that_come_back
from bookings.errors import CustomerLimitReached, NoCashDue, RefundTooLarge
from bookings.gateways import named
from bookings.guests import name_for
from bookings.handing_over import hand_over
from bookings.models import Booking, PaymentEvent, Refund
from ticketbook.amounts import decimals
from ticketbook.plain_text import plain_text
from ticketbook.postgres import clock
from ticketbook.templatetags.money import money
from tickets.again import send_again
from tickets.fulfilment import tickets_of
from tickets.models import Ticket
from tickets.naming import name_holders

CHANGE = "bookings.change_booking"


def many(number: int) -> str:
    return "1 ticket" if number == 1 else f"{number} tickets"


def way_back(booking: Booking) -> str:
    if booking.gateway == named.CASH:
        return "handed over in cash by you"
    return f"sent back to {booking.user}, the way it was paid"


class OfBooking(Verb[Booking]):
    model = Booking
    permission = CHANGE

    def rows(self) -> Any:
        return Booking.objects.with_details()

    def why_not(self, row: Booking) -> str:
        if row.status == Booking.Status.CONFIRMED:
            return ""
        return f"Only a confirmed booking has tickets. This one is: {row.state_in_words}."


def told(booking: Booking) -> str:
    if not booking.user.gets_mail:
        return "Nobody is told by mail, because there is no address."
    return f"{booking.user.email} is told by mail."


# --- Tickets and money back ---------------------------------------------------------------------


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


# --- The payment --------------------------------------------------------------------------------


class AskGateway(OfBooking):
    name = "ask-gateway"
    button = "Ask the gateway now"
    form_class = VerbForm

    def why_not(self, row: Booking) -> str:
        return "" if may_be_asked(row) else f"Its payment is known: {row.state_in_words}."

    def plan(self, row: Booking) -> Plan:
        if row.status == Booking.Status.PENDING:
            what = (
                "If it was paid, the booking is confirmed. If it can never be paid, the tickets go back on "
                "sale. If nobody knows yet, it stays as it is."
            )
        else:
            what = "If it was paid after all, the money goes back, because the tickets are gone."
        asked = capfirst(row.paid_by)
        return Plan([f"{asked} is asked what became of {money(row.total_price)}.", what])

    def do(self, row: Booking, *, by: User, **typed: Any) -> str:
        said = ask_now(row, by=by, now=clock.ask())
        return f"{said} The booking is: {row.state_in_words}."


class SendRefundAgain(Verb[Refund]):
    name = "send-again"
    button = "Send again"
    model = Refund
    permission = "bookings.change_refund"

    def rows(self) -> Any:
        return Refund.objects.select_related("booking__user", "booking__ticket_tier__concert")

    def why_not(self, row: Refund) -> str:
        refused = row.status == Refund.Status.FAILED
        return "" if refused else f"Only a refused refund is sent again. {row.outcome}"

    def plan(self, row: Refund) -> Plan:
        return Plan(
            [
                f"The gateway refused to send {money(row.amount)} back: {row.failure}",
                "Mend the cause there first. The worker then sends the refund within a minute, once.",
            ]
        )

    def do(self, row: Refund, *, by: User, **typed: Any) -> str:
        if not refunding.send_again(row, by=by, note=typed["reason"]):
            return "Somebody has sent it again already."
        return f"{money(row.amount)} is sent again within a minute."


class DismissAlert(Verb[PaymentEvent]):
    name = "dismiss"
    button = "Dismiss the alert"
    model = PaymentEvent
    permission = "bookings.change_paymentevent"

    def why_not(self, row: PaymentEvent) -> str:
        return "" if row.alert else "This message has no alert."

    def plan(self, row: PaymentEvent) -> Plan:
        return Plan(
            [
                row.alert,
                "It changes nothing of the booking or its money. The alert leaves the first page, and the "
                "history keeps it with your reason.",
            ]
        )

    def do(self, row: PaymentEvent, *, by: User, **typed: Any) -> str:
        alerts.dismiss(row, by=by, note=typed["reason"])
        return "The alert is dismissed."


# --- The customer -------------------------------------------------------------------------------


class SendTicketsAgain(OfBooking):
    name = "send-tickets"
    button = "Send the tickets again"
    form_class = VerbForm
    in_bulk = True

    def why_not(self, row: Booking) -> str:
        if not row.user.gets_mail:
            return "There is no address to send them to. Print them, or change the address first."
        return super().why_not(row)

    def plan(self, row: Booking) -> Plan:
        says = (
            f"{row.user.email} gets one more mail with {many(row.kept_quantity)}. Their codes stay."
        )
        return Plan([says], tickets=row.kept_quantity)

    def do(self, row: Booking, *, by: User, **typed: Any) -> str:
        send_again(row, key=uuid4(), by=by)
        return f"The tickets are on their way to {row.user.email}."


class AddressForm(WithReason):
    email = EmailAddressFormField(
        label="New e-mail address", max_length=254, validators=[plain_text]
    )
    name = forms.CharField(
        label="Name",
        max_length=150,
        validators=[plain_text],
        help_text="The name of the new person.",
    )
    field_order = ["email", "name", "reason"]


class ChangeAddress(OfBooking):
    name = "change-address"
    button = "Change the address"
    form_class = AddressForm
    cannot_be_undone = True

    def initial(self, row: Booking) -> dict[str, Any]:
        return {"name": name_for(row)}

    def plan(self, row: Booking) -> Plan:
        whose = "a guest without an account" if row.user.is_guest else "in an account"
        return Plan(
            [
                f"The booking belongs to {row.user} ({whose}). It goes to the new address, which gets "
                "the tickets by mail, with other codes.",
                "The old codes and links let nobody in any more. The old address is told that the booking "
                "was handed over, and not to whom.",
                "Somebody who has an account with the new address opens the booking by the mail, and may "
                "keep it there. Money that goes back later goes the way it was paid.",
            ],
            seen=str(row.user_id),
        )

    def do(self, row: Booking, *, by: User, **typed: Any) -> str:
        try:
            booking = hand_over(
                row,
                email=typed["email"],
                name=typed["name"],
                seen=typed["seen"],
                by=by,
                note=typed["reason"],
                now=clock.ask(),
            )
        except CustomerLimitReached as refusal:
            raise _with_limit(refusal) from None
        return f"The booking belongs to {booking.user.email} now, and the old address is told."


def _with_limit(refusal: CustomerLimitReached) -> CustomerLimitReached:
    has, most = refusal.facts["alreadyBooked"], refusal.facts["maxPerCustomer"]
    refusal.args = (
        f"The new address has {has} tickets of this tier, and may have {most} at most.",
    )
    return refusal


class NamesForm(VerbForm):
    def __init__(self, *args: Any, row: Booking, **kwargs: Any) -> None:
        super().__init__(*args, row=row, **kwargs)
        for ticket in tickets_of(row):
            if ticket.is_valid:
                self.fields[f"ticket_{ticket.number}"] = forms.CharField(
                    label=f"Ticket {ticket.number}, {ticket.code}",
                    required=False,
                    max_length=150,
                    validators=[plain_text],
                    initial=ticket.holder_name,
                )


class NameTickets(OfBooking):
    name = "names"
    button = "Names on tickets"
    form_class = NamesForm

    def why_not(self, row: Booking) -> str:
        if why_not := super().why_not(row):
            return why_not
        if row.fulfilled_at is None:
            return "Its tickets are being made. Try again in a few seconds."
        if clock.now() >= row.ticket_tier.concert.date:
            return "The concert has begun, so names cannot be changed any more."
        return ""

    def plan(self, row: Booking) -> Plan:
        names = "|".join(f"{each.number} {each.holder_name}" for each in tickets_of(row))
        says = "Who comes with each ticket. An empty field removes the name, and the code stays."
        return Plan([says], seen=sha256(names.encode()).hexdigest())

    def do(self, row: Booking, *, by: User, **typed: Any) -> str:
        names = {
            int(name.removeprefix("ticket_")): value
            for name, value in typed.items()
            if name.startswith("ticket_")
        }
        changed = name_holders(row, names, by=by, now=clock.ask())
        return (
            f"{changed} name{'s' * (changed != 1)} changed." if changed else "No name was changed."
        )


EVERY: list[Verb[Any]] = [
    Cancel(),
    ReturnTickets(),
    GiveMoneyBack(),
    HandOverCash(),
    AskGateway(),
    SendTicketsAgain(),
    ChangeAddress(),
    NameTickets(),
    SendRefundAgain(),
    DismissAlert(),
]
