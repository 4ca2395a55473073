"""What has happened to a booking, told from the rows that exist. A time that no row has is not told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db.models import prefetch_related_objects

from bookings.gateways import named
from bookings.mails import MONEY_BACK_WITHIN
from bookings.models import Booking, Refund, Return
from concerts.models import Move
from concerts.moving import moves_since
from mail.composing import NEVER_REACHED
from mail.models import Mail
from ticketbook.templatetags.money import money
from ticketbook.zones import in_words
from tickets.fulfilment import DECLINED, TICKETS
from tickets.messages import written_about
from tickets.models import Reached

Status, PaymentStatus = Booking.Status, Booking.PaymentStatus


@dataclass(frozen=True, slots=True)
class Event:
    says: str
    at: datetime | None = None
    bad: bool = False  # somebody has to act


AnEvent = TypeVar("AnEvent", bound=Event)


def story_of(booking: Booking) -> list[Event]:
    """The events of a booking, which comes with its details; the first of them first."""
    prefetch_related_objects([booking], "ticket_tier__concert__moves")  # the page tells of them too
    if booking.returned_quantity or booking.refunded_total:
        prefetch_related_objects([booking], "returns", "refunds")
    told = [_begun(booking), *_payment(booking), *_mails(booking)]
    told += [_given_back(booking, each) for each in _returns(booking)]
    told += [_refunded(booking, each) for each in _refunds(booking)]
    told += [_wrote(each) for each in written_about(booking)]
    concert = booking.ticket_tier.concert
    told += [_moved(each) for each in moves_since(concert, booking.created_at)]
    return in_order(told)


def in_order(told: Sequence[AnEvent]) -> list[AnEvent]:
    """By time. What has no time follows what is told before it."""
    at = told[0].at
    keys = []
    for event in told:
        at = event.at or at
        keys.append(at)
    ordered = sorted(zip(keys, range(len(told)), told, strict=True), key=lambda each: each[:2])
    return [event for *_, event in ordered]


def _begun(booking: Booking) -> Event:
    tickets = f"{booking.quantity} × {booking.ticket_tier.get_tier_type_display()}"
    price = f"for {money(booking.total_price)}" if booking.total_price else "for free"
    if booking.source != Booking.Source.ONLINE:
        return Event(f"Our staff booked {tickets} for you, {price}.", booking.created_at)
    if booking.status in {Status.PENDING, Status.FAILED}:
        return Event(f"You chose {tickets} {price}, and we held them for you.", booking.created_at)
    return Event(f"You booked {tickets} {price}.", booking.created_at)


def _payment(booking: Booking) -> list[Event]:
    if booking.status == Status.FAILED:
        return _failure(booking)
    if booking.status == Status.PENDING or not booking.total_price:
        return []
    cash = " in cash" if booking.gateway == named.CASH else ""
    return [Event(f"{money(booking.total_price)} paid{cash}.", booking.paid_at)]


def _failure(booking: Booking) -> list[Event]:
    if booking.handed_over:
        return [Event("It was handed over to another address.", booking.updated_at)]
    if booking.payment_status != PaymentStatus.FAILED:
        return [Event("No payment came in time, so the tickets went back on sale.")]
    if booking.failure_reason == Booking.FailureReason.DECLINED:
        says = "The payment was declined, and the tickets went back on sale. Nothing was charged."
    else:
        says = "No payment came in time, so the tickets went back on sale. Nothing was charged."
    return [Event(says, booking.updated_at)]


def _mails(booking: Booking) -> list[Event]:
    keys = [f"{kind}:{booking.pk}" for kind in (TICKETS, DECLINED)]
    told = []
    for mail in Mail.objects.filter(key__in=keys).order_by("id"):
        what = "tickets" if mail.kind == TICKETS else "mail about it"
        # An account with this address was closed, and the address was forgotten (accounts/closing.py).
        to = "" if mail.address.endswith(NEVER_REACHED) else f" to {mail.address}"
        if mail.status == Mail.Status.SENT:
            sent = "were mailed" if mail.kind == TICKETS else "was sent"
            told.append(Event(f"The {what} {sent}{to}.", mail.sent_at))
        elif mail.status == Mail.Status.WAITING:
            are = "are" if mail.kind == TICKETS else "is"
            told.append(Event(f"The {what} {are} on the way{to}.", mail.made_at))
        elif mail.status == Mail.Status.FAILED:
            says = f"The mail{to} could not be delivered."
            told.append(Event(says, mail.made_at, bad=True))
    return told


def _returns(booking: Booking) -> list[Return]:
    made = booking.returns.all() if booking.returned_quantity else []
    return sorted(made, key=lambda each: each.pk)


def _given_back(booking: Booking, made: Return) -> Event:
    last = booking.status == Status.CANCELLED and made == _returns(booking)[-1]
    if last and booking.called_off:
        says = "The concert was called off, so your booking was cancelled."
    elif last and made.tickets == booking.quantity:
        says = (
            "Our staff cancelled the booking." if made.made_by_id else "You cancelled the booking."
        )
    else:
        who = "Our staff took back" if made.made_by_id else "You gave back"
        says = f"{who} {made.tickets} of {booking.quantity} tickets{which(made)}."
    return Event(says, made.created_at)


def which(made: Return) -> str:
    """The numbers of tickets that went back, in brackets; empty if nobody chose them."""
    if not made.numbers:
        return ""
    word = "number" if len(made.numbers) == 1 else "numbers"
    return f" ({word} {', '.join(map(str, made.numbers))})"


def _refunds(booking: Booking) -> list[Refund]:
    refunds = booking.refunds.all() if booking.refunded_total else []
    return sorted(refunds, key=lambda each: each.pk)


def _refunded(booking: Booking, refund: Refund) -> Event:
    amount = money(refund.amount)
    why = {
        Refund.Reason.LATE: "Your payment came too late. ",
        Refund.Reason.GOODWILL: "You keep the tickets. ",
    }.get(Refund.Reason(refund.reason), "")
    if booking.gateway == named.CASH:
        if refund.sent_at:
            return Event(f"{why}You got {amount} back in cash.", refund.sent_at)
        return Event(f"{why}You get {amount} back in cash from our staff.", refund.created_at)
    if refund.status == Refund.Status.SENT:
        return Event(f"{why}{amount} was sent back to you.", refund.sent_at)
    if refund.status == Refund.Status.DUE:
        return Event(f"{why}{amount} is on its way back to you.", refund.created_at)
    says = (
        f"{why}The payment service refused to send {amount} back. Our staff look for another way."
    )
    return Event(says, refund.created_at, bad=True)


def _moved(move: Move) -> Event:
    when = in_words(move.date, move.time_zone)
    return Event(f"The concert moved. It had been on {when}, at {move.venue}.", move.moved_at)


def _wrote(reached: Reached) -> Event:
    subject, mail = reached.message.subject, reached.mail
    if mail.status == Mail.Status.FAILED:
        says = f"We wrote to you, but the mail could not be delivered: {subject}"
        return Event(says, mail.made_at, bad=True)
    if mail.status == Mail.Status.WAITING:
        return Event(f"We write to you, and the mail is on the way: {subject}", mail.made_at)
    return Event(f"We wrote to you: {subject}", mail.sent_at)


def money_there_by(booking: Booking) -> datetime | None:
    """When what was sent back should be on the customer's account at the latest; None if nothing was."""
    if booking.gateway == named.CASH:
        return None
    sent = [refund.sent_at for refund in _refunds(booking) if refund.sent_at]
    return max(sent) + MONEY_BACK_WITHIN if sent else None
