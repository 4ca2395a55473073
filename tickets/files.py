"""What customers take away of a confirmed booking: its tickets as PDF, and its concert for their calendar."""

from collections.abc import Callable, Iterable, Sequence

from django.http import HttpResponse

from bookings.models import Booking
from ticketbook.postgres import clock
from tickets.errors import NotConfirmed
from tickets.fulfilment import fulfil
from tickets.models import Ticket

PDF, CALENDAR = "application/pdf", "text/calendar"
PDF_NAME, CALENDAR_NAME = "tickets.pdf", "concert.ics"

Make = Callable[[Booking], HttpResponse]


def printed(booking: Booking, tickets: Iterable[Ticket]) -> bytes:
    """The valid ones of these tickets as PDF."""
    from tickets import pdf  # only here, because the import takes a while, and few processes print

    return pdf.tickets_pdf(booking, tickets)


def for_calendars(bookings: Sequence[Booking]) -> bytes:
    """The concert of these bookings, which is one."""
    from tickets import calendar  # likewise

    return calendar.bookings_ics(bookings)


def pdf_file(booking: Booking) -> HttpResponse:
    """Raises NotConfirmed."""
    tickets = fulfil(booking, now=clock.now())
    return _download(printed(booking, tickets), PDF_NAME, PDF)


def calendar_file(booking: Booking) -> HttpResponse:
    """Raises NotConfirmed."""
    if booking.status != Booking.Status.CONFIRMED:
        raise NotConfirmed
    return _download(for_calendars([booking]), CALENDAR_NAME, f"{CALENDAR}; charset=utf-8")


def _download(data: bytes, name: str, content_type: str) -> HttpResponse:
    return HttpResponse(
        data,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
