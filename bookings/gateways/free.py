"""For bookings that staff give away: nobody pays."""

from decimal import Decimal
from uuid import UUID

from bookings.gateways.base import Outcome


class FreeGateway:
    async def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        return Outcome.SUCCEEDED

    async def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        return Outcome.SUCCEEDED

    async def refund(
        self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float
    ) -> None:
        """Nothing was paid, so nothing is sent back."""
