"""Staff book for somebody: free or in cash, by the lock and the stock that everybody uses."""

import re
import uuid
from datetime import timedelta
from io import StringIO
from threading import Barrier

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import tasks
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.errors import InsufficientTickets
from bookings.models import Booking
from bookings.placing import Placed, place
from bookings.resolving import resolve_expired
from bookings.tests.racing import Stepped, race
from bookings.tests.wishing import hold, wish
from bookings.wishes import StaffDecision
from concerts import stock
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory, sell

pytestmark = pytest.mark.django_db


@pytest.fixture
def tier():
    return TicketTierFactory(total_quantity=20, concert__name="Northern Lights")


@pytest.fixture(autouse=True)
def ann():
    return UserFactory(email="ann@example.com")


def book_for(tier_id, quantity=2, *more, customer="ann@example.com", source="HOUSE", **changes):
    options = {"for": customer, "source": source, "by": "staff@example.com", "reason": "guest"}
    out = StringIO()
    arguments = [f"--{name}={value}" for name, value in (options | changes).items()]
    call_command("book_for", str(tier_id), str(quantity), *arguments, *more, stdout=out)
    return out.getvalue()


def counters(tier):
    tier.refresh_from_db()
    return tier.available_quantity, tier.kept_back


def keep_back(tier, tickets, staff):
    now = timezone.now()
    stock.keep_back(tier_id=tier.pk, tickets=tickets, by=staff, reason="guests", now=now)


def decision(staff, **changes):
    usual = {"source": Booking.Source.HOUSE, "gateway": "none", "note": "guest"}
    return StaffDecision(by=staff, **(usual | changes))


def test_a_free_booking_is_confirmed_and_costs_nothing(ledger, staff, ann, tier):
    said = book_for(tier.pk, 2)

    booking = Booking.objects.get()
    assert said == (
        "2 × General admission of Northern Lights is booked for ann@example.com: "
        f"booking {booking.pk}\n"
    )
    assert (booking.user, booking.source, booking.gateway) == (ann, "HOUSE", "none")
    assert (booking.status, booking.payment_status) == ("CONFIRMED", "SUCCESS")
    assert (booking.unit_price, booking.total_price) == (0, 0)
    assert counters(tier) == (18, 0)
    assert ledger.calls("charge") == 0
    assert audit() == []


@pytest.mark.parametrize("source", ["HOUSE", "ARTIST", "DOOR"])
def test_cash_is_taken_at_the_price_of_the_tier(ledger, staff, tier, source):
    book_for(tier.pk, 2, "--paid-by=cash", source=source)

    booking = Booking.objects.get()
    assert (booking.source, booking.gateway, booking.total_price) == (source, "cash", 20)
    assert booking.status == "CONFIRMED"
    assert ledger.calls("charge") == 0
    assert audit() == []


@pytest.mark.django_db(transaction=True)
def test_lanes_make_no_difference(both_modes, ledger, staff, ann, tier, book):
    book(ann, tier, 3)
    book_for(tier.pk, 2)
    assert counters(tier) == (15, 0)
    assert audit() == []


def test_kept_back_tickets_are_taken_only_if_the_call_says_so(staff, tier):
    sell(tier, 15)
    keep_back(tier, 5, staff)

    with pytest.raises(CommandError, match=r"^Only 0 tickets are available\.$"):
        book_for(tier.pk, 2)
    book_for(tier.pk, 2, "--from-kept-back")
    assert counters(tier) == (0, 3)
    with pytest.raises(CommandError, match=r"^Only 3 tickets are kept back\.$"):
        book_for(tier.pk, 4, "--from-kept-back")
    assert counters(tier) == (0, 3)


def test_out_of_what_is_kept_back_the_books_agree_and_a_return_goes_on_sale(
    ledger, staff, ann, tier, book
):
    book(ann, tier, 10)
    keep_back(tier, 10, staff)
    book_for(tier.pk, 4, "--from-kept-back")
    assert (counters(tier), audit()) == ((0, 6), [])

    cancel(Booking.objects.get(source="HOUSE"), now=timezone.now())
    assert (counters(tier), audit()) == ((4, 6), [])


def test_a_free_booking_that_is_cancelled_owes_nothing(staff, tier):
    book_for(tier.pk, 2)
    booking = Booking.objects.get()
    cancel(booking, now=timezone.now())

    assert (booking.status, booking.payment_status) == ("CANCELLED", "REFUNDED")
    assert (booking.returned_quantity, booking.refunds.count()) == (2, 0)
    assert counters(tier) == (20, 0)
    assert audit() == []


