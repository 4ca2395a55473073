"""The demo looks like a ticket shop, adds up, and can be loaded twice."""

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F, Sum
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.models import Booking, Refund, Return
from bookings.tests.racing import Stepped
from concerts.calling_off import call_off
from concerts.models import Concert, TicketTier
from demo import bulk, staging

pytestmark = pytest.mark.django_db


def load(**options):
    out = StringIO()
    call_command("load_demo", yes=True, stdout=out, **options)
    return out.getvalue()


def rows():
    """All rows of the demo, with all their fields."""
    models = [User, Concert, TicketTier, Booking, Refund, Return]
    return {model: list(model.objects.order_by("pk").values()) for model in models}


def left(concert):
    tiers = concert.ticket_tiers.order_by("-price")
    return list(tiers.values_list("available_quantity", flat=True))


def test_there_are_concerts_to_choose_from():
    load()

    concerts = list(Concert.objects.all())
    assert len(concerts) >= 12
    assert all(concert.date > timezone.now() + timedelta(days=7) for concert in concerts)
    assert {concert.status for concert in concerts} == {"PUBLISHED"}
    for field in ["name", "artist", "date", "description"]:
        assert len({getattr(concert, field) for concert in concerts}) == len(concerts)
    assert len({concert.venue for concert in concerts}) >= 12


def test_every_concert_has_the_three_tiers():
    load()

    for tier_type, price, least, most in [
        ("VIP", 100, 10, 100),
        ("FRONT_ROW", 50, 100, 200),
        ("GA", 10, 1000, 2000),
    ]:
        tiers = TicketTier.objects.filter(tier_type=tier_type)
        assert tiers.count() == Concert.objects.count()
        assert {tier.price for tier in tiers} == {price}
        assert all(least <= tier.total_quantity <= most for tier in tiers)


def test_one_is_sold_out_one_nearly_and_one_not_on_sale_yet():
    load()
    now = timezone.now()

    assert left(Concert.objects.get(name="Northern Lights")) == [0, 0, 0]
    assert left(Concert.objects.get(name="Paper Boats")) == [1, 3, 7]
    waiting = [concert for concert in Concert.objects.all() if not concert.sells_at(now)]
    assert [concert.name for concert in waiting] == ["First Light"]
    assert waiting[0].sells_at(waiting[0].sales_open_at)


def test_sold_tickets_are_paid_bookings_of_people_who_cannot_log_in():
    load()

    assert audit() == []
    gone = Sum("total_quantity") - Sum("available_quantity") - Sum("kept_back")
    sold = TicketTier.objects.aggregate(n=gone)["n"]
    paid = Booking.objects.filter(status="CONFIRMED", payment_status="SUCCESS")
    assert paid.tickets() == sold > 1000
    assert paid.count() == Booking.objects.count()
    assert not any(user.has_usable_password() for user in User.objects.exclude(bookings=None))


def test_some_tickets_are_kept_back_given_away_or_returned():
    load()

    kept = TicketTier.objects.filter(kept_back__gt=0)
    assert {(tier.tier_type, tier.kept_back) for tier in kept} == {("VIP", 4)}
    history = LogEntry.objects.first().get_change_message()
    assert history == "Kept back 0 → 4: Guests of the house"
    free = Booking.objects.exclude(source="ONLINE")
    assert {(b.source, b.gateway, b.total_price) for b in free} == {("ARTIST", "none", 0)}
    returned = Booking.objects.filter(returned_quantity=1, refunded_total=10, status="CONFIRMED")
    assert (
        returned.count() == Refund.objects.filter(status="SENT").count() == Return.objects.count()
    )
    assert all(rows.count() >= 10 for rows in (kept, free, returned))


def test_the_printed_log_ins_work(client):
    lines = [line.split(maxsplit=2) for line in load().splitlines() if "@" in line]

    assert [(email, may) for email, _, may in lines] == [
        ("ann@example.com", "book tickets"),
        ("bob@example.com", "book tickets"),
        ("staff@example.com", "run the back office, /admin/"),
    ]
    for email, password, _ in lines:
        assert client.login(username=email, password=password)
    assert client.get("/admin/").status_code == 200


def test_loading_twice_changes_nothing():
    first = load()
    before = rows()
    second = load()

    assert rows() == before
    assert first.split("Log in")[1] == second.split("Log in")[1]


def test_loading_again_keeps_what_customers_and_staff_did(ledger, book):
    load()
    tier = TicketTier.objects.get(concert__name="Slow Rivers", tier_type="VIP")
    book(User.objects.get(email="ann@example.com"), tier, 2)
    Concert.objects.filter(name="Copper Moon").update(venue="Elsewhere")
    call_off(Concert.objects.get(name="Copper Moon").pk, by=None, now=timezone.now())
    before = rows()
    load()

    assert rows() == before
    assert audit() == []


def test_a_changed_password_is_not_printed_as_if_it_worked():
    load()
    ann = User.objects.get(email="ann@example.com")
    ann.set_password("something else")
    ann.save()

    assert "ann@example.com    (was changed)" in load()


def test_a_customer_with_the_address_of_the_staff_log_in_stays_a_customer():
    mallory = UserFactory(email="staff@example.com")
    said = load()

    mallory.refresh_from_db()
    assert (mallory.is_staff, mallory.is_superuser) == (False, False)
    assert "staff@example.com  (was changed)     book tickets" in said


