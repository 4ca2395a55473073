"""Customers without an account: one guest for each address, counted together with its account."""

import uuid
from datetime import timedelta

import pytest
from django.db import transaction

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import guests, tier_transaction
from bookings.audit import audit
from bookings.errors import CustomerLimitReached, TooManyUnpaid
from bookings.models import Booking, GuestSlip
from bookings.tests.guest_pages import EMAIL
from bookings.tests.racing import Stepped, race
from bookings.tests.wishing import wish
from concerts.tests.factories import TicketTierFactory
from ticketbook.postgres import clock
from ticketbook.postgres.statements import execute

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]


def enter(email=EMAIL, name="Gwen", key=None):
    return guests.enter(email=email, name=name, key=key or uuid.uuid4())


@pytest.fixture
def limited():
    return TicketTierFactory(max_per_customer=4)


@pytest.fixture
def account():
    return UserFactory(email=EMAIL)


# --- One guest for each address -----------------------------------------------------------------


def test_the_same_address_is_the_same_guest():
    first, again = enter(), enter(name="Somebody else")
    assert again.id == first.id
    assert User.objects.guests().get().name == "Gwen"


def test_an_account_with_the_address_is_another_row(account):
    assert enter().id != account.pk


def test_many_browsers_at_once_make_one_guest_and_one_slip_for_each_key():
    keys = [uuid.uuid4() for _ in range(2)]
    assert race(lambda i: enter(key=keys[i % 2]), 8) == {guests.Guest: 8}
    assert User.objects.guests().count() == 1
    assert GuestSlip.objects.count() == 2


def test_a_guest_who_is_being_made_by_another_browser_is_waited_for():
    first = Stepped(enter_in_a_transaction, after="INSERT INTO accounts_user").wait_until_reached()
    second = Stepped(enter).wait_until_blocked_by(first)
    assert first.finish().id == second.finish().id


def enter_in_a_transaction():
    with transaction.atomic():
        return enter()


def test_a_key_keeps_the_name_that_came_first():
    key = uuid.uuid4()
    slips = {enter(name=name, key=key).slip for name in ("Gwen", "Mallory")}
    assert [GuestSlip.objects.get(pk=pk).name for pk in slips] == ["Gwen"]


def test_what_came_to_no_booking_is_forgotten_after_a_day(tier, book):
    book(enter("buyer@example.com"), tier)
    enter("refused@example.com")
    guests.forget_unused(now=clock.ask())
    assert User.objects.guests().count() == 2
    guests.forget_unused(now=clock.ask() + timedelta(days=2))
    # The first booking was placed with a key of its own, so only its guest stays.
    assert User.objects.guests().get().email == "buyer@example.com"


def test_a_guest_who_has_gone_meanwhile_is_entered_anew(tier, book, left, both_modes):
    key = uuid.uuid4()

    def act():
        guest = enter(key=key)
        if act.first:
            act.first = False
            User.objects.guests().delete()
        return book(guest, tier, key=key)

    act.first = True
    assert guests.as_long_as_there(act).status == "CONFIRMED"
    assert left(tier) == 99
    assert audit() == []


# --- The same person ----------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["guest", "account"])
def test_the_limit_counts_the_address_over_guest_and_account(limited, book, account, first):
    one, other = (account, enter()) if first == "account" else (enter(), account)
    book(one, limited, 3)
    with pytest.raises(CustomerLimitReached):
        book(other, limited, 2)
    assert book(other, limited, 1).status == "CONFIRMED"


def test_a_guest_is_not_told_how_many_tickets_an_address_has(limited, book, account):
    book(account, limited, 3)
    with pytest.raises(CustomerLimitReached) as refused:
        book(enter(), limited, 2)
    assert refused.value.facts == {"maxPerCustomer": 4}


@pytest.mark.parametrize("own", [0, 1])
def test_an_account_is_not_told_how_many_tickets_the_guest_of_its_address_has(
    limited, book, account, own, both_modes
):
    """Nobody has to show that an address is theirs to sign up with it."""
    book(enter(), limited, 3)
    if own:
        book(account, limited, own)
    with pytest.raises(CustomerLimitReached) as refused:
        book(account, limited, 2)
    assert refused.value.facts == {"maxPerCustomer": 4, "alreadyBooked": own}


