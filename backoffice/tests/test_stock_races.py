"""Staff change a tier's stock by their pages while 64 people buy its tickets."""

import uuid
from threading import Barrier

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.http import HttpResponseRedirect
from django.test import Client

from accounts.tests.factories import UserFactory
from backoffice.verbs.stock import AddTickets, GiveFree, KeepBack
from bookings.audit import audit
from bookings.errors import InsufficientTickets
from bookings.models import Booking
from bookings.placing import place
from bookings.tests.racing import race
from bookings.tests.wishing import wish
from concerts import stock
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db(transaction=True)

ADD, KEEP, FREE = AddTickets(), KeepBack(), GiveFree()
BUYERS = 64
# The verb, what is typed, and what that does to the capacity and to what is kept back.
BY_STAFF = [
    (ADD, 1, 1, 0),
    (ADD, -9, -9, 0),
    (KEEP, 7, 0, 7),
    (FREE, 3, 0, -3),
] * 4
CAPACITY, KEPT_BACK = 40, 10


@pytest.fixture
def tier():
    tier = TicketTierFactory(total_quantity=CAPACITY)
    TicketTier.objects.update(kept_back=KEPT_BACK, available_quantity=CAPACITY - KEPT_BACK)
    return tier


@pytest.fixture
def sold(ledger):
    """Everybody at once; returns what the buyers got, and what each of BY_STAFF was answered."""

    def sold(tier, by_staff=BY_STAFF, *, bought=lambda: None):
        buyers = UserFactory.create_batch(BUYERS)
        clients = [staff_client() for _ in by_staff]
        answers = [None] * len(by_staff)

        def act(i):
            if i < BUYERS:
                try:
                    return place(wish(buyers[i], tier)).booking
                finally:
                    bought()
            verb, tickets, *_ = by_staff[i - BUYERS]
            answer = clients[i - BUYERS].post(verb.address(tier), typed(tickets))
            answers[i - BUYERS] = answer
            return answer

        return race(act, BUYERS + len(by_staff)), answers

    return sold


def staff_client():
    user = get_user_model().objects.create_superuser(f"{uuid.uuid4()}@example.com", name="Staff")
    client = Client()
    client.force_login(user)
    return client


def typed(tickets):
    return {"once": uuid.uuid4(), "tickets": tickets, "reason": "a larger hall"}


def is_done(answer):
    return answer.status_code == 302


def test_sixty_four_buyers_and_staff_who_change_the_stock_keep_the_books(sold, tier):
    got, answers = sold(tier)

    acts = list(zip(BY_STAFF, answers, strict=True))
    done = [act for act, answer in acts if is_done(answer)]
    tier.refresh_from_db()
    assert tier.total_quantity == CAPACITY + sum(total for _, _, total, _ in done)
    assert tier.kept_back == KEPT_BACK + sum(kept for _, _, _, kept in done)
    assert tier.taken_quantity == got[Booking] == Booking.objects.count()
    assert audit() == []

    # There were never enough for everybody: not for the buyers, and not for staff, who wanted to remove or
    # keep back more than there ever was.
    assert got[Booking] + got[InsufficientTickets] == BUYERS
    assert got[InsufficientTickets] >= BUYERS - CAPACITY - 4
    refused = [(act[1], answer) for act, answer in acts if not is_done(answer)]
    assert refused
    for tickets, answer in refused:
        assert says_that_fewer_are_there(answer, abs(tickets)), answer.content.decode()


def says_that_fewer_are_there(answer, than):
    page = answer.content.decode()
    said = [f"Only {n} {'is' if n == 1 else 'are'}" for n in range(1, than)]
    return "No ticket of this tier is" in page or any(
        f"{words} {what} now." in page
        for words in ["None are", *said]
        for what in ("free", "kept back")
    )


def test_two_who_keep_tickets_back_at_once_both_get_theirs(tier):
    clients = [staff_client() for _ in range(4)]
    answers = race(lambda i: clients[i].post(KEEP.address(tier), typed(7)), 4)
    assert answers == {HttpResponseRedirect: 4}
    tier.refresh_from_db()
    assert (tier.kept_back, tier.available_quantity) == (KEPT_BACK + 28, 2)


class TestControls:
    """The same race without what protects the stock."""

    @pytest.fixture(autouse=True)
    def without_the_lock(self, monkeypatch, settings):
        """Nobody locks the tier, and all have read it before the first one writes."""
        settings.BOOKING_LANES = False
        locked_get, all_have_read = stock.lock_tier, Barrier(BUYERS + 16, timeout=30)

        def read_tier(tier_id):
            tier = locked_get(tier_id)
            all_have_read.wait()
            return tier

        unlocked, _ = TicketTier.objects.filter(pk=uuid.uuid4()).query.sql_with_params()
        monkeypatch.setattr(stock, "lock_sql", lambda: unlocked)
        monkeypatch.setattr(stock, "lock_tier", read_tier)

    def test_control_the_constraints_stop_what_the_lock_does_not(self, sold, tier):
        got, _ = sold(tier)
        assert got[IntegrityError], "somebody was stopped by the database, and not by a sentence"
        assert audit() == []

    def test_control_counters_that_are_set_instead_of_moved_lose_what_was_sold(
        self, sold, tier, monkeypatch
    ):
        all_have_bought = Barrier(BUYERS + len(BY_STAFF), timeout=30)

        def set_by_what_was_read(tier, *, available, total=0, kept=0, now):
            all_have_bought.wait()
            TicketTier.objects.filter(pk=tier.pk).update(
                available_quantity=tier.available_quantity + available,
                total_quantity=tier.total_quantity + total,
                kept_back=tier.kept_back + kept,
            )

        monkeypatch.setattr(stock, "_move", set_by_what_was_read)
        got, answers = sold(tier, bought=all_have_bought.wait)
        assert got[Booking]
        assert all(map(is_done, answers))
        assert any("bookings hold" in sentence for sentence in audit())
