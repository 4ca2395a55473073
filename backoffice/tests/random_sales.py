"""Bookings of all states at random times, with returns, refunds and late money."""

import random
import uuid
from datetime import timedelta
from decimal import Decimal

from accounts.tests.factories import UserFactory
from bookings.models import Booking, Refund, Return
from concerts.tests.factories import TicketTierFactory
from ticketbook.postgres.keys import first_key_of

STATES = [
    ("CONFIRMED", "SUCCESS", ""),
    ("CONFIRMED", "SUCCESS", ""),
    ("CONFIRMED", "REFUNDED", ""),
    ("CANCELLED", "SUCCESS", ""),
    ("CANCELLED", "REFUNDED", ""),
    ("PENDING", "PENDING", ""),
    ("FAILED", "FAILED", "DECLINED"),
    ("FAILED", "FAILED", "EXPIRED"),
    ("FAILED", "SUCCESS", "EXPIRED"),
    ("FAILED", "REFUNDED", "EXPIRED"),
]


def sell_at_random(seed, *, now, days, bookings=200):
    """Make bookings of the last `days` days. Counters are left alone: figures come from bookings."""
    chance = random.Random(seed)
    user = UserFactory()
    tiers = [TicketTierFactory(price=Decimal(chance.randint(1, 99_99)) / 100) for _ in range(5)]
    for _ in range(bookings):
        _sell(chance, user, chance.choice(tiers), now=now, days=days)


def _sell(chance, user, tier, *, now, days):
    at = now - timedelta(seconds=chance.randint(0, days * 86_400))
    status, payment_status, reason = chance.choice(STATES)
    source = chance.choice(["ONLINE"] * 5 + ["HOUSE", "ARTIST", "DOOR", "DOOR"])
    is_free = status in {"CONFIRMED", "CANCELLED"} and chance.random() < 0.2
    if is_free:
        payment_status = "SUCCESS"
    price = Decimal(0) if is_free else tier.price
    quantity = chance.randint(1, 10)
    refunds = [] if is_free else _refunds(chance, status, payment_status, price * quantity)
    returned = quantity if status == "CANCELLED" else 0
    if status == "CONFIRMED" and quantity > 1 and chance.random() < 0.3:
        returned = chance.randint(1, quantity - 1)
    booking = Booking(
        user=user,
        ticket_tier=tier,
        quantity=quantity,
        unit_price=price,
        total_price=price * quantity,
        status=status,
        payment_status=payment_status,
        failure_reason=reason,
        returned_quantity=returned,
        refunded_total=sum(refunds, Decimal(0)),
        source=source,
        gateway="simulated" if source == "ONLINE" else "none" if is_free else "cash",
        idempotency_key=uuid.uuid4(),
        hold_expires_at=at + timedelta(minutes=1),
        created_at=at,
    )
    if chance.random() < 0.5:  # the others were dated before their keys were made
        booking.pk = uuid.UUID(int=first_key_of(at).int | chance.getrandbits(60))
    booking.save(force_insert=True)
    if returned:
        Return.objects.create(booking=booking, tickets=returned, created_at=at)
    for amount in refunds:
        _refund(chance, booking, amount, now=now)


def _refunds(chance, status, payment_status, total):
    if status == "PENDING" or payment_status == "FAILED":
        return []
    if payment_status == "REFUNDED" or status != "CONFIRMED" or total < 2:
        return [total]
    return [Decimal("0.01"), Decimal("1.33")] if chance.random() < 0.4 else []


def _refund(chance, booking, amount, *, now):
    made = chance.uniform(0, (now - booking.created_at).total_seconds())
    made_at = booking.created_at + timedelta(seconds=made)
    is_sent = booking.payment_status == "REFUNDED" or chance.random() < 0.7
    sent_at = made_at + (now - made_at) * chance.random()
    Refund.objects.create(
        booking=booking,
        amount=amount,
        reason="LATE" if booking.status == "FAILED" else "GOODWILL",
        status="SENT" if is_sent else chance.choice(["DUE", "FAILED"]),
        created_at=made_at,
        sent_at=sent_at if is_sent else None,
    )
