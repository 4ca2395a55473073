"""A circuit breaker in front of each payment gateway: while it fails, no hold is made that cannot be paid.

Each process counts for itself. PAYMENT_BREAKER_FAILURES calls without an answer, or with a slow one, among
the last twice as many open the breaker of their gateway. A decline is an answer. While the breaker is open
new bookings are refused, before a hold is made. Every PAYMENT_BREAKER_SECONDS one booking goes through as a
probe, and if its charge is answered in time, the breaker closes. Look-ups, cancelled payments and refunds
are never refused. They count, so they are probes too.

A library (pybreaker, purgatory) would count consecutive failures, or need a store that all processes share.
What is here is shorter than its adapter. One row says to the back office that a gateway fails. It is written
when a breaker changes and after a failed probe, on a thread of its own.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from math import ceil
from time import monotonic

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from bookings.errors import PaymentsPaused
from bookings.gateways.base import GatewayUnavailable
from bookings.models import GatewayPause
from ticketbook.postgres import clock

logger = logging.getLogger(__name__)

COUNTS_FOR = 60.0  # seconds
FORGOTTEN = timedelta(
    minutes=10
)  # after this a row is of a process that has gone, or sells nothing


class Breaker:
    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self.is_open = False  # all that a booking looks at while payments work
        self._recent: deque[tuple[float, bool]] = (
            deque()
        )  # when a call ended, and whether it failed
        self._opened = self._rests_until = self._next_probe = 0.0
        self._lock = threading.Lock()

    def refusal(self) -> PaymentsPaused | None:
        """Why a booking may not be charged now; None if it may, also as a probe. For an open breaker."""
        with self._lock:
            now = monotonic()
            if not self.is_open:
                return None
            if now >= self._next_probe:
                self._next_probe = now + settings.PAYMENT_BREAKER_SECONDS
                return None
            return PaymentsPaused(ceil(self._next_probe - now))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the call of the block."""
        began = monotonic()
        try:
            yield
        except GatewayUnavailable:
            self.count(failed=True)
            raise
        except Exception:  # a refund that was refused is an answer too
            self.count(failed=False)
            raise
        self.count(failed=1000 * (monotonic() - began) > settings.PAYMENT_BREAKER_SLOW_MS)

    def count(self, *, failed: bool) -> None:
        most = settings.PAYMENT_BREAKER_FAILURES
        if not most:
            return
        with self._lock:
            now = monotonic()
            if self.is_open:
                self._count_probe(now, failed=failed)
                return
            self._recent.append((now, failed))
            if len(self._recent) > 2 * most:
                self._recent.popleft()
            if failed and sum(bad and at > now - COUNTS_FOR for at, bad in self._recent) >= most:
                self._open(now)

    def _open(self, now: float) -> None:
        self.is_open, self._opened = True, now
        self._rest(now)
        logger.warning(
            "Payment gateway %s: %d of the last %d calls failed or were slow. New bookings are refused.",
            self.gateway,
            sum(failed for _, failed in self._recent),
            len(self._recent),
        )

    def _rest(self, now: float) -> None:
        self._rests_until = self._next_probe = now + settings.PAYMENT_BREAKER_SECONDS
        _tell(self.gateway, fails=True)

    def _count_probe(self, now: float, *, failed: bool) -> None:
        # What ends before the rest is over began before the breaker opened.
        if now < self._rests_until:
            return
        if failed:
            self._rest(now)
            return
        self.is_open = False
        self._recent.clear()
        _tell(self.gateway, fails=False)
        logger.warning(
            "Payment gateway %s answers again, after %.0f seconds.",
            self.gateway,
            now - self._opened,
        )


_breakers: dict[str, Breaker] = {}


def of(gateway: str) -> Breaker:
    return _breakers.get(gateway) or _breakers.setdefault(gateway, Breaker(gateway))


def forget() -> None:
    """Close all breakers, as in a new process."""
    _breakers.clear()


# --- What the back office sees ----------------------------------------------------------------------------

_teller = ThreadPoolExecutor(1, thread_name_prefix="breaker")


def _tell(gateway: str, *, fails: bool) -> None:
    _teller.submit(_write, gateway, fails=fails)


def _write(gateway: str, *, fails: bool) -> None:
    try:
        rows = GatewayPause.objects.filter(gateway=gateway)
        if not fails:
            rows.delete()  # another process that it still fails writes it again after its next probe
            return
        now = clock.ask()
        rows.filter(seen_at__lt=now - FORGOTTEN).delete()
        told = {"seen_at": now}
        GatewayPause.objects.update_or_create(
            gateway=gateway, defaults=told, create_defaults=told | {"since": now}
        )
    except (DatabaseError, InterfaceError):
        logger.warning("The back office could not be told about payment gateway %s.", gateway)
    finally:
        connection.close()


def pauses(now: datetime) -> list[GatewayPause]:
    """The gateways that fail now, of all processes."""
    return list(GatewayPause.objects.filter(seen_at__gt=now - FORGOTTEN).order_by("since"))
