"""To plan a concert like another one: a draft at another date, with the same tiers and nothing sold."""

from datetime import datetime
from uuid import UUID

from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from concerts import stock
from concerts.changing import InThePast, NotAllowed, check
from concerts.models import Concert, TicketTier
from ticketbook.errors import NotFound
from ticketbook.zones import local, moments


def duplicate(concert_id: UUID, *, date: datetime, by: AbstractBaseUser, now: datetime) -> Concert:
    """Make a draft like this concert at another date. All tickets of its tiers are free to be sold.

    Its sales open and close as long before it as those of the other one, by the clock of the venue. Raises
    NotFound, InThePast and NotAllowed, which change nothing.
    """
    if date <= now:
        raise InThePast
    source = Concert.objects.filter(pk=concert_id).first()
    if source is None:
        raise NotFound
    copy = Concert(
        name=source.name,
        artist=source.artist,
        venue=source.venue,
        date=date,
        time_zone=source.time_zone,
        description=source.description,
        sales_open_at=_as_long_before(source.sales_open_at, source, date),
        sales_close_at=_as_long_before(source.sales_close_at, source, date),
    )
    check(copy)
    with transaction.atomic():
        copy.save()
        for tier in source.ticket_tiers.order_by("pk"):
            _copy_tier(tier, copy)
        message = f"Duplicated from {source}."
        LogEntry.objects.log_actions(by.pk, [copy], ADDITION, message, single_object=True)
    return copy


def _copy_tier(tier: TicketTier, concert: Concert) -> None:
    copy = TicketTier(
        concert=concert,
        tier_type=tier.tier_type,
        price=tier.price,
        total_quantity=tier.total_quantity,
        max_per_customer=tier.max_per_customer,
    )
    stock.stock_up(copy)
    copy.save()


def _as_long_before(at: datetime | None, source: Concert, date: datetime) -> datetime | None:
    # By the wall clock: sales that open at ten open at ten again, whatever the clocks do in between.
    if at is None:
        return None
    zone = source.time_zone
    try:
        walls = [local(each, zone).replace(tzinfo=None) for each in (at, date, source.date)]
        found = moments(walls[0] + (walls[1] - walls[2]), zone)
        return found[0] if found else at + (date - source.date)
    except OverflowError:
        raise NotAllowed("That date is too far away. Choose one that is closer.") from None
