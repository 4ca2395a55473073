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
| `new_link` | the link of a guest's booking was stopped | the booking; the key is new each time |
| `keep_bookings` | a guest wants to keep the bookings in an account | nothing: the address says whose |

A mail of a concert that does not take place as planned, or not for this customer, has a file that tells their
calendar so.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils.dateformat import format as date_format

from accounts.models import User
from bookings import claiming, links
from bookings.gateways import named
from bookings.guests import name_for
from bookings.models import Booking, Refund, Return
from concerts.models import Concert
from mail import kinds
from mail.composing import isolated, short
from mail.kinds import Attachment, Letter, Picture
from mail.models import Mail
from mail.outbox import Post, post, post_all
from ticketbook.postgres import clock
from ticketbook.templatetags.money import money
from ticketbook.zones import in_words, local

# By then the money is back, even with a slow bank: ten working days.
MONEY_BACK_WITHIN = timedelta(days=14)

# What the apps above attach to a mail when the plan of some bookings of one concert has changed. Each is
# called with these bookings.
on_changed_plan: list[Callable[[Sequence[Booking]], Attachment]] = []


# --- What happens -------------------------------------------------------------------------------


def tell_returned(made: Return, *, all_of_them: bool) -> None:
    kind = "cancelled" if all_of_them else "part_returned"
    post(kind=kind, about=made.pk, to=made.booking.user.email)


def tell_called_off(bookings: Iterable[Booking]) -> None:
    post_all(Post(kind="called_off", about=each.pk, to=each.user.email) for each in bookings)


def tell_refunded(refund: Refund) -> None:
    kind = "late_payment" if refund.reason == Refund.Reason.LATE else "refunded"
    # Asked anew: the booking may have been read before it moved from a guest to an account.
    customer = User.objects.get(bookings=refund.booking_id)
    post(kind=kind, about=refund.pk, to=customer.email)


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


def tell_handed_over(booking: Booking, *, to: str) -> None:
    """To the address that had the booking until now."""
    key = f"handed_over:{booking.pk}:{booking.idempotency_key}"
    post(kind="handed_over", about=booking.pk, to=to, key=key)


# --- The words ----------------------------------------------------------------------------------


def register_kinds() -> None:
    kinds.register("cancelled", lambda mail: _returned(mail, "Cancelled"))
    kinds.register("part_returned", lambda mail: _returned(mail, "Tickets given back"))
    kinds.register("called_off", _called_off)
    kinds.register("late_payment", lambda mail: _refunded(mail, "Payment came too late"))
    kinds.register("refunded", lambda mail: _refunded(mail, "Money back"))
    kinds.register("moved", _moved)
    kinds.register("declined", _declined)
    kinds.register(links.NEW_LINK, _new_link)
    kinds.register(claiming.KEEP, _keep_bookings)
    kinds.register("handed_over", _handed_over)


def booking_letter(
    booking: Booking,
    template: str,
    what: str,
    *,
    attachments: Sequence[Attachment] = (),
    pictures: Sequence[Picture] = (),
    **facts: Any,
) -> Letter:
    """A letter about a booking, which comes with its details (`with_details`).

    Its subject is `what`, the concert, when and where. `template` is one of those that extend
    `bookings/mail/_booking.txt`.
    """
    context = {
        "calendar": any(kind == "text/calendar" for _, _, kind in attachments),
        "name": name_for(booking),
        "details": details_of(booking),
        "link": link_to(booking),
        **facts,
    }
    return Letter(subject_about(booking, what), template, context, attachments, pictures)


def subject_about(booking: Booking, what: str) -> str:
    concert = booking.ticket_tier.concert
    return f"{what}: {_short(concert.name, 80)}, {_when(concert)}, {_short(concert.venue, 60)}"


def details_of(booking: Booking) -> list[tuple[str, str]]:
    concert, tier = booking.ticket_tier.concert, booking.ticket_tier.get_tier_type_display()
    return [
        ("Concert", concert.name),
        ("Artist", concert.artist),
        ("When", _when(concert)),
        ("Where", concert.venue),
        ("Booked", f"{booking.quantity} × {tier}{_of_which(booking)}"),
        ("Booking", booking.number),
    ]


def _of_which(booking: Booking) -> str:
    # A new holder would look for the tickets that went back.
    some = 0 < booking.returned_quantity < booking.quantity
    return f", of which {booking.kept_quantity} are still valid" if some else ""


def link_to(booking: Booking) -> tuple[str, str]:
    return "See your booking", links.address_of(booking)


def _short(text: str, limit: int) -> str:
    return isolated(short(text, limit))


def _when(concert: Concert) -> str:
    return in_words(concert.date, concert.time_zone)


