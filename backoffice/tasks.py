"""Jobs of the back office. Each may run twice or late without doing harm."""

from procrastinate.contrib.django import app

from backoffice import days
from backoffice.auditing import run_audit
from backoffice.verbs import once
from ticketbook.postgres import clock

EVERY_HOUR = "7 * * * *"
# At night, because it reads everything in one snapshot.
EVERY_NIGHT = "20 4 * * *"


@app.periodic(cron=EVERY_HOUR)
@app.task(queueing_lock="close_days")
def close_days(timestamp: int) -> None:
    days.close_days(clock.ask())


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="audit")
def audit(timestamp: int) -> None:
    run_audit()


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_sent_forms")
def forget_sent_forms(timestamp: int) -> None:
    once.forget_old(clock.ask())
