from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection
from procrastinate.contrib.django import app
from procrastinate.exceptions import ConnectorException

from bookings.models import Booking
from concerts.models import Concert


def defer(task: str, booking: Booking) -> None:
    """Put a job of bookings/tasks.py on the queue, in the caller's transaction.

    A rollback removes the job too. Of the same jobs for one booking, one at a time runs. Raises what the
    database raises.
    """
    lock = f"{task} {booking.pk}"
    with _errors_of_django():
        app.configure_task(f"bookings.tasks.{task}", lock=lock).defer(booking_id=str(booking.pk))


def defer_for_concert(task: str, concert: Concert) -> None:
    """As `defer`, for a job that is about all bookings of a concert."""
    lock = f"{task} {concert.pk}"
    with _errors_of_django():
        app.configure_task(f"bookings.tasks.{task}", lock=lock).defer(concert_id=str(concert.pk))


@contextmanager
def _errors_of_django() -> Iterator[None]:
    # procrastinate has an error of its own for a lost connection. Doors know only "busy".
    try:
        yield
    except ConnectorException as exc:
        if not isinstance(exc.__cause__, psycopg.Error):
            raise
        with connection.wrap_database_errors:
            raise exc.__cause__ from exc
