from procrastinate.contrib.django import app

from bookings.models import Booking
from concerts.models import Concert


def defer(task: str, booking: Booking) -> None:
    """Put a job of bookings/tasks.py on the queue, in the caller's transaction.

    A rollback removes the job too. Of the same jobs for one booking, one at a time runs.
    """
    lock = f"{task} {booking.pk}"
    app.configure_task(f"bookings.tasks.{task}", lock=lock).defer(booking_id=str(booking.pk))


def defer_for_concert(task: str, concert: Concert) -> None:
    """As `defer`, for a job that is about all bookings of a concert."""
    lock = f"{task} {concert.pk}"
    app.configure_task(f"bookings.tasks.{task}", lock=lock).defer(concert_id=str(concert.pk))
