"""To settle a hold on the event loop, when the gateway's answer has come or is asked for."""

from datetime import datetime

from bookings import payments
from bookings.gateways.base import FINAL, Outcome
from bookings.models import Booking
from bookings.settling import Settlement, settle
from bookings.steps import Steps


async def settle_by(booking: Booking, outcome: Outcome, steps: Steps, *, now: datetime) -> Booking:
    """Settle a hold by the gateway's answer. Returns the booking as it stands afterwards."""
    if outcome is Outcome.CANCELLED:
        # Not in a lane, because `settle` also defers a job that looks for money that comes all the same.
        return await steps.call(lambda: settle(booking, outcome, now=now))
    settlement = Settlement(booking, outcome, now)
    if await steps.settle(settlement):
        return settlement.applied()
    # Somebody else has settled the booking meanwhile. If it failed then and is paid now, the money is late
    # and has to be refunded.
    return await steps.call(lambda: settle(booking, outcome, now=now))


async def ask_and_settle(booking: Booking, steps: Steps, *, now: datetime) -> Outcome:
    """Ask the gateway about a booking's payment, and settle it if the answer is final.

    Returns the answer. Raises GatewayUnavailable, and what the database raises.
    """
    outcome = await payments.alook_up(booking)
    # Only money can change a booking that was settled before.
    waits = booking.status == Booking.Status.PENDING
    if outcome is Outcome.SUCCEEDED or (waits and outcome in FINAL):
        await settle_by(booking, outcome, steps, now=now)
    return outcome
