"""Bookings that staff make for a name and an address: complimentary tickets, guest lists, the door.

An address that belongs to an account books for that account, and any other for a guest, as a customer's own
form does (bookings/guests.py). Somebody at the door who gives no address is a guest too, with an address of
their own that no mail is sent to. So the limit for one customer counts for each, and staff print the tickets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from accounts.models import User
from bookings import guests
from bookings.errors import (
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    SalesClosed,
)
from bookings.guests import Guest
from bookings.models import Booking, GuestSlip
from bookings.placing import Placed, place
from bookings.tier_transaction import would_get
from bookings.wishes import Customer, Held, HoldResult, StaffDecision, Wish, is_same_request
from concerts.models import TicketTier
from ticketbook.errors import NotFound, Refusal

AT_THE_DOOR = "At the door"  # the name of somebody who gives none
NOBODYS = "@door.invalid"  # no mail goes to an address in .invalid (mail/composing.py)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What staff book for somebody. The same order that is sent again has the same key, and books once."""

    tier_id: UUID
    quantity: int
    name: str
    email: str  # in its one form (accounts/email_field.py); empty at the door
    key: UUID
    decision: StaffDecision

    @property
    def address(self) -> str:
        return self.email or f"{self.key.hex}{NOBODYS}"

    @property
    def slip(self) -> GuestSlip | None:
        return GuestSlip.objects.filter(address=self.address, idempotency_key=self.key).first()

    @property
    def account(self) -> User | None:
        """The account that it is for. An order that has begun to book for a guest goes on with the guest."""
        if not self.email or self.slip is not None:
            return None
        return User.objects.accounts().filter(email=self.email, is_active=True).first()

    def wish(self, customer: Customer, *, now: datetime) -> Wish:
        return Wish(
            user=customer,
            ticket_tier_id=self.tier_id,
            quantity=self.quantity,
            idempotency_key=self.key,
            arrived_at=now,
            staff=self.decision,
        )


def book(order: Order, *, now: datetime) -> Placed:
    """Book it, with the results and errors of `placing.place`."""
    if account := order.account:
        return place(order.wish(account, now=now))
    return guests.as_long_as_there(lambda: _book_for_guest(order, now=now))


def _book_for_guest(order: Order, *, now: datetime) -> Placed:
    guest = guests.enter(email=order.address, name=order.name or AT_THE_DOOR, key=order.key)
    wish = order.wish(guest, now=now)
    if guest.claimed is None:
        return place(wish)
    made = Booking.objects.get(pk=guest.claimed)  # the guest has kept it in an account since
    if not is_same_request(made, wish):
        raise IdempotencyKeyReused(bookingId=made.pk)
    return Placed(made, replayed=True)


def foresee(orders: Sequence[Order], tier: TicketTier, *, now: datetime) -> list[HoldResult]:
    """What would come of these orders of one tier now, one after the other. It changes nothing."""
    wishes = [order.wish(_as_known(order), now=now) for order in orders]
    made = [_kept_in_account(order) for order in orders]
    fresh = [wish for wish, booking in zip(wishes, made, strict=True) if booking is None]
    answers = iter(would_get(tier, fresh))
    return [
        next(answers) if booking is None else _replay(booking, wish)
        for wish, booking in zip(wishes, made, strict=True)
    ]


def _as_known(order: Order) -> Customer:
    if account := order.account:
        return account
    if known := User.objects.guests().filter(email=order.address).first():
        return known
    same_for_the_same_address = uuid5(NAMESPACE_URL, order.address)
    return Guest(same_for_the_same_address, public_id="", slip=order.key, stops=0, claimed=None)


def _kept_in_account(order: Order) -> Booking | None:
    slip = order.slip
    return Booking.objects.filter(pk=slip.booking_id).first() if slip and slip.booking_id else None


def _replay(booking: Booking, wish: Wish) -> HoldResult:
    if is_same_request(booking, wish):
        return Held(booking, replayed=True)
    return IdempotencyKeyReused(bookingId=booking.pk)


@dataclass(frozen=True, kw_only=True)
class Waivers:
    """What somebody has to do so that a rule is waived, in the words of the door that they came by."""

    sales_times: str = "tick “also outside of the sales times”"
    limit: str = "tick “also above the limit for one customer”"


def why_not(refusal: Refusal, order: Order, waivers: Waivers) -> str:
    """The refusal of an order as a sentence for staff."""
    facts, decision = refusal.facts, order.decision
    if isinstance(refusal, NotFound):  # the tier exists
        return "The concert is a draft. Publish it first."
    if isinstance(refusal, InsufficientTickets):
        are = "kept back" if decision.from_kept_back else "available"
        return f"Only {facts['availableQuantity']:,} tickets are {are}."
    if isinstance(refusal, SalesClosed):
        if decision.waives_sales_times:
            return "The concert was called off."
        return f"The concert is not on sale now; {waivers.sales_times}. {refusal.why}".strip()
    if isinstance(refusal, CustomerLimitReached):
        who, most = order.email or "One customer", facts["maxPerCustomer"]
        has = f"has {facts['alreadyBooked']} of" if "alreadyBooked" in facts else "may have"
        return f"{who} {has} at most {most} tickets of this tier; {waivers.limit}."
    if isinstance(refusal, IdempotencyKeyReused):
        return "This was booked before with another number of tickets or another way to pay."
    return str(refusal)
