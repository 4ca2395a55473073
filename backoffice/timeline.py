"""What has happened to a booking, for staff: by whom, when and why, from its rows and the history.

tickets/story.py tells it to the customer. Times that no row has are not told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Prefetch, Q, prefetch_related_objects
from django.utils.text import capfirst

from bookings.gateways.named import CASH
from bookings.gateways.named import in_words as in_words_of
from bookings.models import BEFORE_TICKETS, Booking, PaymentEvent, Refund, Return
from concerts.moving import moves_since
from mail.admin import in_words as kind_in_words
from mail.composing import NEVER_REACHED
from mail.models import Mail
from ticketbook.templatetags.money import money
from ticketbook.zones import in_words
from tickets.messages import MESSAGE, written_about
from tickets.models import Reached
from tickets.story import Event, in_order, which

Status, PaymentStatus = Booking.Status, Booking.PaymentStatus
CUSTOMER, SYSTEM = "the customer", "the system"


@dataclass(frozen=True, slots=True)
class Entry(Event):
    by: str = ""
    why: str = ""
    row: Any = None  # that tells more


def timeline_of(booking: Booking) -> list[Entry]:
    """All that is known of a booking, which comes with its details; the first entry first."""
    prefetch_related_objects(
        [booking],
        Prefetch("returns", Return.objects.select_related("made_by").order_by("pk")),
        Prefetch("refunds", Refund.objects.select_related("made_by").order_by("pk")),
    )
    returns, refunds = list(booking.returns.all()), list(booking.refunds.all())
    events = list(PaymentEvent.objects.filter(key=booking.pk).order_by("pk"))
    told = [
        _begun(booking),
        *_settled(booking),
        *map(_event, events),
        *_fulfilled(booking),
        *_called_off(booking, returns),
        *(_returned(booking, each) for each in returns),
        *(entry for each in refunds for entry in _refunded(each)),
        *map(_mailed, _mails(booking, returns, refunds)),
        *map(_wrote, written_about(booking)),
        *map(_moved, moves_since(booking.ticket_tier.concert, booking.created_at)),
        *map(_logged, _history([booking, *refunds, *events])),
    ]
    return in_order(told)


def _begun(booking: Booking) -> Entry:
    tickets = f"{booking.quantity} × {booking.ticket_tier.get_tier_type_display()}"
    price = f"for {money(booking.total_price)}" if booking.total_price else "for free"
    if booking.source == Booking.Source.ONLINE:
        return Entry(f"Held {tickets} {price}.", booking.created_at, by=CUSTOMER)
    source = booking.get_source_display().lower()
    return Entry(f"Booked {tickets} {price} ({source}).", booking.created_at, by="staff")


def _event(event: PaymentEvent) -> Entry:
    gateway = capfirst(in_words_of(event.gateway))
    said = f"{gateway} told us: {event.type}"
    found = f"; asked, it said: {event.found}" if event.found else ""
    if event.alert:
        return Entry(
            f"{said}{found}. {event.alert}",
            event.received_at,
            bad=True,
            by=gateway,
            row=event,
        )
    return Entry(f"{said}{found}.", event.received_at, by=gateway, row=event)


def _settled(booking: Booking) -> Iterator[Entry]:
    # `updated_at` is the time of the settlement as long as nothing was changed after it.
    untouched = not (booking.returned_quantity or booking.refunded_total)
    at = booking.updated_at if untouched else None
    if booking.status == Status.PENDING:
        if booking.action_url:
            yield Entry("Sent the customer to the payment page.", at, by=SYSTEM)
        elif booking.outcome_unknown:
            yield Entry("The gateway gave no answer, and is asked again.", at, by=SYSTEM)
    elif booking.handed_over:
        yield Entry("Handed over to another address. This row only keeps the key used.", at)
    elif booking.status == Status.FAILED:
        why = booking.get_failure_reason_display().lower()
        yield Entry(f"Failed: {why}. The tickets went back on sale.", at, by=SYSTEM)
    elif booking.total_price:
        reference = f", reference {booking.gateway_reference}" * bool(booking.gateway_reference)
        how = "in cash" if booking.gateway == CASH else f"by {booking.paid_by}"
        says = f"Paid {money(booking.total_price)} {how}{reference}."
        yield Entry(says, booking.paid_at, by=CUSTOMER)


def _fulfilled(booking: Booking) -> Iterator[Entry]:
    made = booking.fulfilled_at
    if made and made != BEFORE_TICKETS and booking.status in {Status.CONFIRMED, Status.CANCELLED}:
        yield Entry("Made the tickets.", made, by=SYSTEM)


def _called_off(booking: Booking, returns: list[Return]) -> Iterator[Entry]:
    if booking.called_off:
        # Its last tickets went back in the same transaction. A hold has none of that.
        was_paid = booking.status == Status.CANCELLED and returns
        at = returns[-1].created_at if was_paid else None
        yield Entry("Its concert was called off.", at, by="staff")


def _returned(booking: Booking, made: Return) -> Entry:
    what = (
        "all tickets"
        if made.tickets == booking.quantity
        else f"{made.tickets} of {booking.quantity} tickets"
    )
    money_too = "" if made.refund_id else ", without money"
    by = _who(made.made_by, SYSTEM if booking.called_off else CUSTOMER)
    return Entry(
        f"Gave back {what}{which(made)}{money_too}.", made.created_at, by=by, why=made.note
    )


def _refunded(refund: Refund) -> Iterator[Entry]:
    amount = money(refund.amount)
    reason = refund.get_reason_display().lower()
    by = _who(refund.made_by, SYSTEM)
    # Who handed it over, and when, is in the history.
    in_cash = refund.booking.gateway == CASH
    yield Entry(
        f"{amount} to be {'handed over in cash' if in_cash else 'sent back'}: {reason}.",
        refund.created_at,
        by=by,
        why=refund.note,
        row=refund,
    )
    if refund.status == Refund.Status.SENT and not in_cash:
        yield Entry(f"{amount} sent back.", refund.sent_at, by=SYSTEM, row=refund)
    elif refund.status == Refund.Status.FAILED:
        yield Entry(
            f"The gateway refused to send {amount} back: {refund.failure}",
            bad=True,
            by=SYSTEM,
            row=refund,
        )


def _mails(booking: Booking, returns: list[Return], refunds: list[Refund]) -> list[Mail]:
    about = [booking.pk, *(each.pk for each in returns), *(each.pk for each in refunds)]
    mails = Mail.objects.exclude(kind=MESSAGE).filter(about__in=about)
    return list(mails.exclude(status=Mail.Status.SKIPPED).order_by("pk"))


def _mailed(mail: Mail) -> Entry:
    what = f"Mail “{kind_in_words(mail.kind)}”"
    to = "" if mail.address.endswith(NEVER_REACHED) else f" to {mail.address}"
    if mail.status == Mail.Status.FAILED:
        says = f"{what}{to} could not be delivered: {mail.last_error}"
        return Entry(says, mail.made_at, bad=True, by=SYSTEM, row=mail)
    if mail.status == Mail.Status.WAITING:
        return Entry(f"{what}{to} is on its way.", mail.made_at, by=SYSTEM, row=mail)
    return Entry(f"{what} was sent{to}.", mail.sent_at, by=SYSTEM, row=mail)


def _wrote(reached: Reached) -> Entry:
    mail, by = reached.mail, str(reached.message.made_by)
    says = f"Message to holders: {reached.message.subject}"
    if mail.status == Mail.Status.FAILED:
        says = f"{says} ({mail.address}: {mail.last_error})"
        return Entry(says, mail.made_at, bad=True, by=by, row=mail)
    at = mail.sent_at or mail.made_at
    return Entry(says, at, by=by, row=mail)


def _moved(move: Any) -> Entry:
    when = in_words(move.date, move.time_zone)
    return Entry(
        f"The concert moved. It had been on {when}, at {move.venue}.", move.moved_at, by="staff"
    )


def _history(rows: list[Any]) -> list[LogEntry]:
    types = ContentType.objects.get_for_models(*{type(row) for row in rows})
    which = Q()
    for row in rows:
        which |= Q(content_type=types[type(row)], object_id=str(row.pk))
    return list(LogEntry.objects.filter(which).select_related("user").order_by("pk"))


def _logged(entry: LogEntry) -> Entry:
    # "What was done: why" is how our verbs write it.
    did, _, why = entry.get_change_message().partition(": ")
    return Entry(f"{did}.", entry.action_time, by=_who(entry.user, ""), why=why)


def _who(user: Any, otherwise: str) -> str:
    return str(user) if user else otherwise
