"""Verbs for the customer of a booking: tickets, address and names."""

from hashlib import sha256
from typing import Any
from uuid import uuid4

from django import forms

from accounts.email_field import EmailAddressFormField
from accounts.models import User
from backoffice.verbs.of_booking import OfBooking, many
from backoffice.verbs.verb import Plan, VerbForm, WithReason
from bookings.errors import CustomerLimitReached
from bookings.guests import name_for
from bookings.handing_over import hand_over
from bookings.models import Booking
from ticketbook.plain_text import plain_text
from ticketbook.postgres import clock
from tickets.again import send_again
from tickets.fulfilment import tickets_of
from tickets.naming import name_holders


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
