"""The mail with the tickets of a booking, that with links to all upcoming ones, and messages of staff.

The file for calendars also comes with the mails of bookings/mails.py that change a plan.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.urls import reverse

from bookings.guests import name_for
from bookings.mails import booking_for, booking_letter, details_of, link_to, subject_about
from bookings.models import Booking
from mail.kinds import Attachment, Letter, Picture
from mail.models import Mail
from ticketbook.postgres import clock
from tickets import files, qr
from tickets.errors import NotConfirmed
from tickets.fulfilment import fulfil, tickets_of
from tickets.models import HolderMessage, Ticket

LISTED = 20  # bookings in one mail
QR_WIDTH = 228  # CSS pixels, half of what the picture has, so that it is sharp on fine screens too


def tickets(mail: Mail) -> Letter | None:
    booking = booking_for(mail, mail.about)
    kept = [ticket for ticket in tickets_of(booking) if ticket.is_valid]
    if not kept:  # it was cancelled meanwhile, and there is another mail about that
        return None
    attachments = [
        (files.PDF_NAME, files.printed(booking, kept), files.PDF),
        calendar([booking]),
    ]
    letter = booking_letter(
        booking,
        "tickets/mail/tickets",
        "Your tickets",
        attachments=attachments,
        pictures=[_picture(ticket) for ticket in kept],
        kept=len(kept),
    )
    codes = [(_name(each), each.code) for each in kept]
    return replace(
        letter, context={**letter.context, "details": [*letter.context["details"], *codes]}
    )


def my_bookings(mail: Mail) -> Letter | None:
    """Links to the upcoming bookings of an address, of its guest and its account; None if it has none."""
    now = clock.now()
    upcoming = Booking.objects.filter(user__email=mail.address).upcoming(now).with_details()
    bookings = list(upcoming[: LISTED + 1])
    if not bookings:
        return None
    listed, first = bookings[:LISTED], bookings[0]
    what = "Your booking" if len(bookings) == 1 else "Your upcoming bookings, the next one"
    context: dict[str, Any] = {
        "name": name_for(first),
        "of_guest": any(booking.user.is_guest for booking in listed),
        "of_account": any(not booking.user.is_guest for booking in listed),
        "parts": [_part(booking) for booking in listed],
        "count": len(listed),
        "more": len(bookings) > len(listed),
    }
    if context["of_account"]:
        context["link"] = ("My bookings", settings.SITE_URL + reverse("bookings:list"))
    return Letter(subject_about(first, what), "tickets/mail/my_bookings", context)


def _part(booking: Booking) -> dict[str, Any]:
    return {
        "details": details_of(booking),
        "links": [link_to(booking), *_links_to_tickets(booking)],
    }


def _links_to_tickets(booking: Booking) -> list[tuple[str, str]]:
    try:
        tickets = fulfil(booking, now=clock.now())
    except NotConfirmed:
        return []
    return [
        (
            _name(ticket),
            settings.SITE_URL + reverse("ticket", args=[ticket.token]),
        )
        for ticket in tickets
        if ticket.is_valid
    ]


def message(mail: Mail) -> Letter | None:
    """What staff write to holders; None if this person has given all the tickets back."""
    written = HolderMessage.objects.select_related("concert", "tier", "made_by").get(pk=mail.about)
    if written.is_test:
        return sample(written)
    of_mail = Booking.objects.filter(reached__mail=mail.pk, status=Booking.Status.CONFIRMED)
    # The link of a guest's booking opens it, so it goes to nobody but the guest.
    theirs = of_mail.filter(Q(user__is_guest=False) | Q(user__email=mail.address))
    bookings = list(theirs.with_details().order_by("pk"))
    return _message(written, bookings) if bookings else None


def sample(written: HolderMessage) -> Letter:
    """Draw the mail for its author, as if they had booked."""
    tier = written.tier or written.concert.ticket_tiers.by_price().first()
    booking = Booking(pk=UUID(int=0), user=written.made_by, ticket_tier=tier, quantity=2)
    letter = _message(written, [booking])
    of_nothing = ("See your booking", settings.SITE_URL + reverse("bookings:list"))
    return replace(letter, context={**letter.context, "link": of_nothing})


def _message(written: HolderMessage, bookings: Sequence[Booking]) -> Letter:
    first = bookings[0]
    context: dict[str, Any] = {
        "title": written.subject,
        "said": written.text,
        "name": name_for(first),
    }
    if len(bookings) == 1:
        context |= {"details": details_of(first), "link": link_to(first)}
    else:
        context["parts"] = [
            {"details": details_of(each), "links": [link_to(each)]} for each in bookings[:LISTED]
        ]
    subject = f"Test: {written.subject}" if written.is_test else written.subject
    return Letter(subject, "tickets/mail/message", context)


def calendar(bookings: Sequence[Booking]) -> Attachment:
    """The concert of these bookings, as it is now."""
    return files.CALENDAR_NAME, files.for_calendars(bookings), files.CALENDAR


def _name(ticket: Ticket) -> str:
    return f"Ticket {ticket.number} of {ticket.booking.quantity}"


def _picture(ticket: Ticket) -> Picture:
    drawn = qr.png(ticket.token)
    return Picture(drawn, _name(ticket), f"QR code of ticket {ticket.number}", QR_WIDTH)
