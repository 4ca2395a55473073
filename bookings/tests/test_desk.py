"""Staff book for a name and an address: the address of an account books for it, and any other for a guest."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import claiming, desk
from bookings.audit import audit
from bookings.desk import Order, book, foresee
from bookings.errors import CustomerLimitReached, IdempotencyKeyReused, InsufficientTickets
from bookings.guests import name_for
from bookings.models import Booking, GuestSlip
from bookings.placing import Placed
from bookings.resolving import resolve_expired
from bookings.tests.racing import race
from bookings.tests.wishing import hold
from bookings.wishes import Held, StaffDecision
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail
from ticketbook.postgres import clock
from tickets.fulfilment import fulfil_waiting

pytestmark = pytest.mark.django_db


@pytest.fixture
def tier():
    return TicketTierFactory(total_quantity=20, max_per_customer=4)


@pytest.fixture
def order(staff, tier):
    def order(**changes):
        about = {"source": Booking.Source.HOUSE, "gateway": "none", "note": "guest list"}
        about |= {name: changes.pop(name) for name in [*changes] if name not in ORDER}
        decision = StaffDecision(by=staff, **about)
        usual = {"tier_id": tier.pk, "quantity": 2, "name": "Gwen", "email": "gwen@example.com"}
        return Order(**usual | {"key": uuid.uuid4(), "decision": decision} | changes)

    return order


ORDER = Order.__dataclass_fields__.keys()


def booked(order):
    return book(order, now=clock.ask())


def test_an_address_without_an_account_books_for_a_guest(order, left, tier):
    booking = booked(order()).booking
    assert booking.status == "CONFIRMED"
    assert (booking.user.email, booking.user.is_guest) == ("gwen@example.com", True)
    assert name_for(booking) == "Gwen"
    assert left(tier) == 18
    assert audit() == []


def test_the_address_of_an_account_books_for_the_account(order):
    ann = UserFactory(email="ann@example.com", name="Ann")
    booking = booked(order(email="ann@example.com", name="Annie")).booking
    assert (booking.user, name_for(booking)) == (ann, "Ann")
    assert not GuestSlip.objects.exists()


def test_a_closed_account_gets_nothing(order):
    UserFactory(email="gone@example.com", is_active=False)
    assert booked(order(email="gone@example.com")).booking.user.is_guest


def test_the_same_order_books_once_also_after_the_guest_has_got_an_account(order, left, tier):
    first = order()
    booking = booked(first).booking
    guest, account = booking.user, UserFactory(email="gwen@example.com")
    assert booked(first).replayed, "there is an account, but the order has begun for the guest"
    claiming.claim(guest, account)
    again = booked(first)
    assert (again.booking.pk, again.booking.user, again.replayed) == (booking.pk, account, True)
    [foreseen] = foresee([first], tier, now=clock.ask())
    assert (foreseen.booking.pk, foreseen.replayed) == (booking.pk, True)
    other = order(key=first.key, quantity=3)
    with pytest.raises(IdempotencyKeyReused):
        booked(other)
    assert isinstance(foresee([other], tier, now=clock.ask())[0], IdempotencyKeyReused)
    assert left(tier) == 18


@pytest.mark.django_db(transaction=True)
def test_an_order_that_is_sent_eight_times_at_once_books_once(order, left, tier):
    sent = order()
    got = race(lambda i: booked(sent), 8)
    assert got[Placed] >= 1
    assert Booking.objects.count() == 1
    assert left(tier) == 18
    assert audit() == []


def test_at_the_door_each_is_a_person_of_their_own_and_gets_no_mail(order, tier, client):
    sales = [booked(order(email="", name="", source=Booking.Source.DOOR, gateway="cash", quantity=3))
             for _ in range(2)]  # fmt: skip
    customers = {placed.booking.user for placed in sales}
    assert len(customers) == 2
    assert {name_for(placed.booking) for placed in sales} == {desk.AT_THE_DOOR}
    with pytest.raises(CustomerLimitReached):
        booked(order(email="", name="", source=Booking.Source.DOOR, gateway="cash", quantity=5))
    fulfil_waiting(now=timezone.now())
    assert {mail.address.split("@")[1] for mail in Mail.objects.all()} == {"door.invalid"}
    assert User.objects.guests().filter(email__endswith="@door.invalid").count() == 3
    assert audit() == []


def test_cash_that_broke_off_counts_as_not_taken(order, left, tier):
    broken = order(gateway="cash", source=Booking.Source.DOOR)
    guest = desk.guests.enter(email=broken.address, name=broken.name, key=broken.key)
    hold(broken.wish(guest, now=timezone.now() - timedelta(minutes=5)))
    resolve_expired(now=timezone.now())
    assert booked(broken).booking.status == "FAILED"
    assert left(tier) == 20


class TestForeseeing:
    def test_it_says_what_would_come_of_each_order_and_changes_nothing(self, order, tier, left):
        TicketTier.objects.update(available_quantity=5)
        tier.refresh_from_db()
        orders = [
            order(email="a@example.com", quantity=4),
            order(email="b@example.com", quantity=2),
            order(email="c@example.com", quantity=1),
            order(email="a@example.com", quantity=1),
        ]
        answers = foresee(orders, tier, now=clock.ask())
        assert [type(each) for each in answers] == [
            Held,
            InsufficientTickets,
            Held,
            InsufficientTickets,
        ]
        assert not Booking.objects.exists()
        assert not User.objects.guests().exists()
        assert left(tier) == 5

    def test_it_is_what_comes_of_them_then(self, order, tier):
        TicketTier.objects.update(total_quantity=5, available_quantity=0, kept_back=5)
        tier.refresh_from_db()
        orders = [order(email="a@example.com", quantity=n, from_kept_back=True) for n in (3, 2, 1)]
        foreseen = [type(each) for each in foresee(orders, tier, now=clock.ask())]

        def came_of(order):
            try:
                return Held if booked(order).booking.pk else None
            except Exception as exc:
                return type(exc)

        assert [came_of(each) for each in orders] == foreseen
        assert foreseen == [Held, CustomerLimitReached, Held]
        tier.refresh_from_db()
        assert [each.replayed for each in foresee(orders[:1], tier, now=clock.ask())] == [True]
        assert audit() == []
