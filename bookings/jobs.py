from procrastinate.contrib.django import app

from bookings.models import Booking


def defer(task: str, booking: Booking) -> None:
    """Put a job of bookings/tasks.py on the queue, in the caller's transaction.

    A rollback removes the job too.
    """
    app.configure_task(f"bookings.tasks.{task}").defer(booking_id=str(booking.pk))
