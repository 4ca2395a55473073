"""Staff find bookings by whatever a customer tells them, and by filters."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from bookings import guests
from bookings.models import Booking
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory
from ticketbook.postgres.keys import first_key_of
from tickets.fulfilment import fulfil

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

URL = "/admin/bookings/booking/"


@pytest.fixture
def shown(admin_client):
    def shown(**query):
        page = admin_client.get(URL, query, follow=True)
        assert page.status_code == 200
        return set(page.context["cl"].result_list)

    return shown


@pytest.fixture
def book_as(ledger, book):
    def book_as(name, tier, email="gwen@example.com"):
        key = uuid.uuid4()
        guest = guests.enter(email=email, name=name, key=key)
        return book(User.objects.get(pk=guest.id), tier, key=key)

    return book_as


@pytest.fixture
def lights(tier):
    tier.concert.name, tier.concert.artist = "Northern Lights", "Björk Guðmundsdóttir"
    tier.concert.save()
    return tier


def test_by_every_name_that_a_guest_has_typed(shown, book_as, lights):
    gwen, owen = book_as("Gwen Stacy", lights), book_as("Owen Hale", lights)
    assert User.objects.guests().get().name == "Gwen Stacy"
    assert shown(q="stacy") == {gwen}
    assert shown(q="OWEN") == {owen}
    assert shown(q="gwen@") == {gwen, owen}
    assert shown(q="wen") == {gwen, owen}


def test_by_the_name_of_a_guest_whose_booking_is_in_an_account_now(shown, book_as, lights, ann):
    from bookings.claiming import claim

    booking = book_as("Gwen Stacy", lights, ann.email)
    claim(booking.user, ann)
    assert shown(q="stacy") == {booking}


def test_by_number_id_and_the_code_of_a_ticket(shown, book, ann, lights):
    booking, other = book(ann, lights), book(ann, lights)
    code = fulfil(booking, now=timezone.now())[0].code
    fulfil(other, now=timezone.now())
    for text in (booking.number, booking.number.lower().replace("-", " "), str(booking.pk), code,
                 code.lower().replace("-", ""), f"  {booking.number}\t"):  # fmt: skip
        assert shown(q=text) == {booking}, text
    assert shown(q="00000-00000") == set()
    assert shown(q="0000-0000-000") == set()


def test_a_name_that_looks_like_a_number_is_found(shown, book_as, lights):
    booking = book_as("Christofer", lights)
    assert shown(q="Christofer") == {booking}


def test_by_concert_and_artist_without_accents(shown, book, ann, lights):
    booking = book(ann, lights)
    book(ann, TicketTierFactory(concert__name="Quiet Evening"))
    for text in ("northern", "LIGHTS north", "bjork", "Guðmundsdóttir"):
        assert shown(q=text) == {booking}, text


def test_a_search_that_means_too_many_concerts_says_so(admin_client, monkeypatch):
    monkeypatch.setattr("bookings.searching.MOST", 2)
    for _ in range(3):
        TicketTierFactory(concert__name="Night")
    page = admin_client.get(URL, {"q": "night"}, follow=True).content.decode()
    assert "More than 2 concerts are like that. Type more of its name." in page


@pytest.mark.parametrize("text", ["%", "_", "' OR 1=1", "\\", "  ", "a" * 500, "€", "0" * 40])
def test_odd_texts_find_nothing_and_break_nothing(shown, book, ann, lights, text):
    booking = book(ann, lights)
    assert shown(q=text) == ({booking} if not text.strip() else set())


# --- Filters ------------------------------------------------------------------------------------


def test_by_concert_and_tier(admin_client, shown, book, ann, lights):
    vip = TicketTierFactory(concert=lights.concert, tier_type=TicketTier.Type.VIP)
    other = book(ann, TicketTierFactory())
    in_lights, in_vip = book(ann, lights), book(ann, vip)
    concert = str(lights.concert_id)
    assert shown(concert=concert) == {in_lights, in_vip}
    assert shown(concert=concert, tier=str(vip.pk)) == {in_vip}
    assert shown(tier=str(other.ticket_tier_id)) == {other}
    page = admin_client.get(URL, {"concert": concert}).content.decode()
    assert f"tier={vip.pk}" in page
    assert f'<option value="{concert}" selected>' in page


@pytest.mark.parametrize("name", ["concert", "tier", "booked"])
def test_a_filter_with_nonsense_finds_nothing(shown, book, ann, lights, name):
    book(ann, lights)
    for nonsense in ("x", "2026-13-45", "0001-01-01", str(uuid.uuid4()), "%00", "9999-12-31"):
        assert shown(**{name: nonsense}) == set()


def booked_at(booking, moment):
    key = uuid.UUID(int=first_key_of(moment).int | booking.pk.int & (1 << 60) - 1)
    Booking.objects.filter(pk=booking.pk).update(id=key, created_at=moment)
    return Booking.objects.get(pk=key)


def test_by_the_day_of_the_booking_at_the_house(shown, book, ann, lights, settings):
    settings.TIME_ZONE = "America/New_York"  # five hours behind UTC
    late = booked_at(book(ann, lights), datetime(2026, 3, 2, 4, 59, 59, tzinfo=UTC))
    early = booked_at(book(ann, lights), datetime(2026, 3, 2, 5, 0, 0, tzinfo=UTC))
    assert shown(booked="2026-03-01") == {late}
    assert shown(booked="2026-03-02") == {early}
    assert shown(booked="2026-02-28") == set()


def test_by_the_last_days(shown, book, ann, lights):
    now = timezone.now()
    ages = {
        days: booked_at(book(ann, lights), now - timedelta(days=days)) for days in (0, 1, 6, 29, 31)
    }
    for value, days in {
        "today": [0],
        "yesterday": [1],
        "week": [0, 1, 6],
        "month": [0, 1, 6, 29],
    }.items():
        assert shown(booked=value) == {ages[each] for each in days}, value


def test_what_is_found_is_narrowed_by_filters_too(shown, book, ann, lights):
    booking = book(ann, lights)
    assert shown(q="northern", concert=str(lights.concert_id), status__exact="CONFIRMED") == {
        booking
    }
    assert shown(q="northern", status__exact="FAILED") == set()


# --- How quick ----------------------------------------------------------------------------------


def test_a_search_takes_few_queries(admin_client, book, ann, lights, django_assert_num_queries):
    booking = book(ann, lights)
    admin_client.get(URL)
    # The session, the user, customers, names of guests, concerts, tiers; the count, the rows.
    with django_assert_num_queries(8):
        admin_client.get(URL, {"q": "northern"})
    # A number: the keys of its second, its key; the count, the rows.
    with django_assert_num_queries(6):
        admin_client.get(URL, {"q": booking.number})
    # The tiers of the concert as a filter, and as choices; the concert that is chosen.
    with django_assert_num_queries(7):
        admin_client.get(URL, {"concert": str(lights.concert_id)})
