"""Verbs of a concert meet a sale, or one another."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings.models import Booking
from bookings.tests.racing import Stepped
from bookings.tests.wishing import hold, wish
from concerts import publishing
from concerts.duplicating import duplicate
from concerts.models import Concert, Move
from concerts.moving import MovedMeanwhile, move, seen_as
from concerts.publishing import PublishedBefore, WasBooked, publish, unpublish
from concerts.tests.factories import TicketTierFactory
from ticketbook.errors import NotFound

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]

TIER_LOCKED, HIDDEN, MOVED = (
    "FOR NO KEY UPDATE",
    "UPDATE concerts_concert",
    "UPDATE concerts_concert",
)


@pytest.fixture(autouse=True)
def _on_this_thread(settings):
    settings.BOOKING_LANES = False
    yield
    Stepped.release_all()


@pytest.fixture
def tier():
    return TicketTierFactory()


@pytest.fixture
def clerk():
    return UserFactory(is_staff=True)


def status(tier):
    return Concert.objects.get(pk=tier.concert_id).status


def test_what_is_being_booked_is_not_hidden(tier, clerk, ann):
    buying = Stepped(lambda: hold(wish(ann, tier)), after=TIER_LOCKED).wait_until_reached()
    hiding = Stepped(lambda: unpublish(tier.concert_id, by=clerk)).wait_until_blocked_by(buying)
    buying.finish()
    assert isinstance(hiding.finish(), WasBooked)
    assert (status(tier), Booking.objects.count()) == ("PUBLISHED", 1)


def test_control_without_the_lock_of_the_tiers_a_draft_is_booked(tier, clerk, ann, monkeypatch):
    monkeypatch.setattr(publishing, "keep_buyers_out", lambda concert: None)
    written = "INSERT INTO bookings_booking"
    buying = Stepped(lambda: hold(wish(ann, tier)), after=written).wait_until_reached()
    unpublish(tier.concert_id, by=clerk)
    buying.finish()
    assert (status(tier), Booking.objects.count()) == ("DRAFT", 1)


def test_whoever_buys_while_a_concert_is_hidden_is_refused(tier, clerk, ann):
    hiding = Stepped(lambda: unpublish(tier.concert_id, by=clerk), after=HIDDEN)
    hiding.wait_until_reached()
    buying = Stepped(lambda: hold(wish(ann, tier))).wait_until_blocked_by(hiding)
    hiding.finish()
    assert isinstance(buying.finish(), NotFound)
    assert (status(tier), Booking.objects.count()) == ("DRAFT", 0)


def test_of_two_who_publish_at_once_one_gets_a_sentence(tier, clerk):
    Concert.objects.update(status="DRAFT")

    def act():
        return publish(tier.concert_id, by=clerk, now=timezone.now())

    first = Stepped(act, after=HIDDEN).wait_until_reached()
    second = Stepped(act).wait_until_blocked_by(first)
    first.finish()
    assert isinstance(second.finish(), PublishedBefore)


def test_of_two_who_move_a_concert_at_once_the_second_is_told_where_it_is(tier, clerk):
    seen, now = seen_as(tier.concert), timezone.now()

    def to(venue):
        return lambda: move(
            tier.concert_id,
            date=now + timedelta(days=9),
            time_zone="UTC",
            venue=venue,
            seen=seen,
            by=clerk,
            reason="",
            now=now,
        )

    first = Stepped(to("Arena"), after=MOVED).wait_until_reached()
    second = Stepped(to("Stadium")).wait_until_blocked_by(first)
    first.finish()
    refused = second.finish()
    assert isinstance(refused, MovedMeanwhile)
    assert "at Arena" in str(refused)
    assert Move.objects.count() == 1


def test_a_concert_is_duplicated_while_it_sells(tier, clerk, ann):
    buying = Stepped(lambda: hold(wish(ann, tier, 3)), after=TIER_LOCKED).wait_until_reached()
    now = timezone.now()
    copy = duplicate(tier.concert_id, date=now + timedelta(days=60), by=clerk, now=now)
    buying.finish()
    assert copy.ticket_tiers.get().available_quantity == 100
