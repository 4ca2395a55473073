"""A COMMIT of holds whose answer was lost: the database is asked what became of it, by the wishes' keys.

A connection may break after COMMIT was sent, as it does at a failover. Then nobody knows whether the holds
are there. If the buyers were told to try again, their keys would find holds that nobody charges. So the same
wishes are served again. Each finds by its key what the lost attempt has made, or gets its tickets now.

That answers for the future too: the second transaction locks the tier, so it writes, and its COMMIT waits for
the standby as every other does. What it has read is then safe with the standby as well.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from bookings.models import Booking
from bookings.settling import Settlement
from bookings.tier_transaction import LockedTier
from bookings.wishes import Held, HoldResult, Wish
from bookings.writing_later import leave_to_resolver
from ticketbook.postgres.failures import CommitUnknown, is_busy

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

LOOK_FOR = 8.0  # seconds; less than the PATIENCE of those who wait in a lane
BETWEEN_LOOKS = 0.2  # seconds


class Attempts:
    """Several attempts to serve the same wishes, which know what the earlier ones may have made."""

    def __init__(self) -> None:
        self._answers: list[HoldResult] = []

    def serve(
        self, tier: LockedTier, wishes: Sequence[Wish], settlements: Sequence[Settlement] = ()
    ) -> tuple[list[HoldResult], list[bool]]:
        """As LockedTier.serve. A hold that an earlier attempt has made counts as new, once."""
        answers, written = tier.serve(wishes, settlements)
        if self._answers:
            made = {held.booking.pk: held for held in self._made()}
            answers = [_ours(answer, made) for answer in answers]
        self._answers = self._answers + answers
        return answers, written

    def _made(self) -> list[Held]:
        return [a for a in self._answers if isinstance(a, Held) and not a.replayed]

    def give_up(self) -> None:
        """Nobody will charge what the attempts may have made."""
        leave_to_resolver([held.booking for held in self._made()])


def _ours(answer: HoldResult, unclaimed: dict[UUID, Held]) -> HoldResult:
    # One that the resolver has taken meanwhile is left to it.
    if isinstance(answer, Held) and answer.replayed:
        found = answer.booking
        if found.status == Booking.Status.PENDING and not found.outcome_unknown:
            return unclaimed.pop(found.pk, answer)
    return answer


def once_known(attempt: Callable[[Attempts], Result]) -> Result:
    """What the attempt returns. If its COMMIT is lost, it is made again until the database says how it ended.

    Raises what the database raises, if that does not come back within LOOK_FOR seconds. Holds may exist then.
    They are left to the resolver as soon as it is back.
    """
    attempts, until = Attempts(), None
    while True:
        try:
            return attempt(attempts)
        except Exception as exc:
            if isinstance(exc, CommitUnknown) and until is None:
                until = time.monotonic() + LOOK_FOR
                logger.warning("The answer to a COMMIT of holds was lost: %s", exc)
            if until is None:
                raise
            if not is_busy(exc) or time.monotonic() > until:
                attempts.give_up()
                raise
        time.sleep(BETWEEN_LOOKS)
