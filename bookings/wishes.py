"""Wishes: what customers ask for, and what comes of a wish when its tier is locked."""

import time
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from accounts.models import User
from bookings.errors import IdempotencyKeyReused
from bookings.gateways.named import FOR_STAFF, FREE
from bookings.models import MAX_QUANTITY, Booking
from bookings.seen import Seen
from ticketbook.errors import Refusal
from ticketbook.postgres import clock


class Customer(Protocol):
    """The person who books: a User, a KnownCustomer that was found by a token, or a Guest."""

    @property
    def id(self) -> UUID: ...
    @property
    def public_id(self) -> str: ...
    @property
    def is_guest(self) -> bool: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class StaffDecision:
    """What a member of staff decided about a booking that they make for somebody."""

    by: User
    source: Booking.Source  # HOUSE, ARTIST or DOOR
    gateway: str  # `none`: it is free; `cash`: the money has changed hands
    note: str  # why; for those who read the booking's history
    from_kept_back: bool = False  # take tickets that are kept back
    waives_sales_times: bool = False
    waives_limit: bool = False  # of tickets for one customer

    def __post_init__(self) -> None:
        if self.source == Booking.Source.ONLINE or self.gateway not in FOR_STAFF:
            raise ValueError(f"staff cannot book {self.source} by the gateway {self.gateway}")

    @property
    def said(self) -> list[str]:
        """The decision in words, for the booking's history."""
        words = {
            "out of what is kept back": self.from_kept_back,
            "sales times waived": self.waives_sales_times,
            "limit waived": self.waives_limit,
        }
        paid = "free" if self.gateway == FREE else self.gateway
        return [self.source.label, paid, *(word for word, holds in words.items() if holds)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A request for tickets. A request that is sent again has the same idempotency key."""

    user: Customer
    ticket_tier_id: UUID
    quantity: int  # 1 to 10 tickets
    idempotency_key: UUID
    arrived_at: datetime  # by the database's clock
    seen: Seen | None = None  # what the customer was shown; None if nothing is expected
    staff: StaffDecision | None = None
    arrived_monotonic: float = field(default_factory=time.monotonic, compare=False)
    arrived_zero: datetime = field(default_factory=clock.zero, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.quantity <= MAX_QUANTITY:
            raise ValueError(f"quantity must be 1 to {MAX_QUANTITY}, not {self.quantity}")

    def time_now(self) -> datetime:
        """The present time, which may be seconds after `arrived_at` if the wish has waited.

        It follows what this process has learned since about the database's clock.
        """
        waited = timedelta(seconds=time.monotonic() - self.arrived_monotonic)
        return self.arrived_at + waited + (clock.zero() - self.arrived_zero)

    @property
    def identity(self) -> tuple[UUID, UUID]:
        return self.user.id, self.idempotency_key


@dataclass(frozen=True, slots=True)
class Held:
    """What a wish gets unless it is refused.

    Either a new hold, or the booking that the same request made before, however it stands now.
    """

    booking: Booking
    replayed: bool


HoldResult = Held | Refusal


def is_same_request(booking: Booking, wish: Wish) -> bool:
    if (booking.ticket_tier_id, booking.quantity) != (wish.ticket_tier_id, wish.quantity):
        return False
    staff = wish.staff
    return staff is None or (booking.source, booking.gateway) == (staff.source, staff.gateway)


def replay_of(booking: Booking | None, wish: Wish) -> HoldResult | None:
    """What comes of a wish whose key has made `booking` before; None if there is no such booking."""
    if booking is None:
        return None
    if not is_same_request(booking, wish):
        return IdempotencyKeyReused(bookingId=booking.pk)
    return Held(copy(booking), replayed=True)  # a copy: two wishes may have found the same booking
