"""The mailed link of a guest's booking, which opens it in any browser until somebody stops it."""

from uuid import UUID, uuid4

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import F
from django.urls import reverse

from accounts import throttle
from bookings.guests import slip_of
from bookings.models import Booking, GuestSlip
from mail.outbox import post
from ticketbook.errors import Refusal

NEW_LINK = "new_link"  # a kind of mail

_signer = signing.Signer(salt="bookings.links")


class LinkStopped(Refusal):
    """This link was stopped, and a new one was mailed. Look for the newest mail about your booking."""

    status = 410


def address_of(booking: Booking) -> str:
    """Where a mail leads about this booking, which comes with its user."""
    if not booking.user.is_guest:
        return settings.SITE_URL + reverse("bookings:detail", args=[booking.pk])
    return settings.SITE_URL + reverse("open_booking", args=[part_of(slip_of(booking))])


def part_of(slip: GuestSlip) -> str:
    return _signer.sign(f"{slip.pk.hex}-{slip.stops}")


def slip_of_link(part: str) -> GuestSlip | None:
    """The slip that a link names; None if the link is not one of ours. Raises LinkStopped."""
    try:
        pk, _, stops = _signer.unsign(part).partition("-")
        slip = GuestSlip.objects.filter(pk=UUID(pk)).first()
    except (signing.BadSignature, ValueError):
        return None
    if slip is not None and slip.stops != int(stops):
        raise LinkStopped
    return slip


def booking_of(slip: GuestSlip) -> Booking | None:
    """The booking of a slip, also after it has moved to an account."""
    of_guest = Booking.objects.of_slips({slip.pk: slip.stops})
    return of_guest.first() or Booking.objects.filter(pk=slip.booking_id).first()


def stop(booking: Booking) -> GuestSlip:
    """Let the link of a guest's booking open nothing any more, and mail a new one.

    All browsers forget the booking. Raises Throttled.
    """
    throttle.count_mail_about("new link", booking.pk)
    slip = slip_of(booking)
    with transaction.atomic():
        GuestSlip.objects.filter(pk=slip.pk).update(stops=F("stops") + 1)
        post(kind=NEW_LINK, about=booking.pk, to=slip.address, key=f"{NEW_LINK}:{uuid4()}")
    slip.refresh_from_db()
    return slip
