"""The payment gateway: what we ask of any, the simulated one, and the calls we make.

A booking's id is the idempotency key of its charge, so whoever asks, and however often, the customer
pays at most once. All calls happen outside of transactions and locks.
"""

import hashlib
import time
from decimal import Decimal
from enum import Enum
from typing import Protocol
from uuid import UUID, uuid5

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from bookings.models import Booking


class Outcome(Enum):
    SUCCEEDED = "succeeded"  # the money is ours
    DECLINED = "declined"  # no money moved, and none will under this key
    NOT_FOUND = "not_found"  # look-up only: no charge under this key took effect so far


class GatewayUnavailable(Exception):
    """The payment gateway did not answer in time; what it did is not known."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class PaymentGateway(Protocol):
    """Amounts are in CURRENCY, `time_limit` is in seconds.

    Each call may raise GatewayUnavailable, and then it may or may not have taken effect. The same
    key gets the same answer for ever, once it got one.
    """

    def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        """Take the money once per key: SUCCEEDED or DECLINED."""

    def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        """What became of the charge under this key. Changes nothing."""

    def refund(self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float) -> None:
        """Send the money of a charge back, once per key. Returning means that it is done."""


class SimulatedGateway:
    """Decides by a hash of the key: the same answer in every process and for ever, nothing stored.

    PAYMENT_SUCCESS_RATE is the share of charges that succeed. PAYMENT_TIMEOUT_RATE is the share
    that ends without an answer; of these, PAYMENT_TIMEOUT_EFFECT_RATE took effect all the same and
    a look-up shows it, the others never reached the gateway. PAYMENT_LATENCY_MS is how long each
    call takes; a call slower than its time limit ends there. PAYMENT_OUTAGE: no call is answered.
    """

    def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        self._answer_within(time_limit)
        if self._times_out(key):
            raise GatewayUnavailable
        return self._decision(key)

    def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        self._answer_within(time_limit)
        lost = self._times_out(key) and not self._chance(
            "effect", key, settings.PAYMENT_TIMEOUT_EFFECT_RATE
        )
        return Outcome.NOT_FOUND if lost else self._decision(key)

    def refund(self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float) -> None:
        self._answer_within(time_limit)

    def _answer_within(self, time_limit: float) -> None:
        latency = settings.PAYMENT_LATENCY_MS / 1000
        time.sleep(min(latency, time_limit))
        if settings.PAYMENT_OUTAGE or latency > time_limit:
            raise GatewayUnavailable

    def _times_out(self, key: UUID) -> bool:
        return self._chance("timeout", key, settings.PAYMENT_TIMEOUT_RATE)

    def _decision(self, key: UUID) -> Outcome:
        paid = self._chance("success", key, settings.PAYMENT_SUCCESS_RATE)
        return Outcome.SUCCEEDED if paid else Outcome.DECLINED

    def _chance(self, question: str, key: UUID, rate: float) -> bool:
        digest = hashlib.sha256(f"{question}:{key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < rate * 2**64


def gateway() -> PaymentGateway:
    chosen: PaymentGateway = import_string(settings.PAYMENT_GATEWAY)()
    return chosen


def time_limit() -> float:
    """Seconds a call may take: a charge must be over, and written down, before its hold expires."""
    return min(settings.PAYMENT_TIME_LIMIT_MS / 1000, 0.8 * settings.HOLD_SECONDS)


def charge(booking: Booking) -> Outcome:
    """Ask for the booking's money. Raises GatewayUnavailable. A free ticket needs no gateway."""
    _outside_of_transactions()
    if not booking.total_price:
        return Outcome.SUCCEEDED
    return gateway().charge(key=booking.pk, amount=booking.total_price, time_limit=time_limit())


def look_up(booking: Booking) -> Outcome:
    """What became of the booking's charge. Raises GatewayUnavailable."""
    _outside_of_transactions()
    if not booking.total_price:
        return Outcome.SUCCEEDED
    return gateway().look_up(key=booking.pk, time_limit=time_limit())


def refund(booking: Booking) -> None:
    """Send the booking's money back, once however often it is called. Raises GatewayUnavailable."""
    _outside_of_transactions()
    if booking.total_price:
        gateway().refund(
            key=uuid5(booking.pk, "refund"),
            charge_key=booking.pk,
            amount=booking.total_price,
            time_limit=time_limit(),
        )


def _outside_of_transactions() -> None:
    """Raise RuntimeError inside a transaction: a slow gateway must never hold a lock."""
    if transaction.get_connection().in_atomic_block:
        with transaction.atomic(durable=True):
            pass