def test_the_sales_times_hold_unless_they_are_waived(staff, tier):
    for times in ({"sales_open_at": 1}, {"sales_close_at": -1}, {"date": -1}):
        later = {name: timezone.now() + timedelta(hours=h) for name, h in times.items()}
        Concert.objects.update(date=timezone.now() + timedelta(days=1), sales_open_at=None)
        Concert.objects.update(**later)
        with pytest.raises(CommandError, match="is not on sale now; add --waive-sales-times"):
            book_for(tier.pk)
        book_for(tier.pk, 1, "--waive-sales-times")
    assert counters(tier) == (17, 0)


@pytest.mark.parametrize(
    ("status", "says"),
    [("CANCELLED", "The concert was called off."), ("DRAFT", "The concert is a draft")],
)
def test_a_concert_that_is_not_published_cannot_be_booked_at_all(staff, tier, status, says):
    Concert.objects.update(status=status)
    with pytest.raises(CommandError, match=says):
        book_for(tier.pk, 2, "--waive-sales-times", "--waive-limit")
    assert counters(tier) == (20, 0)


def test_the_limit_of_a_customer_holds_unless_it_is_waived(staff, tier):
    tier.max_per_customer = 3
    tier.save(update_fields=["max_per_customer"])
    book_for(tier.pk, 2)

    says = "ann@example.com has 2 of at most 3 tickets of this tier; add --waive-limit"
    with pytest.raises(CommandError, match=says):
        book_for(tier.pk, 2, "--waive-sales-times")
    book_for(tier.pk, 2, "--waive-limit")
    assert counters(tier) == (16, 0)


def test_waiving_does_not_sell_more_than_there_is(staff, tier):
    sell(tier, 19)
    with pytest.raises(CommandError, match=r"^Only 1 tickets are available\.$"):
        book_for(tier.pk, 2, "--waive-sales-times", "--waive-limit")


def test_the_history_says_who_why_and_what_was_waived(staff, tier):
    keep_back(tier, 5, staff)
    book_for(
        tier.pk, 2, "--from-kept-back", "--waive-sales-times", "--waive-limit", source="ARTIST"
    )
    book_for(tier.pk, 1, "--paid-by=cash", source="DOOR", reason=" a friend ")

    made = LogEntry.objects.filter(content_type__model="booking").order_by("pk")
    assert [entry.get_change_message() for entry in made] == [
        "Booked by staff@example.com (Artist, free, out of what is kept back, sales times waived, "
        "limit waived): guest",
        "Booked by staff@example.com (Door, cash): a friend",
    ]
    assert {entry.user for entry in made} == {staff}


def test_the_same_key_books_once(staff, tier):
    key = uuid.uuid4()
    first, second = book_for(tier.pk, 2, key=key), book_for(tier.pk, 2, key=key)

    assert "was booked before" in second
    assert re.findall("booking (.*)", first) == re.findall("booking (.*)", second)
    assert counters(tier) == (18, 0)
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize(
    "change", [{"quantity": 3}, {"source": "DOOR"}, {"paid-by": "cash"}], ids=str
)
def test_a_key_that_decided_something_else_is_refused(staff, tier, change):
    key = uuid.uuid4()
    book_for(tier.pk, 2, key=key)
    with pytest.raises(CommandError, match=f"--key {key} belongs to another booking"):
        book_for(tier.pk, change.pop("quantity", 2), key=key, **change)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"tier_id": uuid.UUID(int=7)}, f"There is no tier {uuid.UUID(int=7)}."),
        ({"quantity": 0}, "QUANTITY must be a whole number from 1 to 10, not “0”."),
        ({"quantity": 11}, "QUANTITY must be a whole number from 1 to 10"),
        ({"customer": "no@example.com"}, "--for: nobody has the e-mail address no@example.com."),
        ({"customer": "left@example.com"}, "--for: nobody has the e-mail address"),
        ({"source": "ONLINE"}, "argument --source: invalid choice: 'ONLINE' (choose from"),
        ({"paid-by": "simulated"}, "argument --paid-by: invalid choice: 'simulated'"),
        ({"key": "7"}, "--key must be a UUID, not “7”."),
        ({"by": "ann@example.com"}, "--by: ann@example.com is not a member of staff."),
        ({"reason": ""}, "--reason is empty: say why."),
    ],
    ids=str,
)
def test_a_refusal_is_a_sentence_and_books_nothing(staff, tier, wrong, says):
    UserFactory(email="left@example.com", is_active=False)
    with pytest.raises(CommandError) as refusal:
        book_for(**({"tier_id": tier.pk} | wrong))

    assert says in str(refusal.value)
    assert counters(tier) == (20, 0)
    assert not Booking.objects.exists()


