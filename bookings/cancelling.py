"""To give back tickets of a CONFIRMED booking, all or some: they go to stock, their money to the customer.

The tickets of a booking have numbers from 1. Whoever gives back some of them may say which; otherwise the
last ones go.
"""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.dispatch import Signal

from accounts.models import User
from bookings import mails
from bookings.errors import (
    Changed,
    HandedOver,
    IdempotencyKeyReused,
    NotCancellable,
    PaidInCash,
    RequestInProgress,
    TooManyReturned,
    WasReturned,
)
from bookings.gateways import named
from bookings.models import Booking, Refund, Return
from bookings.refunding import check_refundable, check_seen, lock_booking, owe, try_to_send
from concerts import stock

# Sent in the transaction in which some tickets of a booking go back and others stay, with `booking`, the
# `numbers` of the tickets, and `now`. (If none stays, the booking is CANCELLED, which says it all.)
returned = Signal()


def cancel(
    booking: Booking, *, now: datetime, key: UUID | None = None, shown: Decimal | None = None
) -> Booking:
    """Give back all tickets that a booking still has, and try to refund their price.

    A second call gives no tickets back; it only tries again to send a refund that is still owed. If the
    gateway does not answer, a job retries the refund. Raises RequestInProgress while the payment is not
    known, NotCancellable if the booking is not confirmed, or if its concert has begun (a concert that was
    called off never begins), HandedOver if it has another customer since it was read, PaidInCash,
    IdempotencyKeyReused if the key has returned only some of the tickets, and Changed (`refundable`) if the
    customer was shown another sum for all tickets.
    """
    _give_back_once(booking, None, None, key=key, shown=shown, now=now)
    return booking


def return_tickets(
    booking: Booking,
    tickets: int,
    *,
    numbers: Collection[int] | None = None,
    key: UUID,
    now: datetime,
    shown: Decimal | None = None,
) -> bool:
    """Give back some of a booking's tickets, or all, and try to refund their price.

    `numbers` says which, and has as many numbers as there are tickets. A second call with the same key
    changes nothing and returns True. `booking` then has its new state. Raises what `cancel` raises;
    TooManyReturned (`returnable`); WasReturned (`kept`); and IdempotencyKeyReused if the key has returned
    other tickets of this booking.
    """
    return _give_back_once(booking, tickets, numbers, key=key, shown=shown, now=now)


def _give_back_once(
    booking: Booking,
    tickets: int | None,
    numbers: Collection[int] | None,
    *,
    key: UUID | None,
    shown: Decimal | None,
    now: datetime,
) -> bool:
    with transaction.atomic(durable=True):
        booking.ticket_tier = stock.lock_tier(booking.ticket_tier_id)  # before the booking, always
        booking.refresh_state()
        if booking.status == Booking.Status.PENDING:  # without a wait for whoever settles it now
            raise RequestInProgress(bookingId=booking.pk)
        _lock_for_its_customer(booking)
        replayed = _is_replay(booking, tickets, numbers, key)
        if not replayed:
            if booking.gateway == named.CASH and booking.status == Booking.Status.CONFIRMED:
                raise PaidInCash
            if not booking.cancellable_at(now):
                raise NotCancellable
            if shown is not None and shown != booking.refundable:
                raise Changed(refundable=booking.refundable)
            number = booking.kept_quantity if tickets is None else tickets
            price = _price_of(booking, number)
            give_back(booking, number, price, numbers=numbers, key=key, now=now)
    booking.refresh_state()
    try_to_send(booking, now=now)
    return replayed


def _lock_for_its_customer(booking: Booking) -> None:
    address = booking.user.email
    lock_booking(booking)
    # A guest's booking that has moved to the account of the same person has the same address.
    if booking.user.email != address:
        raise HandedOver


def _is_replay(
    booking: Booking, tickets: int | None, numbers: Collection[int] | None, key: UUID | None
) -> bool:
    before = booking.returns.filter(idempotency_key=key).first() if key else None
    if before is None:
        return tickets is None and booking.status == Booking.Status.CANCELLED
    was_for_all = tickets is None and booking.status == Booking.Status.CANCELLED
    if not was_for_all and (tickets != before.tickets or _others(booking, before, numbers)):
        raise IdempotencyKeyReused(bookingId=booking.pk)
    return True


def _others(booking: Booking, before: Return, numbers: Collection[int] | None) -> bool:
    # Whether these, or the last ones of that time, are other tickets than those that went back.
    if not before.numbers:
        return False
    asked = numbers or booking.kept_numbers_before(before)[-before.tickets :]
    return set(asked) != set(before.numbers)


