"""What the page of a concert offers at this moment to the customer who looks at it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import F, Max, Min, QuerySet, Sum

from accounts.models import User
from bookings.models import Booking
from concerts.models import Concert, TicketTier
from concerts.sales import Held, Sale
from ticketbook.postgres import clock


def sale_of(concert: Concert, user: User | AnonymousUser | None = None) -> Sale:
    """How the sale stands now, for this customer, or for everybody alike. The concert comes with its tiers.

    It asks what is held only if a tier has nothing left, and what a customer has only if a tier has a limit.
    """
    now, tiers = clock.now(), list(concert.ticket_tiers.all())
    gone = [tier for tier in tiers if not tier.available_quantity]
    limited = [tier for tier in tiers if tier.max_per_customer is not None]
    return Sale(
        concert,
        now,
        held=held(gone) if gone and concert.sells_at(now) else {},
        has=_has(user, limited) if limited and isinstance(user, User) else {},
    )


def held(tiers: Sequence[TicketTier]) -> dict[UUID, Held]:
    """The tickets of these tiers whose payment is open; tiers without any are left out."""
    return {tier: Held(*held) for tier, *held in _holds(tiers)}


def _holds(tiers: Sequence[TicketTier]) -> QuerySet[Booking, tuple[Any, ...]]:
    # Both the index on tier and status and the one on PENDING bookings serve it.
    pending = Booking.objects.pending().filter(ticket_tier__in=tiers).order_by()
    ends = Min("hold_expires_at"), Max("hold_expires_at")
    return pending.values_list("ticket_tier").annotate(Sum("quantity"), *ends)


def _has(user: User, tiers: Sequence[TicketTier]) -> dict[UUID, int]:
    # For the limit, what the guest of this address has counts too. But to sign up, nobody has to show that an
    # address is theirs, so nobody is told of it.
    mine = Booking.objects.of(user).holding_tickets().filter(ticket_tier__in=tiers).order_by()
    kept = Sum(F("quantity") - F("returned_quantity"))
    return dict(mine.values_list("ticket_tier").annotate(kept=kept))
