"""To hand a booking over to another address: it was mistyped, or somebody else comes now.

The new person is always a guest, and a mailed link opens the booking. So only a reader of that mailbox has
it. Somebody could have signed up with the address without being able to read its mail. A new person with an
account can keep the booking there, like any booking of a guest (bookings/claiming.py).

The old customer has nothing of it any more, and is told so by mail. But their idempotency key stays used, so
a form or request of theirs that comes once more books and charges nothing:

- A guest's slip leads to the booking where it is now.
- An account's key is looked for among its bookings only, by every sale. So it gets a failed booking with the
  key, beside a slip that says what became of it.
"""

from datetime import datetime
from uuid import UUID, uuid4

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import F
from django.dispatch import Signal

from accounts.models import User
from bookings import guests, mails
from bookings.errors import BookingError, ChangedMeanwhile, CustomerLimitReached
from bookings.models import Booking, GuestSlip
from bookings.refunding import lock_booking
from concerts import stock

# Sent with `booking`, which has its new customer, and `now`, in the transaction that hands it over.
handed_over = Signal()


class NotHandedOver(BookingError):
    """Only a confirmed booking can go to another address."""


class SameAddress(BookingError):
    """The booking goes to this address already. Type another one."""


def hand_over(
    booking: Booking, *, email: str, name: str, seen: str, by: User, note: str, now: datetime
) -> Booking:
    """Give a confirmed booking to the guest with this address; `email` is in its one form.

    `name` is the new person's, and `seen` the id of the customer whom staff were shown. Returns the booking
    with its new customer. Raises NotHandedOver, SameAddress, ChangedMeanwhile if it has another customer by
    now, and CustomerLimitReached if the new person would have too many tickets of its tier.
    """
    key = uuid4()

    def act() -> Booking:
        # In a transaction of its own, whose commit waits for no disk.
        guest = guests.enter(email=email, name=name, key=key)
        return _hand_over(booking.pk, guest.id, key, seen=seen, by=by, note=note, now=now)

    return guests.as_long_as_there(act)


def _hand_over(
    pk: UUID, new: UUID, key: UUID, *, seen: str, by: User, note: str, now: datetime
) -> Booking:
    with transaction.atomic(durable=True):
        booking = Booking.objects.with_details().get(pk=pk)
        stock.lock_tier(booking.ticket_tier_id)  # before the booking, always
        lock_booking(booking)
        booking.refresh_from_db(fields=["user", "idempotency_key"])
        old, old_key = booking.user, booking.idempotency_key
        booking.user = User.objects.get(pk=new)
        _check(booking, old, seen)
        booking.idempotency_key = key
        Booking.objects.filter(pk=pk).update(user=booking.user, idempotency_key=key)
        _keep_used(old, old_key, booking, now=now)
        _log(booking, by, note)
        handed_over.send(Booking, booking=booking, now=now)
        mails.tell_handed_over(booking, to=old.email)
    return booking


def _check(booking: Booking, old: User, seen: str) -> None:
    if booking.status != Booking.Status.CONFIRMED:
        raise NotHandedOver
    if str(old.pk) != seen:
        raise ChangedMeanwhile
    if old.email == booking.user.email:
        raise SameAddress
    limit, tier = booking.ticket_tier.max_per_customer, booking.ticket_tier
    if limit is not None:
        theirs = Booking.objects.of_person(booking.user.pk).filter(ticket_tier=tier)
        has = theirs.holding_tickets().tickets()
        if has + booking.kept_quantity > limit:
            raise CustomerLimitReached(maxPerCustomer=limit, alreadyBooked=has)


def _keep_used(old: User, key: UUID, booking: Booking, *, now: datetime) -> None:
    slip, _ = GuestSlip.objects.get_or_create(
        address=old.email, idempotency_key=key, defaults={"name": old.name}
    )
    # The old link and the old browsers open nothing any more.
    GuestSlip.objects.filter(pk=slip.pk).update(stops=F("stops") + 1, booking=booking)
    if not old.is_guest:
        Booking.objects.create(
            user=old,
            idempotency_key=key,
            ticket_tier=booking.ticket_tier,
            quantity=booking.quantity,
            unit_price=booking.unit_price,
            total_price=booking.total_price,
            gateway=booking.gateway,
            source=booking.source,
            status=Booking.Status.FAILED,
            payment_status=Booking.PaymentStatus.FAILED,
            failure_reason=Booking.FailureReason.EXPIRED,
            hold_expires_at=now,
            created_at=now,
            updated_at=now,
        )


def _log(booking: Booking, by: User, note: str) -> None:
    # The history names neither address: both may be forgotten one day, and the mails tell them till then.
    said = f"Handed over to another address: {note}"
    LogEntry.objects.log_actions(by.pk, [booking], CHANGE, said, single_object=True)
    history = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Booking), object_id=str(booking.pk)
    )
    history.update(object_repr=str(booking)[:200])
