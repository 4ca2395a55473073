"""Staff keep tickets back: these are taken from what is free, with a reason, and are not sold."""

import uuid
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.errors import InsufficientTickets
from bookings.tests.racing import Stepped
from concerts import stock
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def tier():
    return TicketTierFactory(total_quantity=20, concert__name="Northern Lights")


@pytest.fixture
def sold(ledger, ann, tier, book):
    """Ann has bought seven tickets, so thirteen are free."""
    return book(ann, tier, 7)


def keep_back(tier_id, number, *, by="staff@example.com", reason="guests"):
    out = StringIO()
    arguments = [str(tier_id), str(number), f"--by={by}", f"--reason={reason}"]
    call_command("keep_back", *arguments, stdout=out)
    return out.getvalue()


def counters(tier):
    tier.refresh_from_db()
    return tier.total_quantity, tier.kept_back, tier.available_quantity


def test_what_is_kept_back_is_taken_from_what_is_available(staff, tier, sold):
    said = keep_back(tier.pk, 5)

    assert counters(tier) == (20, 5, 8)
    assert said == "General admission of “Northern Lights”: kept back 0 → 5, 8 available.\n"
    assert audit() == []


def test_the_number_is_the_new_one_and_not_so_many_more(staff, tier, sold):
    keep_back(tier.pk, 5)
    keep_back(tier.pk, 5)
    assert counters(tier) == (20, 5, 8)
    keep_back(tier.pk, 2)
    assert counters(tier) == (20, 2, 11)
    keep_back(tier.pk, 0)
    assert counters(tier) == (20, 0, 13)
    assert audit() == []


def test_all_that_is_free_can_be_kept_back_and_is_not_sold_then(staff, bob, tier, sold, book):
    keep_back(tier.pk, 13)

    assert counters(tier) == (20, 13, 0)
    with pytest.raises(InsufficientTickets) as refusal:
        book(bob, tier)
    assert refusal.value.facts == {"availableQuantity": 0}


@pytest.mark.django_db(transaction=True)
def test_released_tickets_can_be_bought_at_once(both_modes, staff, bob, tier, sold, book):
    keep_back(tier.pk, 13)
    with pytest.raises(InsufficientTickets):  # which this process remembers for a moment
        book(bob, tier)
    keep_back(tier.pk, 12)

    assert book(bob, tier).status == "CONFIRMED"
    assert counters(tier) == (20, 12, 0)


def test_the_catalogue_counts_kept_back_tickets_in_the_capacity(client, staff, tier, sold):
    keep_back(tier.pk, 13)

    answer = client.get(f"/api/v1/concerts/{tier.concert_id}/availability").json()
    [shown] = answer["tiers"]
    assert (shown["totalQuantity"], shown["availableQuantity"]) == (20, 0)


def test_the_capacity_stays_above_what_is_kept_back(staff, tier, sold):
    keep_back(tier.pk, 5)

    with pytest.raises(stock.CapacityBelowSold) as refusal:
        stock.change_capacity(
            tier_id=tier.pk, total=11, by=staff, reason="smaller", now=timezone.now()
        )
    assert refusal.value.facts == {"sold": 12}
    stock.change_capacity(tier_id=tier.pk, total=12, by=staff, reason="smaller", now=timezone.now())
    assert counters(tier) == (12, 5, 0)
    assert audit() == []


def test_the_history_says_who_and_why(staff, tier):
    keep_back(tier.pk, 5, by="Staff@Example.com", reason=" the band's families ")

    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (staff, str(tier.pk))
    assert entry.get_change_message() == "Kept back 0 → 5: the band's families"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"number": 14}, "0 tickets are kept back and 13 more are available: choose at most 13."),
        ({"tier_id": uuid.UUID(int=7)}, f"There is no tier {uuid.UUID(int=7)}."),
        ({"tier_id": "VIP"}, "There is no tier VIP."),
        ({"number": "ten"}, "NUMBER must be a whole number from 0 to 2,147,483,647, not “ten”."),
        ({"number": 2**31}, "NUMBER must be a whole number from 0 to 2,147,483,647"),
        ({"by": "nobody@example.com"}, "nobody has the e-mail address nobody@example.com."),
        ({"by": "bob@example.com"}, "bob@example.com is not a member of staff."),
        ({"reason": " "}, "--reason is empty"),
    ],
)
def test_a_refusal_is_a_sentence_and_changes_nothing(staff, tier, sold, wrong, says):
    UserFactory(email="bob@example.com")

    with pytest.raises(CommandError) as refusal:
        keep_back(**({"tier_id": tier.pk, "number": 5} | wrong))

    assert says in str(refusal.value)
    assert counters(tier) == (20, 0, 13)
    assert not LogEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_busy_tier_is_explained_in_a_sentence(staff, tier):
    def hold_the_lock():
        with transaction.atomic():
            stock.lock_tier(tier.pk)

    holder = Stepped(hold_the_lock, after="FOR NO KEY UPDATE").wait_until_reached()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '20ms'")
        try:
            with pytest.raises(CommandError, match="The tier is busy; nothing was changed"):
                keep_back(tier.pk, 5)
        finally:
            cursor.execute("RESET lock_timeout")
            holder.finish()
    assert counters(tier) == (20, 0, 20)


@pytest.mark.django_db(transaction=True)
def test_a_buyer_and_staff_who_want_the_last_tickets_do_not_both_get_them(
    both_modes, ledger, staff, bob, tier, book
):
    keep_back(tier.pk, 19)
    keeper = Stepped(lambda: keep_back(tier.pk, 20), after="FOR NO KEY UPDATE").wait_until_reached()
    buyer = Stepped(lambda: book(bob, tier)).wait_until_blocked_by(keeper)

    assert "kept back 19 → 20" in keeper.finish()
    assert isinstance(buyer.finish(), InsufficientTickets)
    assert counters(tier) == (20, 20, 0)
    assert audit() == []