def booking_for(mail: Mail, pk: UUID) -> Booking:
    """The booking with its details.

    Raises NothingToTell if it went from this address to another one after the mail was written. What is
    written now has the codes and the link of whoever has it.
    """
    booking = Booking.objects.with_details().get(pk=pk)
    if booking.was_given_away_by(mail.address):
        raise kinds.NothingToTell
    return booking


def _money(booking: Booking, refund: Refund | None) -> dict[str, Any]:
    if refund is None:
        return {"amount": ""}
    back_by = local(refund.created_at + MONEY_BACK_WITHIN, booking.ticket_tier.concert.time_zone)
    return {
        "amount": money(refund.amount),
        "back_by": date_format(back_by, "l j F Y"),
        "cash": booking.gateway == named.CASH,
        "refused": refund.status == Refund.Status.FAILED,
    }


def _changed_plan(bookings: Sequence[Booking]) -> list[Attachment]:
    # Whoever was never sent the first plan has nothing to change.
    fulfilled = [booking for booking in bookings if booking.fulfilled_at]
    return [attach(fulfilled) for attach in on_changed_plan] if fulfilled else []


def _returned(mail: Mail, what: str) -> Letter:
    made = Return.objects.select_related("refund").get(pk=mail.about)
    booking = booking_for(mail, made.booking_id)
    facts = {"tickets": made.tickets, "quantity": booking.quantity, **_money(booking, made.refund)}
    ended = mail.kind == "cancelled"
    attachments = _changed_plan([booking]) if ended else ()
    return booking_letter(
        booking, f"bookings/mail/{mail.kind}", what, attachments=attachments, **facts
    )


def _called_off(mail: Mail) -> Letter:
    booking = booking_for(mail, mail.about)
    refund = booking.refunds.filter(reason=Refund.Reason.CALLED_OFF).first()
    return booking_letter(
        booking,
        "bookings/mail/called_off",
        "Called off",
        attachments=_changed_plan([booking]),
        **_money(booking, refund),
    )


def _refunded(mail: Mail, what: str) -> Letter:
    refund = Refund.objects.get(pk=mail.about)
    booking = booking_for(mail, refund.booking_id)
    return booking_letter(booking, f"bookings/mail/{mail.kind}", what, **_money(booking, refund))


def _moved(mail: Mail) -> Letter | None:
    booking = booking_for(mail, mail.about)
    concert = booking.ticket_tier.concert
    if concert.status == Concert.Status.CANCELLED:
        return None  # there is another mail about that
    others = Booking.objects.with_details().of(booking.user)
    kept = list(
        others.filter(ticket_tier__concert=concert, status=Booking.Status.CONFIRMED).order_by("-pk")
    )
    if not kept:
        return None
    # It is about one of them; that one may have been cancelled meanwhile.
    shown = booking if booking in kept else kept[0]
    until, zone = shown.returnable_until, concert.time_zone
    return booking_letter(
        shown,
        "bookings/mail/moved",
        "Moved",
        attachments=_changed_plan(kept),
        cash=shown.gateway == named.CASH,
        return_by=in_words(until, zone) if until > clock.now() else "",
    )


def _declined(mail: Mail) -> Letter | None:
    booking = booking_for(mail, mail.about)
    if booking.payment_status != Booking.PaymentStatus.FAILED:
        return None  # the money came after all, and there is another mail about that
    page = settings.SITE_URL + reverse("concert", args=[booking.ticket_tier.concert_id])
    link = ("See the concert", page)
    declined = booking.failure_reason == Booking.FailureReason.DECLINED
    what = "Payment declined" if declined else "Not booked"
    return booking_letter(booking, "bookings/mail/declined", what, link=link)


def _new_link(mail: Mail) -> Letter | None:
    booking = booking_for(mail, mail.about)
    if not booking.user.is_guest:
        return None  # it has moved to an account, and needs no link
    return booking_letter(booking, "bookings/mail/new_link", "The new link to your booking")


def _handed_over(mail: Mail) -> Letter:
    # To the old address, so without the link, and without the name of whoever has it now.
    booking = Booking.objects.with_details().get(pk=mail.about)
    context = {"details": details_of(booking)}
    return Letter(subject_about(booking, "Handed over"), "bookings/mail/handed_over", context)


def _keep_bookings(mail: Mail) -> Letter | None:
    guest = User.objects.guests().filter(email=mail.address).first()
    if guest is None:
        return None
    page = reverse("bookings:keep", args=[claiming.part_of(guest)])
    context = {"link": ("Keep my bookings", settings.SITE_URL + page)}
    return Letter("Keep your bookings in an account", "bookings/mail/keep_bookings", context)
