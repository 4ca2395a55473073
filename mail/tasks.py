"""The job that sends mails. The rows say what there is to do, so it may run twice, late or not at all."""

from threading import Lock
from time import monotonic

from procrastinate.contrib.django import app

from mail.sending import send_due
from ticketbook.postgres import clock

EVERY_SECOND = "* * * * * *"
AT_A_STRETCH = 5  # seconds; a worker that is told to end has not long to wait

# A server that hangs keeps one job of a worker waiting, and the others are done.
_sending = Lock()


@app.periodic(cron=EVERY_SECOND)
@app.task(queueing_lock="send_mails")
def send_mails(timestamp: int) -> None:
    if not _sending.acquire(blocking=False):
        return
    try:
        until = monotonic() + AT_A_STRETCH
        while send_due(now=clock.ask()) and monotonic() < until:
            pass
    finally:
        _sending.release()
