"""The mail with the tickets of a booking: their codes in words and as pictures, and two files.

The file for calendars also comes with the mails of bookings/mails.py that change a plan.
"""

from collections.abc import Sequence
from dataclasses import replace

from bookings.mails import booking_letter
from bookings.models import Booking
from mail.kinds import Attachment, Letter, Picture
from mail.models import Mail
from tickets import files, qr
from tickets.fulfilment import tickets_of
from tickets.models import Ticket

QR_WIDTH = 228  # CSS pixels, half of what the picture has, so that it is sharp on fine screens too


def tickets(mail: Mail) -> Letter | None:
    booking = Booking.objects.with_details().get(pk=mail.about)
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


def calendar(bookings: Sequence[Booking]) -> Attachment:
    """The concert of these bookings, as it is now."""
    return files.CALENDAR_NAME, files.for_calendars(bookings), files.CALENDAR


def _name(ticket: Ticket) -> str:
    return f"Ticket {ticket.number} of {ticket.booking.quantity}"


def _picture(ticket: Ticket) -> Picture:
    drawn = qr.png(ticket.token)
    return Picture(drawn, _name(ticket), f"QR code of ticket {ticket.number}", QR_WIDTH)
