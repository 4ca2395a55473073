"""For bookings that staff sell at the door: the money changes hands in front of them."""

from decimal import Decimal
from uuid import UUID

from bookings.gateways.base import Outcome


class CashGateway:
    async def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        return Outcome.SUCCEEDED

    async def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        # The sale broke off before staff saw "booked", so they have to count this one as not sold.
        return Outcome.NOT_FOUND

    async def refund(
        self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float
    ) -> None:
        """It is not called: staff hand the money over, and say so (bookings/refunding.py)."""
