"""Customers are told of what happens to their bookings: each event once, in the transaction that makes it."""

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.utils import timezone

from bookings.cancelling import cancel, cancel_for_customer, return_tickets
from bookings.gateways.base import Outcome
from bookings.models import Booking
from bookings.placing import place
from bookings.refunding import give_money_back
from bookings.settling import settle
from bookings.tests.wishing import wish
from bookings.wishes import StaffDecision
from concerts.calling_off import call_off
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from concerts.tests.test_admin_times import as_shown
from mail.composing import compose
from mail.models import Mail
from mail.outbox import post

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


@pytest.fixture
def tier():
    concert = {"name": "Night", "venue": "Hall", "time_zone": "America/New_York"}
    at = timezone.now().replace(microsecond=0) + timedelta(days=30)
    return TicketTierFactory(**{f"concert__{k}": v for k, v in concert.items()}, concert__date=at)


def sent():
    """The mails as (kind, address, message), oldest first."""
    return [(mail.kind, mail.address, compose(mail)) for mail in Mail.objects.order_by("id")]


def the_mail(kind, user):
    [(its_kind, address, message)] = sent()
    assert (its_kind, address) == (kind, user.email)
    html, _ = message.alternatives[0]
    assert "<table" in html
    return SimpleNamespace(subject=message.subject, text=message.body, html=html)


def test_a_normal_booking_writes_no_mail(ann, tier, book):
    book(ann, tier)
    assert not Mail.objects.exists()


def test_a_cancelled_booking(ann, tier, book, settings):
    booking = book(ann, tier, 2)
    cancel(booking, now=timezone.now())
    cancel(booking, now=timezone.now())
    mail = the_mail("cancelled", ann)
    assert mail.subject.startswith("Cancelled: Night, ")
    assert mail.subject.endswith("(New York time), Hall")
    assert "$20.00 is on its way back to you" in mail.text
    day = f"{timezone.now() + timedelta(days=14):%B %Y}"
    assert day in mail.text or "by" in mail.text
    assert f"{settings.SITE_URL}/bookings/{booking.pk}/" in mail.text
    assert "nothing to unsubscribe" in mail.text


def test_the_day_of_the_money_is_by_the_calendar_of_the_venue(ann, tier, book):
    now = timezone.now().replace(hour=2, minute=0)  # the day before in New York
    booking = book(ann, tier)
    cancel(booking, now=now)
    day = now + timedelta(days=13)
    assert f"by {day:%A} {day.day} {day:%B %Y} at the latest" in the_mail("cancelled", ann).text


def test_some_tickets_are_given_back_and_then_the_rest(ann, tier, book):
    booking = book(ann, tier, 5)
    key = booking.pk
    for _ in range(2):
        return_tickets(booking, 2, key=key, now=timezone.now())
    assert "given back 2 of the 5 tickets" in the_mail("part_returned", ann).text
    cancel(booking, now=timezone.now())
    (_, _, part), (kind, _, rest) = sent()
    assert kind == "cancelled"
    assert "$20.00" in part.body
    assert "$30.00" in rest.body


def test_staff_return_tickets_without_money(ann, tier, book, staff):
    booking = book(ann, tier)
    cancel_for_customer(booking, 1, refund=Decimal(0), by=staff, note="secret", now=timezone.now())
    mail = the_mail("cancelled", ann)
    assert "No money is due back" in mail.text
    assert "secret" not in mail.text


def test_money_that_was_paid_in_cash_comes_back_in_cash(ann, tier, staff):
    decision = StaffDecision(
        by=staff, source=Booking.Source.DOOR, gateway="cash", note="at the door"
    )
    booking = place(wish(ann, tier, staff=decision)).booking
    cancel_for_customer(booking, 1, refund=None, by=staff, note="", now=timezone.now())
    assert "$10.00 back in cash" in the_mail("cancelled", ann).text


def test_a_refund_that_was_refused_is_not_on_its_way(ledger, ann, tier, book):
    booking = book(ann, tier)
    ledger.mode("refuse_refunds")
    cancel(booking, now=timezone.now())
    mail = the_mail("cancelled", ann)
    assert "refused to send $10.00 back" in mail.text
    assert "on its way" not in mail.text


def test_goodwill(ann, tier, book, staff):
    booking = book(ann, tier)
    give_money_back(booking, Decimal(4), by=staff, note="secret", now=timezone.now())
    mail = the_mail("refunded", ann)
    assert "$4.00 is on its way" in mail.text
    assert "You keep your tickets" in mail.text


def test_late_money(ann, tier, take_hold):
    booking = take_hold(ann, tier)
    settle(booking, Outcome.NOT_FOUND, now=timezone.now())
    assert not Mail.objects.exists()
    for _ in range(2):
        settle(booking, Outcome.SUCCEEDED, now=timezone.now())
    mail = the_mail("late_payment", ann)
    assert mail.subject.startswith("Payment came too late: Night")
    assert "$10.00" in mail.text


