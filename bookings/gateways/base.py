"""What a payment gateway has to do, and how it answers."""

from decimal import Decimal
from enum import Enum
from typing import Protocol
from uuid import UUID


class Outcome(Enum):
    SUCCEEDED = "succeeded"  # the money is ours
    DECLINED = "declined"  # no money moved, and none will under this key
    NOT_FOUND = "not_found"  # from a look-up only: no charge under this key has taken effect so far


class GatewayUnavailable(Exception):
    """The payment gateway did not answer in time. We do not know what it did."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class PaymentGateway(Protocol):
    """What a gateway has to do. Amounts are in CURRENCY, `time_limit` is in seconds.

    Each call may raise GatewayUnavailable; it may or may not have taken effect then. SUCCEEDED and DECLINED
    are final for a key. NOT_FOUND may later become either.

    All calls run on the event loop of the process, so that a slow gateway holds no thread. A session with
    its connections belongs to that loop; if there is an `async def close()`, it is called at the end of the
    process. A gateway of plain functions works too: they run on PAYMENT_THREADS threads.
    """

    async def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        """Take the money, once for each key. Returns SUCCEEDED or DECLINED."""

    async def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        """What became of the charge under this key. It changes nothing."""

    async def refund(
        self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float
    ) -> None:
        """Send the money of a charge back, once for each key. It is done when this returns."""
