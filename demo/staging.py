"""Loads the demo: its concerts, customers who have bought some of their tickets, and three log-ins."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.contrib.auth.hashers import check_password, make_password
from django.db import connection, transaction

from accounts.models import User
from bookings.gateways import named
from bookings.models import BEFORE_TICKETS, Booking, GuestSlip, Refund, Return
from concerts import stock
from concerts.models import Concert, TicketTier
from demo.catalogue import SHOWS, Show
from ticketbook.copies.store import forget

PRICES = {
    TicketTier.Type.VIP: Decimal(100),
    TicketTier.Type.FRONT_ROW: Decimal(50),
    TicketTier.Type.GA: Decimal(10),
}
CROWD = 60  # customers who hold the tickets that are sold
KEPT_BACK = 4  # VIP tickets of each concert, for guests of the house


@dataclass(frozen=True)
class LogIn:
    name: str
    email: str
    password: str
    staff: bool = False


LOG_INS = [
    LogIn("Ann", "ann@example.com", "ann-loves-music"),
    LogIn("Bob", "bob@example.com", "bob-loves-music"),
    LogIn("Staff", "staff@example.com", "staff-runs-shows", staff=True),
]


def load_demo(*, now: datetime) -> int:
    """Add what is missing of the demo, all or nothing. Returns how many concerts were added.

    Concerts (by name and artist) and users that exist stay as they are, because staff may have edited
    them and customers may have booked.
    """
    with transaction.atomic():
        _one_at_a_time()
        for log_in in LOG_INS:
            _sign_up(log_in)
        missing = [show for show in SHOWS if not _exists(show)]
        crowd = _crowd() if missing else []
        for show in missing:
            _stage(show, crowd, now=now)
        transaction.on_commit(forget)
    return len(missing)


def describe_log_ins() -> str:
    """A table for the terminal. It also says if somebody has changed a password."""
    rows = [("e-mail", "password", "may")]
    for log_in in LOG_INS:
        user = User.objects.get(email=log_in.email)
        known = check_password(log_in.password, user.password)
        may = "run the back office, /admin/" if user.is_staff else "book tickets"
        rows.append((log_in.email, log_in.password if known else "(was changed)", may))
    return "\n".join(f"  {email:<19}{password:<18}{may}" for email, password, may in rows)


def _one_at_a_time() -> None:
    # No constraint prevents a concert from being added twice, so two loads must not overlap.
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('load_demo'))")


def _sign_up(log_in: LogIn) -> None:
    if not User.objects.accounts().filter(email=log_in.email).exists():
        create = User.objects.create_superuser if log_in.staff else User.objects.create_user
        create(log_in.email, log_in.password, name=log_in.name)


def _exists(show: Show) -> bool:
    return Concert.objects.filter(name=show.name, artist=show.artist).exists()


def _crowd() -> list[User]:
    # Customers who cannot log in. Every third one is a guest.
    emails = [f"guest{number:02}@example.com" for number in range(1, CROWD + 1)]
    User.objects.bulk_create(
        [
            User(
                email=email,
                name=f"Guest {number}",
                password=make_password(None),
                is_guest=number % 3 == 0,
            )
            for number, email in enumerate(emails, 1)
        ],
        ignore_conflicts=True,
    )
    return list(User.objects.filter(email__in=emails).order_by("email"))


def _stage(show: Show, crowd: list[User], *, now: datetime) -> None:
    concert = Concert.objects.create(
        name=show.name,
        artist=show.artist,
        venue=show.venue,
        date=show.date(now),
        time_zone=show.zone,
        description=show.description,
        status=Concert.Status.PUBLISHED,
        sales_open_at=show.sales_open_at(now),
    )
    sizes = zip(PRICES.items(), show.capacity, show.left, strict=True)
    for (tier_type, price), capacity, left in sizes:
        tier = TicketTier(
            concert=concert, tier_type=tier_type, price=price, total_quantity=capacity
        )
        stock.stock_up(tier)
        tier.save()
        gone = capacity - left
        if tier_type == TicketTier.Type.VIP and gone > KEPT_BACK:
            _keep_back(tier, now=now)
            gone -= KEPT_BACK
        _sell(tier, gone, crowd, now=now)


def _keep_back(tier: TicketTier, *, now: datetime) -> None:
    (staff,) = (log_in.email for log_in in LOG_INS if log_in.staff)
    by = User.objects.get(email=staff)
    stock.keep_back(
        tier_id=tier.pk, tickets=KEPT_BACK, by=by, reason="Guests of the house", now=now
    )


def _sell(tier: TicketTier, tickets: int, crowd: list[User], *, now: datetime) -> None:
    # Make bookings like those that `place` makes, and take their tickets out of stock.
    stock.lock_tier(tier.pk)
    returns = min(tickets, 1) if tier.tier_type == TicketTier.Type.GA else 0
    bookings = [
        _booking(tier, quantity, random.choice(crowd), now=now)
        for quantity in _parties(tickets - returns)
    ]
    if tier.tier_type == TicketTier.Type.FRONT_ROW and bookings:
        _give_away(bookings[0])
    Booking.objects.bulk_create(bookings)
    if returns:  # one of two tickets came back, so the booking holds the last one that is sold
        bookings.append(_booking(tier, 2, random.choice(crowd), now=now))
        _return_one(bookings[-1], now=now)
    _leave_slips(bookings)
    stock.take(tier, tickets, now=now)


def _booking(tier: TicketTier, quantity: int, user: User, *, now: datetime) -> Booking:
    return Booking(
        user=user,
        ticket_tier=tier,
        quantity=quantity,
        unit_price=tier.price,
        total_price=tier.price * quantity,
        status=Booking.Status.CONFIRMED,
        payment_status=Booking.PaymentStatus.SUCCESS,
        idempotency_key=uuid.uuid4(),
        hold_expires_at=now,
        fulfilled_at=BEFORE_TICKETS,  # nobody mails customers who do not exist
        created_at=now,
    )


def _leave_slips(bookings: list[Booking]) -> None:
    GuestSlip.objects.bulk_create(
        GuestSlip(
            address=booking.user.email,
            idempotency_key=booking.idempotency_key,
            name=booking.user.name,
        )
        for booking in bookings
        if booking.user.is_guest
    )


def _give_away(booking: Booking) -> None:
    booking.unit_price = booking.total_price = Decimal(0)
    booking.gateway, booking.source = named.FREE, Booking.Source.ARTIST


def _return_one(booking: Booking, *, now: datetime) -> None:
    booking.returned_quantity, booking.refunded_total = 1, booking.unit_price
    booking.save()
    refund = Refund.objects.create(
        booking=booking,
        amount=booking.unit_price,
        tickets=1,
        reason=Refund.Reason.PART,
        status=Refund.Status.SENT,
        created_at=now,
        sent_at=now,
    )
    Return.objects.create(booking=booking, tickets=1, refund=refund, created_at=now)


def _parties(tickets: int) -> Iterator[int]:
    # Groups of one to six people.
    while tickets:
        size = min(random.randint(1, 6), tickets)
        yield size
        tickets -= size
