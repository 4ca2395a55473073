"""Background jobs, as those of bookings/tasks.py."""

from procrastinate.contrib.django import app

from bookings.tasks import URGENT
from ticketbook.postgres import clock
from tickets.fulfilment import fulfil_waiting

EVERY_TWO_SECONDS = "* * * * * */2"  # the sixth field is the seconds


@app.periodic(cron=EVERY_TWO_SECONDS)
@app.task(queueing_lock="fulfil_bookings", priority=URGENT)
def fulfil_bookings(timestamp: int) -> None:
    fulfil_waiting(now=clock.ask())
