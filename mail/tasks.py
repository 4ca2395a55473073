"""The jobs that send mails and forget old ones. The rows say what is to be done, so a job may run twice."""

from datetime import timedelta
from threading import Lock
from time import monotonic

from procrastinate.contrib.django import app

from mail.models import Mail
from mail.sending import send_due
from ticketbook.postgres import clock

EVERY_SECOND = "* * * * * *"
EVERY_NIGHT = "50 3 * * *"
AT_A_STRETCH = 5  # seconds; a worker that is told to end has not long to wait

# Rows are kept so long after they were made. Failed ones stay longer, because staff may not have looked yet.
KEPT = timedelta(days=180)
FAILED_KEPT = timedelta(days=365)

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


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_mails")
def forget_mails(timestamp: int) -> None:
    now = clock.ask()
    done = Mail.objects.filter(status__in=[Mail.Status.SENT, Mail.Status.SKIPPED])
    done.filter(made_at__lt=now - KEPT).delete()
    Mail.objects.failed().filter(made_at__lt=now - FAILED_KEPT).delete()
