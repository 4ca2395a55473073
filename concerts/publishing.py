"""To show a concert to customers, and to hide it again as long as nobody has booked."""

from datetime import datetime
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from concerts.calling_off import was_ever_sold
from concerts.changing import CalledOffBefore, lock_concert, note
from concerts.models import Concert
from ticketbook.errors import Refusal


class PublishedBefore(Refusal):
    """This concert is published already."""

    status = 409


class HasBegun(Refusal):
    """This concert has begun already, so nothing of it can be sold. Change its date first."""

    status = 409


class NotPublished(Refusal):
    """This concert is not published, so there is nothing to hide."""

    status = 409


class WasBooked(Refusal):
    """Tickets of this concert were booked, so it cannot be hidden from its customers. Call it off instead."""

    status = 409


def why_not_published(concert: Concert, now: datetime) -> Refusal | None:
    """Why this concert cannot be published now; None if it can."""
    if concert.status == Concert.Status.CANCELLED:
        return CalledOffBefore()
    if concert.status == Concert.Status.PUBLISHED:
        return PublishedBefore()
    return HasBegun() if concert.date <= now else None


def publish(concert_id: UUID, *, by: AbstractBaseUser, now: datetime) -> Concert:
    """Let customers see a draft, and buy within its sales times.

    Raises NotFound, CalledOffBefore, PublishedBefore and HasBegun, which change nothing.
    """
    with transaction.atomic():
        concert = lock_concert(concert_id)
        if refusal := why_not_published(concert, now):
            raise refusal
        _become(concert, Concert.Status.PUBLISHED, "Published.", by)
    return concert


def why_not_hidden(concert: Concert) -> Refusal | None:
    """Why this concert cannot be hidden now; None if it can. Holds count as bookings."""
    if concert.status == Concert.Status.CANCELLED:
        return CalledOffBefore()
    if concert.status == Concert.Status.DRAFT:
        return NotPublished()
    return WasBooked() if is_or_was_sold(concert) else None


def is_or_was_sold(concert: Concert) -> bool:
    taken = any(tier.taken_quantity for tier in concert.ticket_tiers.all())
    return taken or was_ever_sold(concert)


def unpublish(concert_id: UUID, *, by: AbstractBaseUser) -> Concert:
    """Make a published concert a draft again, which only staff see.

    Raises NotFound, CalledOffBefore, NotPublished and WasBooked, which change nothing.
    """
    with transaction.atomic():
        concert = lock_concert(concert_id)
        keep_buyers_out(concert)
        if refusal := why_not_hidden(concert):
            raise refusal
        _become(concert, Concert.Status.DRAFT, "Hidden from customers: a draft again.", by)
    return concert


def keep_buyers_out(concert: Concert) -> None:
    """Lock its tiers, so that nobody buys between our look at its bookings and the commit."""
    list(concert.ticket_tiers.locked())


def _become(concert: Concert, status: Concert.Status, message: str, by: AbstractBaseUser) -> None:
    concert.status = status
    concert.save(update_fields=["status", "updated_at"])
    note(concert, message, by)
