"""Background jobs, as those of bookings/tasks.py."""

from time import monotonic

from procrastinate.contrib.django import app

from bookings.tasks import URGENT
from ticketbook.postgres import clock
from tickets.fulfilment import fulfil_waiting
from tickets.lost_mail import forget_strangers
from tickets.messages import write_some

EVERY_TWO_SECONDS = "* * * * * */2"  # the sixth field is the seconds
EVERY_FIVE_SECONDS = "* * * * * */5"
AT_A_STRETCH = 4  # seconds
EVERY_NIGHT = "47 3 * * *"


@app.periodic(cron=EVERY_TWO_SECONDS)
@app.task(queueing_lock="fulfil_bookings", priority=URGENT)
def fulfil_bookings(timestamp: int) -> None:
    fulfil_waiting(now=clock.ask())


@app.periodic(cron=EVERY_FIVE_SECONDS)
@app.task(queueing_lock="write_messages")
def write_messages(timestamp: int) -> None:
    # The rows say what is left, so there is no job that could be lost.
    until = monotonic() + AT_A_STRETCH
    while write_some(now=clock.ask()) and monotonic() < until:
        pass


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_strangers")
def forget_strangers_who_lost_mails(timestamp: int) -> None:
    forget_strangers(now=clock.ask())
