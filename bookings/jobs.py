from procrastinate.contrib.django import app

from bookings.models import Booking


def defer(task: str, booking: Booking) -> None:
    """Put a job of bookings/tasks.py on the queue, inside the caller's transaction.

    A rollback takes the job along, and a commit can no longer lose it.
    """
    app.configure_task(f"bookings.tasks.{task}").defer(booking_id=str(booking.pk))
