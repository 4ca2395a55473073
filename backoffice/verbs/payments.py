"""Verbs of a payment: ask the gateway, send a refund again, dismiss an alert."""

from typing import Any

from django.utils.text import capfirst

from accounts.models import User
from backoffice.verbs.of_booking import OfBooking
from backoffice.verbs.verb import Plan, Verb, VerbForm
from bookings import alerts, refunding
from bookings.asking import ask_now, may_be_asked
from bookings.models import Booking, PaymentEvent, Refund
from ticketbook.postgres import clock
from ticketbook.templatetags.money import money


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
