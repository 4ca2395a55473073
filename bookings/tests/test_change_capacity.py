"""Staff change a tier's capacity from the command line, and the history says who and why."""

import uuid
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.tests.racing import Stepped
from concerts import stock
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def tier():
    return TicketTierFactory(total_quantity=100, concert__name="Northern Lights")


@pytest.fixture
def sold(ledger, ann, tier, book):
    """Ann has bought seven tickets."""
    return book(ann, tier, 7)


def change(tier_id, total, *, by="staff@example.com", reason="larger hall"):
    out = StringIO()
    call_command("change_capacity", str(tier_id), str(total), by=by, reason=reason, stdout=out)
    return out.getvalue()


def counters(tier):
    tier.refresh_from_db()
    return tier.total_quantity, tier.available_quantity


@pytest.mark.parametrize(("total", "available"), [(120, 113), (40, 33), (7, 0), (100, 93)])
def test_both_counters_change_by_the_same_number(staff, tier, sold, total, available):
    said = change(tier.pk, total)

    assert counters(tier) == (total, available)
    assert said == (
        f"General admission of “Northern Lights”: capacity 100 → {total}, {available} available.\n"
    )
    assert audit() == []


def test_the_history_says_who_and_why(staff, tier):
    change(tier.pk, 120, by="Staff@Example.com", reason=" the balcony is open ")

    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (staff, str(tier.pk))
    assert "100 → 120: the balcony is open" in entry.get_change_message()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"total": 6}, "7 tickets are sold, held or kept back: choose at least that."),
        ({"tier_id": uuid.UUID(int=7)}, f"There is no tier {uuid.UUID(int=7)}."),
        ({"tier_id": "VIP"}, "There is no tier VIP."),
        ({"total": "-1"}, "TOTAL must be a whole number from 0 to 2,147,483,647, not “-1”."),
        ({"total": "ten"}, "TOTAL must be a whole number from 0 to 2,147,483,647, not “ten”."),
        ({"total": 2**31}, "TOTAL must be a whole number from 0 to 2,147,483,647"),
        ({"by": "nobody@example.com"}, "nobody has the e-mail address nobody@example.com."),
        ({"by": "bob@example.com"}, "bob@example.com is not a member of staff."),
        ({"by": "left@example.com"}, "nobody has the e-mail address left@example.com."),
        ({"reason": " "}, "--reason is empty"),
    ],
)
def test_a_refusal_is_a_sentence_and_changes_nothing(staff, tier, sold, wrong, says):
    UserFactory(email="bob@example.com")
    UserFactory(email="left@example.com", is_staff=True, is_active=False)

    with pytest.raises(CommandError) as refusal:
        change(**({"tier_id": tier.pk, "total": 120} | wrong))

    assert says in str(refusal.value)
    assert counters(tier) == (100, 93)
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
                change(tier.pk, 120)
        finally:
            cursor.execute("RESET lock_timeout")
            holder.finish()
    assert counters(tier) == (100, 100)
