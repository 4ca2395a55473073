"""What a hot tier asks of PostgreSQL: updates that stay in their page, and locks that stay simple."""

import pytest
from django.conf import settings
from django.db import connection

from accounts.tests.factories import UserFactory
from bookings import booking_lanes
from bookings.placing import place
from bookings.tests.racing import race
from bookings.tests.wishing import wish

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]


def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


def tier_updates():
    """How many updates of tiers there were so far, and how many of them stayed in their page (HOT)."""
    return ask(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
        " WHERE relname = 'concerts_tickettier' AND pg_stat_force_next_flush() IS NOT NULL"
    )


def multixacts():
    """How many multixacts this cluster has made: the age of the first one."""
    return ask("SELECT mxid_age('1')")[0]


def buy(tier, buyers, *, times):
    def act(i):
        for _ in range(times):
            place(wish(buyers[i], tier))

    counts = race(act, len(buyers))
    booking_lanes.stop()  # its sessions end, and so report their updates
    return counts


def test_sales_update_the_tier_in_its_page(tier):
    buyers = UserFactory.create_batch(8)
    before = tier_updates()
    buy(tier, buyers, times=10)
    updates, hot = (now - then for now, then in zip(tier_updates(), before, strict=True))
    assert updates > 0
    # A few may leave it: the page can be full while a waiting buyer still sees the old versions.
    assert hot >= 0.95 * updates


def test_many_buyers_make_no_multixact(tier):
    """The foreign keys of their bookings lock the tier too, but never together with somebody else's lock."""
    before = multixacts()
    buy(tier, UserFactory.create_batch(16), times=3)
    assert multixacts() == before


def test_a_wait_for_the_tier_ends_before_the_search_for_a_deadlock_begins(db):
    deadlock_timeout = ask(
        "SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)"
    )
    assert deadlock_timeout[0] > settings.LOCK_TIMEOUT_MS / 1000
