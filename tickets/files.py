"""What customers take away of a confirmed booking: its tickets as PDF, and its concert for their calendar."""

from collections.abc import Callable

from django.http import HttpResponse

from bookings.models import Booking
from ticketbook.postgres import clock
from tickets import calendar, pdf
from tickets.errors import NotConfirmed
from tickets.fulfilment import fulfil

PDF, CALENDAR = "application/pdf", "text/calendar"
PDF_NAME, CALENDAR_NAME = "tickets.pdf", "concert.ics"

Make = Callable[[Booking], HttpResponse]


def pdf_file(booking: Booking) -> HttpResponse:
    """Raises NotConfirmed."""
    tickets = fulfil(booking, now=clock.now())
    return _download(pdf.tickets_pdf(booking, tickets), PDF_NAME, PDF)


def calendar_file(booking: Booking) -> HttpResponse:
    """Raises NotConfirmed."""
    if booking.status != Booking.Status.CONFIRMED:
        raise NotConfirmed
    return _download(calendar.booking_ics(booking), CALENDAR_NAME, f"{CALENDAR}; charset=utf-8")


def _download(data: bytes, name: str, content_type: str) -> HttpResponse:
    return HttpResponse(
        data,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