def test_calling_off_tells_every_holder_in_one_statement(
    ann, bob, tier, book, staff, django_assert_max_num_queries
):
    book(ann, tier, 2), book(bob, tier), book(bob, tier)
    returned = book(ann, tier)
    cancel(returned, now=timezone.now())
    Mail.objects.all().delete()
    for _ in range(2):
        call_off(tier.concert.pk, by=staff, note="ill", now=timezone.now())
    told = [(kind, to) for kind, to, _ in sent()]
    assert sorted(told) == sorted(
        [("called_off", ann.email), ("called_off", bob.email), ("called_off", bob.email)]
    )
    bodies = [message.body for _, to, message in sent() if to == ann.email]
    assert "$20.00 is on its way" in bodies[0]
    assert sent()[0][2].subject.startswith("Called off: Night")


def test_a_hold_that_is_paid_after_its_concert_was_called_off(ann, tier, take_hold, staff):
    booking = take_hold(ann, tier)
    call_off(tier.concert.pk, by=staff, now=timezone.now())
    assert not Mail.objects.exists()
    settle(booking, Outcome.SUCCEEDED, now=timezone.now())
    assert "$10.00" in the_mail("called_off", ann).text


def test_a_payment_that_was_declined_after_all(ann, tier, take_hold):
    booking = take_hold(ann, tier)
    post(kind="declined", about=booking.pk, to=ann.email)
    assert sent()[0][2] is None  # nobody knows yet
    settle(booking, Outcome.DECLINED, now=timezone.now())
    mail = the_mail("declined", ann)
    assert "Nothing was charged" in mail.text
    assert f"/concerts/{tier.concert.pk}/" in mail.text


# --- A concert that moves -------------------------------------------------------------------------


@pytest.fixture
def change(admin_client):
    def change(concert, **changes):
        url = f"/admin/concerts/concert/{concert.pk}/change/"
        tiers = {"ticket_tiers-TOTAL_FORMS": "0", "ticket_tiers-INITIAL_FORMS": "0"}
        sent = as_shown(admin_client, concert) | tiers | changes
        assert admin_client.post(url, sent).status_code == 302
        concert.refresh_from_db()

    return change


@pytest.mark.parametrize(
    "changes",
    [{"venue": "Arena"}, {"date_1": "23:30:00"}, {"time_zone": "Europe/Paris"}],
    ids=["place", "date", "zone"],
)
def test_each_holder_gets_one_mail_for_a_change(ann, bob, tier, book, change, changes):
    book(ann, tier), book(ann, tier), book(bob, tier)
    change(tier.concert, **changes)
    change(tier.concert, description="More words", name="Night")
    told = sent()
    assert sorted((kind, to) for kind, to, _ in told) == sorted(
        [("moved", ann.email), ("moved", bob.email)]
    )
    new = changes.get("venue") or changes.get("date_1", "Paris time")[:5]
    assert all(new in message.subject and new in message.body for *_, message in told)


def test_every_move_is_told_also_the_one_back(ann, tier, book, change):
    book(ann, tier)
    for venue in ("Arena", "Hall", "Arena"):
        change(tier.concert, venue=venue)
    assert Mail.objects.count() == 3


def test_a_move_keeps_what_the_concert_was(tier, change):
    concert = tier.concert
    was = (concert.venue, concert.time_zone, concert.date)
    change(concert, venue="Arena", name="Night")
    change(concert, description="More words")
    assert list(concert.moves.values_list("venue", "time_zone", "date")) == [was]


def test_whoever_has_no_tickets_is_not_told(ann, bob, tier, book, take_hold, change):
    cancel(book(ann, tier), now=timezone.now())
    take_hold(bob, tier)
    Mail.objects.all().delete()
    change(tier.concert, venue="Arena")
    assert not Mail.objects.exists()


def test_a_concert_that_is_over_or_called_off_moves_nobody(ann, tier, book, change):
    book(ann, tier)
    change(tier.concert, venue="Arena", status="CANCELLED")
    assert [kind for kind, *_ in sent()] == ["called_off"]
    other = TicketTierFactory()
    book(ann, other)
    Concert.objects.filter(pk=other.concert.pk).update(date=timezone.now() - timedelta(days=1))
    change(Concert.objects.get(pk=other.concert.pk), venue="Arena")
    assert Mail.objects.count() == 1


def test_a_move_is_not_told_to_whoever_has_given_back_all_tickets_meanwhile(
    ann, tier, book, change
):
    first, second = book(ann, tier), book(ann, tier)
    change(tier.concert, venue="Arena")
    cancel(second, now=timezone.now())
    moved = Mail.objects.get(kind="moved")
    assert str(first.pk) in compose(moved).body
    cancel(first, now=timezone.now())
    assert compose(moved) is None


# --- What people type -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["<b>Night</b> & co", "ערב שירים", "🎸" * 10, "N" * 200, "Night\r\nBcc: eve@example.com"],
    ids=["markup", "rtl", "emoji", "long", "header"],
)
def test_names_make_no_header_and_no_markup(ann, tier, book, name):
    booking = book(ann, tier)
    Concert.objects.update(name=name, venue=name)
    ann.name = name[:150]
    ann.save()
    cancel(booking, now=timezone.now())
    mail = the_mail("cancelled", ann)
    message = compose(Mail.objects.get()).message()
    assert message["Bcc"] is None
    assert "\n" not in mail.subject
    assert len(mail.subject) < 250
    assert "<b>" not in mail.html
