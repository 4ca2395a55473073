"""What calling off a concert means for its bookings: before it, and while refunds and mails are sent."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, Q, Sum, TextField, Value
from django.db.models.functions import Cast, Concat

from bookings.gateways.named import CASH
from bookings.models import Booking, Refund
from concerts.models import Concert
from mail.composing import NEVER_REACHED
from mail.models import Mail


def holders(concert: Concert) -> int:
    """Returns how many customers have tickets of the concert and can be mailed."""
    held = Booking.objects.filter(
        ticket_tier__concert=concert, status=Booking.Status.CONFIRMED
    ).exclude(user__email__endswith=NEVER_REACHED)
    number: int = held.order_by().aggregate(n=Count("user", distinct=True))["n"]
    return number


@dataclass(frozen=True)
class Stake:
    """What will be undone if a concert is called off now."""

    bookings: int
    tickets: int
    money: Decimal  # that is sent back
    cash: Decimal  # that staff hand over
    holds: int  # bookings whose payment is not known


LEFT = F("total_price") - F("refunded_total")


def at_stake(concert: Concert) -> Stake:
    confirmed = Q(status=Booking.Status.CONFIRMED)
    found: dict[str, Any] = Booking.objects.filter(
        ticket_tier__concert=concert, status__in=["CONFIRMED", "PENDING"]
    ).aggregate(
        bookings=Count("pk", filter=confirmed),
        tickets=Sum(F("quantity") - F("returned_quantity"), filter=confirmed, default=0),
        money=Sum(LEFT, filter=confirmed & ~Q(gateway=CASH), default=Decimal(0)),
        cash=Sum(LEFT, filter=confirmed & Q(gateway=CASH), default=Decimal(0)),
        holds=Count("pk", filter=Q(status=Booking.Status.PENDING)),
    )
    return Stake(**found)


@dataclass
class Part:
    """Some rows that a calling off leaves to be worked off: how many there are, and how many are done."""

    all: int = 0
    done: int = 0
    failed: int = 0  # somebody has to look at them
    money: Decimal = Decimal(0)
    money_done: Decimal = Decimal(0)
    money_failed: Decimal = Decimal(0)

    @property
    def waiting(self) -> int:
        return self.all - self.done - self.failed

    @property
    def money_waiting(self) -> Decimal:
        return self.money - self.money_done - self.money_failed

    @property
    def percent(self) -> int:
        """Rounded down, so that 100 means that all is done."""
        return 100 * self.done // self.all if self.all else 100

    @property
    def percent_failed(self) -> int:
        return 100 * self.failed // self.all if self.all else 0


@dataclass
class Progress:
    """How far a calling off is. It was done in one transaction; money and mails follow by jobs."""

    cancelled: int
    still_booked: int  # only if it was called off by other means; a job finds them
    holds: int  # their payment is not known; if it comes, it goes back
    refunds: Part = field(default_factory=Part)
    cash: Decimal = Decimal(0)  # that staff have still to hand over
    mails: Part = field(default_factory=Part)

    @property
    def at_rest(self) -> bool:
        """Whether nothing changes any more by itself."""
        waits = self.still_booked or self.holds or self.refunds.waiting or self.mails.waiting
        return not waits


def progress(concert: Concert) -> Progress:
    of_concert = Booking.objects.filter(ticket_tier__concert=concert)
    cancelled = Q(called_off=True, status=Booking.Status.CANCELLED)
    found: dict[str, Any] = of_concert.aggregate(
        cancelled=Count("pk", filter=cancelled),
        still_booked=Count("pk", filter=Q(status=Booking.Status.CONFIRMED)),
        holds=Count("pk", filter=Q(status=Booking.Status.PENDING)),
    )
    return Progress(**found, **_money(concert), mails=_mails(concert))


def _money(concert: Concert) -> dict[str, Any]:
    in_cash = Q(booking__gateway=CASH)
    sent, refused = Q(status=Refund.Status.SENT), Q(status=Refund.Status.FAILED)
    nothing = Decimal(0)
    found: dict[str, Any] = Refund.objects.of_called_off(concert.pk).aggregate(
        all=Count("pk", filter=~in_cash),
        done=Count("pk", filter=sent & ~in_cash),
        failed=Count("pk", filter=refused & ~in_cash),
        money=Sum("amount", filter=~in_cash, default=nothing),
        money_done=Sum("amount", filter=sent & ~in_cash, default=nothing),
        money_failed=Sum("amount", filter=refused & ~in_cash, default=nothing),
        cash=Sum("amount", filter=in_cash & ~sent, default=nothing),
    )
    return {"cash": found.pop("cash"), "refunds": Part(**found)}


def _mails(concert: Concert) -> Part:
    # By their keys, which have an index.
    told = Booking.objects.filter(ticket_tier__concert=concert, called_off=True)
    keys = told.values_list(
        Concat(Value("called_off:"), Cast("pk", TextField()), output_field=TextField())
    )
    # Those without an address get none.
    mails = Mail.objects.filter(key__in=keys).exclude(address__endswith=NEVER_REACHED)
    found: dict[str, Any] = mails.aggregate(
        all=Count("pk"),
        done=Count("pk", filter=Q(status__in=[Mail.Status.SENT, Mail.Status.SKIPPED])),
        failed=Count("pk", filter=Q(status=Mail.Status.FAILED)),
    )
    return Part(**found)