def test_a_batch_counts_what_it_gives_to_guest_and_account_for_both(limited, account):
    guest = enter()
    wishes = [wish(guest, limited, 2), wish(account, limited, 1), wish(account, limited, 2)]
    with tier_transaction.tier_transaction(limited.pk) as tier:
        (first, second, refused), _ = tier.serve(wishes)
    assert (first.booking.quantity, second.booking.quantity) == (2, 1)
    assert refused.facts == {"maxPerCustomer": 4, "alreadyBooked": 1}


def test_another_spelling_behind_a_plus_is_another_person(limited, book):
    book(enter("gwen+1@example.com"), limited, 4)
    assert book(enter("gwen+2@example.com"), limited, 4).status == "CONFIRMED"


def buy_at_once(book, tier, account):
    guest = enter()
    return race(lambda i: book((guest, account)[i % 2], tier), 12)


def test_guest_and_account_at_once_get_no_more_than_the_limit(limited, book, account, both_modes):
    assert buy_at_once(book, limited, account) == {Booking: 4, CustomerLimitReached: 8}


def test_control_counted_by_user_the_limit_is_broken(limited, book, account, settings, monkeypatch):
    settings.BOOKING_LANES = False
    by_user = tier_transaction.PERSONS.replace("email = customer.email", "id = customer.id")
    statement = tier_transaction.TICKETS.replace(tier_transaction.PERSONS, by_user)
    statement = statement.replace("customer.email", "customer.id::text")
    monkeypatch.setattr(tier_transaction, "TICKETS", statement)
    assert buy_at_once(book, limited, account)[Booking] == 8


@pytest.fixture
def unpaid_limit(settings, page_ledger):
    settings.MAX_UNPAID_HOLDS = 3


@pytest.mark.usefixtures("unpaid_limit")
def test_unpaid_bookings_of_guest_and_account_count_together(book, account, both_modes):
    """Also if they are for several tiers, which have a lock each."""
    guest, tiers = enter(), [TicketTierFactory() for _ in range(4)]
    found = race(lambda i: book((guest, account)[i % 2], tiers[i % 4]), 12)
    assert found == {Booking: 3, TooManyUnpaid: 9}


@pytest.mark.usefixtures("unpaid_limit")
def test_control_locked_by_user_several_tiers_break_the_limit(
    book, account, count_together, monkeypatch
):
    """The limit leaves them one more booking together, and each of them gets one."""
    by_user = tier_transaction.LOCK_CUSTOMERS.replace("email", "id::text")
    monkeypatch.setattr(tier_transaction, "LOCK_CUSTOMERS", by_user)
    both, tiers = (enter(), account), [TicketTierFactory() for _ in range(4)]
    for customer, tier in zip(both, tiers, strict=False):
        book(customer, tier)
    count_together(2)
    assert race(lambda i: book(both[i], tiers[2 + i]), 2) == {Booking: 2}
    assert Booking.objects.pending().count() == 4


@pytest.mark.usefixtures("unpaid_limit")
@pytest.mark.parametrize("first", ["guest", "account"])
def test_what_is_over_of_the_guest_keeps_no_place_from_the_account(
    tier, book, account, both_modes, first
):
    """And the other way round. No worker runs, so the request itself ends what is over."""
    one, other = (account, enter()) if first == "account" else (enter(), account)
    for _ in range(3):
        book(one, tier, now=clock.ask() - timedelta(minutes=16))
    assert book(other, tier).status == "PENDING"
    assert Booking.objects.filter(status="FAILED").count() == 3


def test_without_a_payment_page_a_guest_has_what_the_account_has_not_paid(
    tier, book, account, settings
):
    settings.MAX_UNPAID_HOLDS, settings.PAYMENT_OUTAGE = 2, True
    for _ in range(2):
        book(account, tier)
    with pytest.raises(TooManyUnpaid):
        book(enter(), tier)


def test_the_count_of_a_person_uses_the_indexes_of_addresses(limited, account):
    execute(
        "INSERT INTO accounts_user "
        "(public_id, email, name, password, is_active, is_staff, is_superuser, is_guest) "
        "SELECT 'user_' || n, 'p' || n || '@example.com', 'P', '!', true, false, false, mod(n, 2) = 0 "
        "FROM generate_series(1, 2000) n",
        [],
    )
    execute("ANALYZE accounts_user", [])
    sql = f"EXPLAIN {tier_transaction.TICKETS}"
    plan = execute(sql, {"users": [account.pk], "tier": limited.pk}).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "guest_email_unique" in text
    assert "user_email_unique" in text
    assert "Seq Scan on accounts_user" not in text
