"""Background jobs. Each may run twice, late, or on two workers at once without doing harm.

The rows say what is to be done, and a job makes it happen soon. procrastinate keeps the jobs in our
database, and a job is deferred inside the transaction that needs it.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Status

from bookings import calling_off, guests, payments
from bookings.events import handle_left_over
from bookings.gateways.base import GatewayUnavailable, Outcome
from bookings.models import Booking, PaymentEvent, Refund
from bookings.refunding import send_refunds, send_together
from bookings.rescuing import broken_off
from bookings.resolving import poll, resolve_expired
from bookings.settling import settle
from ticketbook.postgres import clock

EVERY_TEN_SECONDS = "* * * * * */10"  # the sixth field is the seconds
EVERY_MINUTE = "* * * * *"
EVERY_NIGHT = "40 3 * * *"
URGENT = 10  # before refunds, because customers wait for these tickets

# 10, 20, 30 … seconds between attempts, for as long as the gateway is away.
UNTIL_DONE = RetryStrategy(wait=10, linear_wait=10)
LOOKS = 13  # for a late payment, after 10, 20, 40 … seconds: about half a day in all
A_MONTH = timedelta(days=30)


@app.periodic(cron=EVERY_TEN_SECONDS)
@app.task(queueing_lock="resolve_holds", priority=URGENT)
def resolve_holds(timestamp: int) -> None:
    while resolve_expired(now=clock.ask()):
        pass


@app.periodic(cron=EVERY_TEN_SECONDS)
@app.task(queueing_lock="poll_payments")
def poll_payments(timestamp: int) -> None:
    poll(now=clock.ask())


@app.task(retry=UNTIL_DONE)
def refund_booking(booking_id: str) -> None:
    send_refunds(Booking.objects.get(pk=booking_id), now=clock.ask())


@app.task(retry=UNTIL_DONE)
def send_refunds_of_concert(concert_id: str) -> None:
    # A concert that was called off may owe thousands, so they are sent some at a time. Those that were sent
    # are not due any more, so a job that breaks off goes on where it was.
    due = Refund.objects.due().of_called_off(UUID(concert_id)).select_related("booking")
    last, unanswered = NO_ID, 0
    while refunds := list(due.filter(pk__gt=last).order_by("pk")[:REFUNDS_AT_ONCE]):
        last = refunds[-1].pk
        silent = send_together(refunds, now=clock.ask())
        unanswered += silent
        if silent == len(refunds):  # the gateway is away
            break
    if unanswered:
        raise GatewayUnavailable


NO_ID = UUID(int=0)
REFUNDS_AT_ONCE = 20


@app.periodic(cron=EVERY_MINUTE)
@app.task(queueing_lock="finish_calling_off")
def finish_calling_off(timestamp: int) -> None:
    calling_off.finish(now=clock.ask())


@app.periodic(cron=EVERY_MINUTE)
@app.task(queueing_lock="find_owed_refunds")
def find_owed_refunds(timestamp: int) -> None:
    # A refund whose job was lost is found by its row.
    a_minute_ago = clock.ask() - timedelta(minutes=1)
    due = Refund.objects.due().filter(created_at__lt=a_minute_ago).order_by()
    called_off = due.filter(reason=Refund.Reason.CALLED_OFF)
    for pk in called_off.values_list("booking__ticket_tier__concert", flat=True).distinct():
        _defer_once(send_refunds_of_concert, pk, concert_id=str(pk))
    others = due.exclude(reason=Refund.Reason.CALLED_OFF)
    for pk in others.values_list("booking_id", flat=True).distinct():
        _defer_once(refund_booking, pk, booking_id=str(pk))


def _defer_once(job: Any, pk: UUID, **arguments: str) -> None:
    # The lock is the one of bookings/jobs.py, so that it does not run beside the job that was deferred there.
    lock = f"{job.name.rpartition('.')[2]} {pk}"
    with suppress(AlreadyEnqueued):
        job.configure(queueing_lock=lock, lock=lock).defer(**arguments)


@app.task(retry=UNTIL_DONE)
def look_for_late_payment(booking_id: str, looks: int = 1) -> None:
    """After a hold expired: if its charge went through after all, refund it.

    A payment that the gateway does not know may still be on its way to it, and one that was closed may have
    been made at that moment. So this looks again later. Only answers count as looks, not silence.
    """
    booking = Booking.objects.get(pk=booking_id)
    if booking.payment_status != Booking.PaymentStatus.FAILED:
        return
    outcome = payments.close_payment(booking)
    if outcome is Outcome.SUCCEEDED:
        settle(booking, outcome, now=clock.ask())
    elif outcome is not Outcome.DECLINED and looks < LOOKS:
        # Not `schedule_in`, which counts by the clock of this machine.
        at = clock.ask() + timedelta(seconds=10 * 2 ** (looks - 1))
        later = look_for_late_payment.configure(schedule_at=at)
        later.defer(booking_id=booking_id, looks=looks + 1)


@app.periodic(cron=EVERY_MINUTE)
@app.task(queueing_lock="rescue_jobs", priority=URGENT)
async def rescue_jobs(timestamp: int) -> None:
    periodic = {each.task.name for each in app.periodic_registry.periodic_tasks.values()}
    for job in await broken_off(app):
        with suppress(ConnectorException):  # another rescuer was faster
            if job.task_name in periodic:  # its next run is queued anyway
                await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)
            else:
                await app.job_manager.retry_job(job)


@app.periodic(cron=EVERY_MINUTE)
@app.task(queueing_lock="handle_events")
def handle_events(timestamp: int) -> None:
    # Events whose handling broke off, in case the gateway does not send them again.
    handle_left_over(now=clock.ask())


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_events")
def forget_events(timestamp: int) -> None:
    old = PaymentEvent.objects.filter(received_at__lt=clock.ask() - A_MONTH, alert="")
    old.exclude(handled_at=None).delete()


@app.periodic(cron=EVERY_NIGHT)
@app.task(queueing_lock="forget_guests")
def forget_guests(timestamp: int) -> None:
    guests.forget_unused(now=clock.ask())
