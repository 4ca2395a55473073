"""A gateway for the demo and for tests: no money moves."""

import asyncio
import hashlib
from decimal import Decimal
from uuid import UUID

from django.conf import settings

from bookings.gateways.base import GatewayUnavailable, Outcome


class SimulatedGateway:
    """Decides by a hash of the key, so it stores nothing and gives the same answer in every process.

    The settings PAYMENT_… steer it (README). Of the charges that time out, a share has taken effect all
    the same, and a look-up shows it. The others never reached the gateway.
    """

    async def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        await self._answer_within(time_limit, key)
        if self._times_out(key):
            raise GatewayUnavailable
        return self._decision(key)

    async def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        await self._answer_within(time_limit, key)
        lost = self._times_out(key) and not self._chance(
            "effect", key, settings.PAYMENT_TIMEOUT_EFFECT_RATE
        )
        return Outcome.NOT_FOUND if lost else self._decision(key)

    async def refund(
        self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float
    ) -> None:
        await self._answer_within(time_limit, key)

    async def _answer_within(self, time_limit: float, key: UUID) -> None:
        latency = settings.PAYMENT_LATENCY_MS / 1000
        if spread := settings.PAYMENT_LATENCY_SPREAD_MS / 1000:
            latency = max(0.0, latency + spread * (2 * self._share("latency", key) - 1))
        if latency:
            await asyncio.sleep(min(latency, time_limit))
        if settings.PAYMENT_OUTAGE or latency > time_limit:
            raise GatewayUnavailable

    def _times_out(self, key: UUID) -> bool:
        return self._chance("timeout", key, settings.PAYMENT_TIMEOUT_RATE)

    def _decision(self, key: UUID) -> Outcome:
        paid = self._chance("success", key, settings.PAYMENT_SUCCESS_RATE)
        return Outcome.SUCCEEDED if paid else Outcome.DECLINED

    def _chance(self, question: str, key: UUID, rate: float) -> bool:
        return rate > 0 and (rate >= 1 or self._share(question, key) < rate)

    def _share(self, question: str, key: UUID) -> float:
        # A number in [0, 1) that depends on the key only.
        digest = hashlib.sha256(f"{question}:{key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64
