from knox.models import AuthToken
from procrastinate.contrib.django import app

from accounts import closing, new_password
from accounts.models import Attempts, Session
from mail.models import Mail
from ticketbook.postgres import clock

EVERY_NIGHT = "17 3 * * *"


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_expired_tokens")
def forget_expired_tokens(timestamp: int) -> None:
    AuthToken.objects.filter(expiry__lt=clock.ask()).delete()


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_expired_sessions")
def forget_expired_sessions(timestamp: int) -> None:
    Session.objects.filter(expire_date__lt=clock.ask()).delete()


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_addresses")
def forget_addresses(timestamp: int) -> None:
    closing.forget_addresses()
    # Nobody has an account with these addresses. Somebody has only typed them.
    Mail.objects.filter(kind=new_password.RESET, status=Mail.Status.SKIPPED).delete()


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_old_attempts")
def forget_old_attempts(timestamp: int) -> None:
    Attempts.objects.filter(forgotten_at__lt=clock.ask()).delete()
