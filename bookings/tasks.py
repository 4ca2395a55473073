"""Background work. Every job may run twice, or late, or on two workers at once, and nothing changes.

The rows say what is to be done; the jobs only see to it soon. procrastinate keeps them in our
database, and they are deferred inside the transaction that needs them.
"""

from contextlib import suppress
from datetime import timedelta

from django.utils import timezone
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Status

from bookings import payments
from bookings.cancelling import send_refund
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.resolving import resolve_expired
from bookings.settling import settle

EVERY_TEN_SECONDS = "* * * * * */10"  # the sixth field is the seconds
EVERY_MINUTE = "* * * * *"
URGENT = 10  # before refunds: customers wait for these tickets

# 10, 20, 30 … seconds between attempts, for as long as the gateway is away.
UNTIL_DONE = RetryStrategy(wait=10, linear_wait=10)
LOOKS = 100  # for a late payment, ever further apart: about half a day in all


@app.periodic(cron=EVERY_TEN_SECONDS)
@app.task(queueing_lock="resolve_holds", priority=URGENT)
def resolve_holds(timestamp: int) -> None:
    """Settle the holds past their time, batch by batch until none is due."""
    while resolve_expired(now=timezone.now()):
        pass


@app.task(retry=UNTIL_DONE)
def refund_booking(booking_id: str) -> None:
    """Send back the money that a cancelled or expired booking owes."""
    send_refund(Booking.objects.get(pk=booking_id), now=timezone.now())


@app.periodic(cron=EVERY_MINUTE)
@app.task(queueing_lock="find_owed_refunds")
def find_owed_refunds(timestamp: int) -> None:
    """See to every refund that is owed, whatever became of its job: the row says so, not the queue."""
    a_minute_ago = timezone.now() - timedelta(minutes=1)
    for pk in Booking.objects.refund_owed().filter(updated_at__lt=a_minute_ago).values_list("pk"):
        with suppress(AlreadyEnqueued):
            refund_booking.configure(queueing_lock=f"refund {pk[0]}").defer(booking_id=str(pk[0]))


@app.task(retry=UNTIL_DONE)
def look_for_late_payment(booking_id: str, looks: int = 1) -> None:
    """A hold expired without the gateway's word: if the charge went through after all, refund it.

    A charge that the gateway knows nothing of may still be on its way to it, so look again later; only
    answers count towards the last look, not silence.
    """
    booking = Booking.objects.get(pk=booking_id)
    if booking.payment_status != Booking.PaymentStatus.FAILED:
        return
    outcome = payments.look_up(booking)
    if outcome is Outcome.SUCCEEDED:
        settle(booking, outcome, now=timezone.now())
    elif outcome is Outcome.NOT_FOUND and looks < LOOKS:
        later = look_for_late_payment.configure(schedule_in={"seconds": 10 * looks})
        later.defer(booking_id=booking_id, looks=looks + 1)


@app.periodic(cron=EVERY_MINUTE)
@app.task(queueing_lock="rescue_jobs", priority=URGENT)
async def rescue_jobs(timestamp: int) -> None:
    """Take up the jobs of workers that died in the middle of them."""
    for job in await app.job_manager.get_stalled_jobs():
        with suppress(ConnectorException):  # another rescuer was faster
            if job.queueing_lock in PERIODIC:  # its next run is queued, or will be, by itself
                await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)
            else:
                await app.job_manager.retry_job(job)


PERIODIC = {"resolve_holds", "find_owed_refunds", "rescue_jobs"}