@pytest.mark.parametrize("gateway", ["simulated", "main", ""])
def test_staff_cannot_charge_a_card(staff, gateway):
    with pytest.raises(ValueError, match="staff cannot book"):
        decision(staff, gateway=gateway)
    with pytest.raises(ValueError, match="staff cannot book ONLINE"):
        decision(staff, source=Booking.Source.ONLINE)


@pytest.mark.parametrize(("gateway", "status"), [("none", "CONFIRMED"), ("cash", "FAILED")])
def test_a_booking_that_broke_off_is_resolved(ledger, staff, ann, tier, gateway, status):
    """Free tickets are the guest's. Cash counts as not taken, because staff never saw that it was booked."""
    before = timezone.now() - timedelta(minutes=5)
    held = hold(wish(ann, tier, 2, now=before, staff=decision(staff, gateway=gateway))).booking
    resolve_expired(now=timezone.now())
    held.refresh_state()

    assert held.status == status
    if status == "FAILED":
        tasks.look_for_late_payment(str(held.pk))
    assert counters(tier) == ((18 if status == "CONFIRMED" else 20), 0)
    assert audit() == []


@pytest.mark.django_db(transaction=True)
class TestStaffAndCustomersAtOnce:
    def test_the_last_ticket_goes_to_staff_or_to_a_customer(
        self, both_modes, ledger, staff, ann, tier
    ):
        sell(tier, 19)

        def act(i):
            return place(wish(ann, tier, staff=decision(staff) if i % 2 else None))

        assert race(act, 8)[InsufficientTickets] == 7
        assert counters(tier) == (0, 0)

    def test_kept_back_tickets_are_given_away_once(self, both_modes, staff, ann, tier):
        keep_back(tier, 3, staff)
        chosen = decision(staff, from_kept_back=True)

        assert race(lambda i: place(wish(ann, tier, staff=chosen)), 8)[InsufficientTickets] == 5
        assert counters(tier) == (17, 0)
        assert audit() == []

    def test_a_customer_waits_for_staff_who_take_the_last_ticket(
        self, both_modes, staff, ann, tier
    ):
        sell(tier, 19)
        guest = Stepped(
            lambda: place(wish(ann, tier, staff=decision(staff))),
            after="INSERT INTO bookings_booking",
        ).wait_until_reached()
        buyer = Stepped(lambda: place(wish(ann, tier))).wait_until_blocked_by(guest)

        assert guest.finish().booking.status == "CONFIRMED"
        assert isinstance(buyer.finish(), InsufficientTickets)

    def test_control_without_the_lock_a_constraint_keeps_what_is_kept_back(
        self, monkeypatch, staff, ann, tier
    ):
        keep_back(tier, 1, staff)
        chosen = decision(staff, from_kept_back=True)
        unlocked, _ = TicketTier.objects.filter(pk=uuid.uuid4()).query.sql_with_params()
        locked_get, all_have_read = stock.lock_tier, Barrier(8, timeout=30)

        def read_tier(tier_id):
            read = locked_get(tier_id)
            all_have_read.wait()
            return read

        monkeypatch.setattr(stock, "lock_sql", lambda: unlocked)
        monkeypatch.setattr(stock, "lock_tier", read_tier)

        assert race(lambda i: place(wish(ann, tier, staff=chosen)), 8) == {
            Placed: 1,
            IntegrityError: 7,
        }
        assert counters(tier) == (19, 0)


def test_a_customer_cannot_cancel_what_was_paid_in_cash(client, ann, tier, staff, left):
    """Nobody would hand the money over, and the site would say that it was sent."""
    decision = StaffDecision(
        by=staff, source=Booking.Source.DOOR, gateway="cash", note="at the door"
    )
    booking = place(wish(ann, tier, 2, staff=decision)).booking
    client.force_login(ann)
    page = client.post(f"/bookings/{booking.pk}/cancellation/", follow=True).content.decode()
    assert "Ask at the box office" in page
    booking.refresh_from_db()
    assert (booking.status, booking.payment_status) == ("CONFIRMED", "SUCCESS")
    assert left(tier) == 18