def _price_of(booking: Booking, tickets: int) -> Decimal:
    # Less if some of their price was given back as goodwill before.
    return min(booking.unit_price * tickets, booking.refundable)


def sums_that_come_back(booking: Booking) -> list[Decimal]:
    """What a customer gets back for 1, 2, … tickets of a booking, up to all that it still has."""
    return [_price_of(booking, tickets) for tickets in range(1, booking.kept_quantity + 1)]


def cancel_for_customer(
    booking: Booking,
    tickets: int,
    *,
    numbers: Collection[int] | None = None,
    refund: Decimal | None,
    seen: str | None = None,
    send_now: bool = True,
    by: User,
    note: str,
    now: datetime,
) -> Return:
    """Staff give tickets back, also after the concert has begun, and decide what is refunded.

    `numbers` says which tickets. `refund` is 0 or more; None refunds what a customer would get, their price.
    `seen` is what staff were shown (`Booking.as_seen`), and `note` says why. Unless `send_now`, a job sends
    the money. Raises NotCancellable, TooManyReturned (`returnable`), WasReturned, NothingToRefund,
    RefundTooLarge (`refundable`), RefundNotExact, and ChangedMeanwhile.
    """
    with transaction.atomic(durable=True):
        booking.ticket_tier = stock.lock_tier(booking.ticket_tier_id)
        lock_booking(booking)
        check_seen(booking, seen)
        if booking.status != Booking.Status.CONFIRMED:
            raise NotCancellable
        if refund is None:
            refund = _price_of(booking, tickets)
        elif refund:
            check_refundable(booking, refund)
        made = give_back(booking, tickets, refund, numbers=numbers, by=by, note=note, now=now)
    booking.refresh_state()
    if send_now:
        try_to_send(booking, now=now)
    if made.refund is not None:
        made.refund.refresh_from_db()
    return made


def give_back(
    booking: Booking,
    tickets: int,
    amount: Decimal,
    *,
    numbers: Collection[int] | None = None,
    reason: Refund.Reason | None = None,
    key: UUID | None = None,
    by: User | None = None,
    note: str = "",
    now: datetime,
) -> Return:
    """Put tickets of a confirmed booking back into stock, and owe their money.

    The caller has locked the tier and the booking, in this order. The customer is told by mail. The refund's
    reason is CANCELLED or PART if none is given. Without `numbers` the last tickets go. Raises
    TooManyReturned (`returnable`) and WasReturned (`kept`).
    """
    if not 1 <= tickets <= booking.kept_quantity:
        raise TooManyReturned(returnable=booking.kept_quantity)
    numbers = _which(booking, tickets, numbers)
    all_of_them = tickets == booking.kept_quantity
    booking_row = Booking.objects.filter(pk=booking.pk)
    booking_row.update(
        returned_quantity=F("returned_quantity") + tickets,
        status=Booking.Status.CANCELLED if all_of_them else Booking.Status.CONFIRMED,
        updated_at=now,
    )
    if all_of_them and not booking.total_price:  # nothing was paid, so all of it was sent back
        booking_row.update(payment_status=Booking.PaymentStatus.REFUNDED)
    stock.give_back(booking.ticket_tier, tickets, now=now)
    if not all_of_them:
        returned.send(Booking, booking=booking, numbers=numbers, now=now)
    refund = None
    if amount:
        reason = reason or (Refund.Reason.CANCELLED if all_of_them else Refund.Reason.PART)
        refund = owe(booking, amount, reason, tickets=tickets, by=by, note=note, now=now)
    made = Return.objects.create(
        booking=booking,
        tickets=tickets,
        numbers=numbers,
        refund=refund,
        idempotency_key=key,
        made_by=by,
        note=note,
        paid_at=booking.paid_and_untouched_at,
        created_at=now,
    )
    if reason == Refund.Reason.CALLED_OFF:
        mails.tell_called_off([booking])
    else:
        mails.tell_returned(made, all_of_them=all_of_them)
    return made


def _which(booking: Booking, tickets: int, numbers: Collection[int] | None) -> list[int]:
    kept = booking.kept_numbers
    if numbers is None:
        return kept[-tickets:]
    assert len(numbers) == tickets
    if not set(numbers) <= set(kept):
        raise WasReturned(kept=kept)
    return sorted(numbers)