@pytest.mark.parametrize(
    ("embedded", "debug", "refused"),
    [(False, False, True), (True, False, False), (False, True, False)],
)
def test_a_real_server_gets_users_with_known_passwords_only_on_demand(
    settings, embedded, debug, refused
):
    settings.EMBEDDED, settings.DEBUG = embedded, debug
    if refused:
        with pytest.raises(
            CommandError, match="Add --yes if this server is not for real customers"
        ):
            call_command("load_demo", stdout=StringIO())
    else:
        call_command("load_demo", stdout=StringIO())
    assert User.objects.exists() is not refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"concerts": -1}, "must not be negative"),
        ({"concerts": 1, "bookings": -1}, "must not be negative"),
        ({"bookings": 5}, "--bookings needs --concerts"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, says):
    with pytest.raises(CommandError, match=says):
        load(**options)
    assert not Concert.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestTwoThatLoadAtOnce:
    """The second one starts when the first one has added a concert and has not committed yet."""

    @pytest.fixture
    def first(self):
        # All users are there already. Otherwise the second could wait because of a unique address.
        for log_in in staging.LOG_INS:
            staging._sign_up(log_in)
        staging._crowd()
        return Stepped(self.load, after="INSERT INTO concerts_concert").wait_until_reached()

    def load(self):
        return staging.load_demo(now=timezone.now())

    def test_the_second_waits_and_finds_everything_there(self, first):
        second = Stepped(self.load).wait_until_blocked_by(first)

        assert first.finish() == len(staging.SHOWS) == Concert.objects.count()
        assert second.finish() == 0
        assert audit() == []

    def test_control_without_waiting_every_concert_is_there_twice(self, monkeypatch, first):
        monkeypatch.setattr(staging, "_one_at_a_time", lambda: None)
        self.load()
        first.finish()
        assert Concert.objects.count() == 2 * len(staging.SHOWS)


def constraints_and_indexes():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            f"WHERE conrelid IN {bulk.TABLES} UNION "
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'bookings%'"
        )
        return {(name, without_casts(definition)) for name, definition in cursor.fetchall()}


def without_casts(definition):
    """PostgreSQL prints other casts for a constraint that was made anew from its printed form."""
    return re.sub(r"::(character varying|text)(\[\])?|[()]", "", definition)


@pytest.mark.django_db(transaction=True)
class TestLargeCatalogue:
    def test_it_has_what_was_asked_for_and_adds_up(self, capfd):
        before = constraints_and_indexes()
        said = load(concerts=20, bookings=3000)

        assert "The large catalogue has 20 concerts and 3,000 bookings" in said
        assert bulk.have_customers() == 30
        assert TicketTier.objects.filter(concert__name__startswith="Catalogue").count() == 60
        bookings = Booking.objects.filter(user__email__endswith="@catalogue.example")
        kinds = bookings.values_list("status", "payment_status", "failure_reason").distinct()
        assert set(kinds) == {
            ("CONFIRMED", "SUCCESS", ""),
            ("CANCELLED", "REFUNDED", ""),
            ("FAILED", "FAILED", "DECLINED"),
        }
        assert audit() == []
        assert constraints_and_indexes() == before
        assert len(before) > 30
        assert capfd.readouterr().err == ""  # no progress bar without a terminal

    def test_some_is_kept_back_given_away_or_returned(self, settings):
        settings.PAYMENT_GATEWAY = "bookings.tests.gateway.HttpGateway"
        load(concerts=20, bookings=3000)

        bookings = Booking.objects.filter(user__email__endswith="@catalogue.example")
        paid = bookings.filter(source="ONLINE")
        assert set(paid.values_list("gateway", flat=True)) == {"main"}
        free = bookings.exclude(source="ONLINE")
        assert set(free.values_list("source", "gateway", "total_price", "status")) == {
            ("HOUSE", "none", 0, "CONFIRMED"),
            ("ARTIST", "none", 0, "CONFIRMED"),
        }
        returned = bookings.filter(returned_quantity__gt=0, status="CONFIRMED")
        assert returned.count() > 50
        assert returned.filter(refunds__reason="PART", refunds__status="SENT").count() == (
            returned.count()
        )
        cancelled = bookings.filter(status="CANCELLED")
        assert cancelled.filter(refunds__amount=F("total_price")).count() == cancelled.count() > 100
        assert TicketTier.objects.filter(
            kept_back__gt=0, kept_back__lt=F("total_quantity")
        ).exists()
        assert audit() == []

    def test_loading_it_again_adds_nothing(self):
        load(concerts=20, bookings=1000)
        before = rows()
        load(concerts=20, bookings=1000)
        load(concerts=5, bookings=10)
        assert rows() == before

    def test_it_is_topped_up_and_tiers_that_are_too_small_grow(self, monkeypatch):
        monkeypatch.setattr(bulk, "BATCH", 700)
        load(concerts=1, bookings=100)
        load(concerts=2, bookings=8000)

        assert (bulk.have_concerts(), bulk.have_bookings()) == (2, 8000)
        assert Concert.objects.filter(name__startswith="Catalogue").distinct("name").count() == 2
        assert TicketTier.objects.filter(total_quantity__gt=2000).exists()
        assert audit() == []

    def test_an_interrupted_load_leaves_nothing(self):
        before = constraints_and_indexes()

        def interrupt(rows):
            if rows:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            bulk.load_bulk(concerts=3, bookings=100, progress=interrupt)
        assert not Concert.objects.exists()
        assert not User.objects.exists()
        assert constraints_and_indexes() == before

    def test_its_bookings_are_in_order_of_time(self):
        load(concerts=3, bookings=1000)

        bookings = Booking.objects.filter(user__email__endswith="@catalogue.example")
        times = list(bookings.order_by("id").values_list("created_at", flat=True))
        assert times == sorted(times)
        assert times[0] < timezone.now() - timedelta(days=29) < times[-1] <= timezone.now()
