"""What a payment gateway has to do, and how it answers (docs/payments.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Protocol
from uuid import UUID


class Outcome(Enum):
    SUCCEEDED = "succeeded"  # the money is ours
    DECLINED = "declined"  # no money moved, and none will under this key
    CANCELLED = "cancelled"  # the payment was closed before anybody paid; none will under this key
    OPEN = "open"  # from a look-up only: the customer has not paid yet, and still can
    NOT_FOUND = "not_found"  # from a look-up only: no charge under this key has taken effect so far


# After these, no other outcome follows under the same key.
FINAL = {Outcome.SUCCEEDED, Outcome.DECLINED, Outcome.CANCELLED}


class GatewayUnavailable(Exception):
    """The payment gateway did not answer in time. We do not know what it did."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class RefundRefused(Exception):
    """The gateway will not send this refund, however often we ask. Its message is for staff."""


class PaymentGateway(Protocol):
    """A gateway that answers a charge at once.

    Amounts are in CURRENCY, `time_limit` is in seconds. Each call may raise GatewayUnavailable; it may or may
    not have taken effect then. SUCCEEDED, DECLINED and CANCELLED are final for a key. NOT_FOUND and OPEN may
    later become any other.

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
        """Send money of a charge back, all of it or a part, once for each key.

        It is done when this returns. Raises RefundRefused if it can never be done.
        """


@dataclass(frozen=True, slots=True)
class ActionNeeded:
    """The customer has to go to `url` and pay there."""

    url: str
    reference: str  # the gateway's own name of the payment; later calls pass it on


@dataclass(frozen=True, slots=True)
class Event:
    """What a gateway tells us by a webhook."""

    id: str  # of the event; the gateway sends it again under the same id
    type: str  # in the gateway's words
    key: UUID | None = None  # of the charge it is about, if it is about one
    claim: Outcome | None = None  # what it says became of the charge, if it says so
    alert: str = ""  # a sentence for staff, if one of them has to act (a dispute)


class BadEvent(Exception):
    """This is not an event of our gateway: its signature does not fit, or it is too old."""


class RedirectingGateway(Protocol):
    """A gateway that sends customers to a page of its own, where they pay.

    The rules of PaymentGateway hold. `reference` is what `begin` returned, or "" if its answer was lost; then
    the gateway has to find the payment by its key.
    """

    hold_seconds: float  # how long the customer may take; then we cancel the payment

    @staticmethod
    def page_origins() -> list[str]:
        """The origins of its pages, such as https://pay.example.com; optional.

        The form that books leads there at once. To any other origin it leads by the page of the booking,
        which has a button, because a browser lets a form lead only where the policy of its page says.
        """

    async def begin(
        self,
        *,
        key: UUID,
        amount: Decimal,
        description: str,
        return_url: str,
        created_at: datetime,
        time_limit: float,
    ) -> ActionNeeded | Outcome:
        """Make a payment that the customer can make at a URL, one for each key.

        A second call with the same key finds the first payment. The gateway sends the customer to
        `return_url` afterwards. `created_at` is the same in every call for a key.
        """

    async def look_up(self, *, key: UUID, reference: str, time_limit: float) -> Outcome:
        """What became of the payment. It changes nothing."""

    async def cancel(self, *, key: UUID, reference: str, time_limit: float) -> Outcome:
        """Close a payment, so that it cannot be paid any more, also if it was never begun.

        Returns CANCELLED; or SUCCEEDED or DECLINED if the customer was faster.
        """

    async def refund(
        self, *, key: UUID, charge_key: UUID, reference: str, amount: Decimal, time_limit: float
    ) -> None:
        """As PaymentGateway.refund."""

    async def read_event(
        self, *, body: bytes, headers: Mapping[str, str], time_limit: float
    ) -> Event:
        """The event that a webhook brings. The names of `headers` are in lower case. Raises BadEvent."""
