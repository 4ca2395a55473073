"""What is kept of a customer's bookings: for the download, and when the account is closed."""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from accounts.models import User
from accounts.own_data import Part
from bookings.models import TO_FULFIL, Booking, GuestSlip, Refund
from bookings.serializers import BookingWithDetailsSerializer
from concerts.models import Concert
from ticketbook.amounts import plain
from ticketbook.postgres import clock

UNFINISHED = (
    "A booking of yours is not finished: its payment is not known yet, or its tickets are being made. "
    "Try again in a few minutes."
)


def _export(user: User) -> list[dict[str, Any]]:
    mine = Booking.objects.of(user).with_details().with_sales().prefetch_related("refunds")
    bookings, context = list(mine.newest_first()), {"now": clock.now()}
    written = BookingWithDetailsSerializer(bookings, many=True, context=context).data
    return [
        {**data, "refunds": [_refund(each) for each in booking.refunds.all()]}
        for data, booking in zip(written, bookings, strict=True)
    ]


def _refund(refund: Refund) -> dict[str, Any]:
    return {
        "amount": plain(refund.amount),
        "tickets": refund.tickets,
        "reason": refund.reason,
        "status": refund.status,
        "createdAt": refund.created_at,
        "sentAt": refund.sent_at,
    }


def _unfinished(user: User) -> str:
    # A mail with tickets, or one that says "not booked", would find no address any more.
    mine = Booking.objects.of(user)
    return UNFINISHED if (mine.pending() | mine.filter(TO_FULFIL)).exists() else ""


def _warning(user: User) -> str:
    coming = Booking.objects.of(user).filter(
        status=Booking.Status.CONFIRMED, ticket_tier__concert__date__gt=clock.now()
    )
    tickets = coming.exclude(ticket_tier__concert__status=Concert.Status.CANCELLED).tickets()
    if not tickets:
        return ""
    have = (
        "1 ticket for a coming concert. It stays"
        if tickets == 1
        else f"{tickets} tickets for coming concerts. They stay"
    )
    return (
        f"You have {have} valid, but you can neither open nor cancel anything here afterwards. So keep the "
        "mail with the codes, or cancel first if you want your money back. If a concert moves or is called "
        "off, we cannot tell you; money then goes back the way it was paid."
    )


def _forget(user: User) -> None:
    # Of the time before there was an account.
    GuestSlip.objects.filter(booking__user=user).delete()
    # Of bookings that were handed over to another address.
    GuestSlip.objects.filter(address=user.email).exclude(booking=None).delete()
    # The history in the back office names the customer.
    bookings = Booking.objects.of(user).values_list("pk", flat=True)
    LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Booking),
        object_id__in=[str(pk) for pk in bookings],
    ).update(object_repr="A booking of a closed account")


PART = Part("bookings", _export, unfinished=_unfinished, warning=_warning, forget=_forget)
