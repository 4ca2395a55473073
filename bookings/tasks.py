"""Background work. Every job may run twice, or late, or on two workers at once, and nothing changes.

The rows say what is to be done; the jobs only see to it soon. procrastinate keeps them in our
database, and they are deferred inside the transaction that needs them.
"""

from django.utils import timezone
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from bookings import payments
from bookings.cancelling import send_refund
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.resolving import resolve_expired
from bookings.settling import confirm

EVERY_TEN_SECONDS = "* * * * * */10"  # the sixth field is the seconds
EVERY_MINUTE = "* * * * *"


class StillUnknown(Exception):
    """The gateway knows of no charge yet; the job looks again later."""


@app.periodic(cron=EVERY_TEN_SECONDS)
@app.task(queueing_lock="resolve_holds")
def resolve_holds(timestamp: int) -> None:
    """Settle the holds past their time, batch by batch until none is due."""
    now = timezone.now()
    while resolve_expired(now=now):
        pass


# 10, 20, 30 … seconds between attempts, for as long as the gateway is away.
@app.task(retry=RetryStrategy(wait=10, linear_wait=10))
def refund_booking(booking_id: str) -> None:
    """Send back the money that a cancelled or expired booking owes."""
    send_refund(Booking.objects.get(pk=booking_id), now=timezone.now())


# A hundred looks, ever further apart: about half a day in all.
@app.task(retry=RetryStrategy(max_attempts=100, wait=10, linear_wait=10))
def look_for_late_payment(booking_id: str) -> None:
    """A hold expired without the gateway's word: if the charge went through after all, refund it."""
    booking = Booking.objects.get(pk=booking_id)
    if booking.payment_status != Booking.PaymentStatus.FAILED:
        return
    outcome = payments.look_up(booking)
    if outcome is Outcome.NOT_FOUND:
        raise StillUnknown
    if outcome is Outcome.SUCCEEDED:
        confirm(booking, now=timezone.now())


@app.periodic(cron=EVERY_MINUTE)
@app.task(queueing_lock="rescue_jobs")
async def rescue_jobs(timestamp: int) -> None:
    """Take up the jobs of workers that died in the middle of them."""
    for job in await app.job_manager.get_stalled_jobs():
        await app.job_manager.retry_job(job)
