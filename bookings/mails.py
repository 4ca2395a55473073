"""What customers are told by mail about their bookings.

`tell_…` writes a mail in the transaction of the event. The functions below them say the words of each kind
when the mail is sent: what is true for good, such as the sum of one refund, or how it is at that moment.

| kind | event | about, and so told once for each |
|---|---|---|
| `cancelled` | the last tickets of a booking were given back | the Return |
| `part_returned` | some of its tickets were given back | the Return |
| `called_off` | its concert was called off | the booking |
| `late_payment` | money came after its tickets had gone back to stock | the Refund |
| `refunded` | staff gave money back | the Refund |
| `moved` | its concert has another date or place | a booking of the customer; the key also has the change |
| `declined` | a booking failed after its customer had been told that nothing is known yet | the booking |
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils.dateformat import format as date_format

from bookings.gateways import named
from bookings.models import Booking, Refund, Return
from concerts.models import Concert
from mail import kinds
from mail.composing import isolated, short
from mail.kinds import Attachment, Letter
from mail.models import Mail
from mail.outbox import Post, post, post_all
from ticketbook.templatetags.money import money
from ticketbook.zones import in_words, local

# By then the money is back, even with a slow bank: ten working days.
MONEY_BACK_WITHIN = timedelta(days=14)


# --- What happens -------------------------------------------------------------------------------


def tell_returned(made: Return, *, all_of_them: bool) -> None:
    kind = "cancelled" if all_of_them else "part_returned"
    post(kind=kind, about=made.pk, to=made.booking.user.email)


def tell_called_off(bookings: Iterable[Booking]) -> None:
    post_all(Post(kind="called_off", about=each.pk, to=each.user.email) for each in bookings)


def tell_refunded(refund: Refund) -> None:
    kind = "late_payment" if refund.reason == Refund.Reason.LATE else "refunded"
    post(kind=kind, about=refund.pk, to=refund.booking.user.email)


def tell_moved(*, concert: Concert, **kwargs: Any) -> None:
    """One mail to each customer who has tickets, however many bookings they have made."""
    holders = Booking.objects.filter(
        ticket_tier__concert=concert, status=Booking.Status.CONFIRMED
    ).select_related("user")
    change = f"{concert.updated_at:%Y%m%d%H%M%S%f}"
    post_all(
        Post(kind="moved", about=each.pk, to=each.user.email, key=f"moved:{each.pk}:{change}")
        for each in holders.order_by("user_id", "-pk").distinct("user_id")
    )


# --- The words ----------------------------------------------------------------------------------


def register_kinds() -> None:
    kinds.register("cancelled", lambda mail: _returned(mail, "Cancelled"))
    kinds.register("part_returned", lambda mail: _returned(mail, "Tickets given back"))
    kinds.register("called_off", _called_off)
    kinds.register("late_payment", lambda mail: _refunded(mail, "Payment came too late"))
    kinds.register("refunded", lambda mail: _refunded(mail, "Money back"))
    kinds.register("moved", _moved)
    kinds.register("declined", _declined)


def booking_letter(
    booking: Booking,
    template: str,
    what: str,
    *,
    attachments: Sequence[Attachment] = (),
    **facts: Any,
) -> Letter:
    """A letter about a booking, which comes with its details (`with_details`).

    Its subject is `what`, the concert, when and where. `template` is one of those that extend
    `bookings/mail/_booking.txt`.
    """
    concert = booking.ticket_tier.concert
    subject = f"{what}: {_short(concert.name, 80)}, {_when(concert)}, {_short(concert.venue, 60)}"
    tier = booking.ticket_tier.get_tier_type_display()
    details = [
        ("Concert", concert.name),
        ("Artist", concert.artist),
        ("When", _when(concert)),
        ("Where", concert.venue),
        ("Booked", f"{booking.quantity} × {tier}"),
        ("Booking", str(booking.pk)),
    ]
    page = settings.SITE_URL + reverse("bookings:detail", args=[booking.pk])
    context = {
        "name": booking.user.name if booking.user.is_active else "",  # it may be closed
        "details": details,
        "link": ("See your booking", page),
        **facts,
    }
    return Letter(subject, template, context, attachments)


def _short(text: str, limit: int) -> str:
    return isolated(short(text, limit))


def _when(concert: Concert) -> str:
    return in_words(concert.date, concert.time_zone)


def _booking(pk: UUID) -> Booking:
    return Booking.objects.with_details().get(pk=pk)


def _money(booking: Booking, refund: Refund | None) -> dict[str, Any]:
    if refund is None:
        return {"amount": ""}
    back_by = local(refund.created_at + MONEY_BACK_WITHIN, booking.ticket_tier.concert.time_zone)
    return {
        "amount": money(refund.amount),
        "back_by": date_format(back_by, "l j F Y"),
        "cash": booking.gateway == named.CASH,
    }


def _returned(mail: Mail, what: str) -> Letter:
    made = Return.objects.select_related("refund").get(pk=mail.about)
    booking = _booking(made.booking_id)
    facts = {"tickets": made.tickets, "quantity": booking.quantity, **_money(booking, made.refund)}
    return booking_letter(booking, f"bookings/mail/{mail.kind}", what, **facts)


def _called_off(mail: Mail) -> Letter:
    booking = _booking(mail.about)
    refund = booking.refunds.filter(reason=Refund.Reason.CALLED_OFF).first()
    return booking_letter(
        booking, "bookings/mail/called_off", "Called off", **_money(booking, refund)
    )


def _refunded(mail: Mail, what: str) -> Letter:
    refund = Refund.objects.get(pk=mail.about)
    booking = _booking(refund.booking_id)
    return booking_letter(booking, f"bookings/mail/{mail.kind}", what, **_money(booking, refund))


def _moved(mail: Mail) -> Letter | None:
    booking = _booking(mail.about)
    concert = booking.ticket_tier.concert
    if concert.status == Concert.Status.CANCELLED:
        return None  # there is another mail about that
    if booking.status != Booking.Status.CONFIRMED:  # meanwhile; the customer may have other tickets
        others = Booking.objects.with_details().of(booking.user)
        confirmed = others.filter(
            ticket_tier__concert=concert, status=Booking.Status.CONFIRMED
        ).first()
        if confirmed is None:
            return None
        booking = confirmed
    return booking_letter(booking, "bookings/mail/moved", "Moved")


def _declined(mail: Mail) -> Letter | None:
    booking = _booking(mail.about)
    if booking.payment_status != Booking.PaymentStatus.FAILED:
        return None  # the money came after all, and there is another mail about that
    page = settings.SITE_URL + reverse("concert", args=[booking.ticket_tier.concert_id])
    link = ("See the concert", page)
    declined = booking.failure_reason == Booking.FailureReason.DECLINED
    what = "Payment declined" if declined else "Not booked"
    return booking_letter(booking, "bookings/mail/declined", what, link=link)
