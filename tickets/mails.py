"""The mail with the tickets of a booking: their codes in words, and two files."""

from dataclasses import replace

from bookings.mails import booking_letter
from bookings.models import Booking
from mail.kinds import Letter
from mail.models import Mail
from tickets import files
from tickets.fulfilment import tickets_of


def tickets(mail: Mail) -> Letter | None:
    booking = Booking.objects.with_details().get(pk=mail.about)
    kept = [ticket for ticket in tickets_of(booking) if ticket.is_valid]
    if not kept:  # it was cancelled meanwhile, and there is another mail about that
        return None
    attachments = [
        (files.PDF_NAME, files.printed(booking, kept), files.PDF),
        (files.CALENDAR_NAME, files.for_calendars(booking), files.CALENDAR),
    ]
    letter = booking_letter(
        booking, "tickets/mail/tickets", "Your tickets", attachments=attachments, kept=len(kept)
    )
    codes = [(f"Ticket {each.number} of {booking.quantity}", each.code) for each in kept]
    return replace(
        letter, context={**letter.context, "details": [*letter.context["details"], *codes]}
    )
