"""All times in answers of the API have one format, whoever makes the answer."""

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from bookings.tests.api_client import Api
from concerts.tests.factories import TicketTierFactory
from ticketbook.api.times import api_time
from ticketbook.tests.asgi import ask, only_django

pytestmark = pytest.mark.django_db(transaction=True)

BEGINS_LIKE_A_TIME = re.compile(r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d[^"]*')
FORMAT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
PASSWORD = "correct horse battery"


def times(answer):
    """The times in an answer; fails if one of them has another format."""
    found = BEGINS_LIKE_A_TIME.findall(answer.content.decode())
    assert [time for time in found if not FORMAT.fullmatch(time)] == []
    return found


@pytest.fixture
def tiers():
    """On sale; on sale later; over. Some of their times have whole seconds."""
    whole = datetime.now(UTC).replace(microsecond=0)
    broken = whole + timedelta(microseconds=1)
    day = timedelta(days=1)
    return [
        TicketTierFactory(
            concert__date=whole + 9 * day,
            concert__sales_open_at=broken - day,
            concert__sales_close_at=whole + day,
            concert__time_zone="Asia/Kathmandu",
        ),
        TicketTierFactory(
            concert__date=broken + 9 * day,
            concert__sales_open_at=whole + day,
            concert__time_zone="America/New_York",
        ),
        TicketTierFactory(concert__date=whole - day),
    ]


@pytest.mark.usefixtures("both_ways", "busy")
def test_every_answer_has_times_of_one_format(settings, client, ann, tiers):
    ann.set_password(PASSWORD)
    ann.save()
    on_sale, later, over = tiers
    api, seen = Api(ann), 0
    for rate in (1, 0):
        settings.PAYMENT_SUCCESS_RATE = rate
        key = uuid.uuid4()
        answers = [api.book(on_sale, 2, key), api.book(on_sale, 2, key)]  # and its replay
        assert {answer.status_code for answer in answers} == ({201} if rate else {402})
        for answer in answers:
            assert len(times(answer)) == 2
    for tier in (later, over):
        assert times(api.book(tier)) == []  # a sentence for people
    pk = api.get().json()[-1]["id"]
    assert api.post({}, f"/{pk}/cancellation").status_code == 200
    for path in ("", f"/{pk}", f"/{ann.public_id}", "?limit=1"):
        answer = api.get(path)
        assert answer.status_code == 200
        seen += len(times(answer))
    for _ in range(3):  # the later ones are copies
        for front in (only_django(), client):
            for path in ("", f"/{later.concert_id}", f"/{later.concert_id}/availability"):
                url = f"/api/v1/concerts{path}"
                answer = client.get(url) if front is client else ask(front, "GET", url)
                seen += len(times(answer))
    log_in = {"email": ann.email, "password": PASSWORD}
    token = client.post("/api/v1/auth/token", log_in, content_type="application/json")
    assert len(times(token)) == 1
    assert len(times(client.get("/api/v1/health-check"))) == 1
    assert seen > 50


def test_a_time_from_an_answer_means_the_same_moment_when_it_is_sent_back(client, tiers):
    for tier in tiers:
        date = client.get(f"/api/v1/concerts/{tier.concert_id}").json()["date"]
        (found,) = client.get("/api/v1/concerts", {"dateFrom": date, "dateTo": date}).json()
        assert found["id"] == str(tier.concert_id)


@pytest.mark.parametrize("house", ["UTC", "Asia/Kathmandu"])
def test_times_are_in_utc_wherever_the_house_is(settings, client, tiers, house):
    settings.TIME_ZONE = house
    body = client.get(f"/api/v1/concerts/{tiers[1].concert_id}").json()
    assert body["date"] == api_time(tiers[1].concert.date)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 12, 11, 0, 30, tzinfo=UTC), "2026-12-11T00:30:00.000000Z"),
        (datetime(7, 1, 1, 0, 0, 0, 12, tzinfo=UTC), "0007-01-01T00:00:00.000012Z"),
    ],
)
def test_the_format(at, text):
    assert api_time(at) == text


def test_a_refusal_says_when_sales_open_by_the_clock_of_the_venue(both_ways, ann, tiers):
    _, later, over = tiers
    type(later.concert).objects.filter(pk=later.concert_id).update(
        sales_open_at=datetime(2031, 12, 11, 0, 30, tzinfo=UTC),
        date=datetime(2032, 1, 1, tzinfo=UTC),
    )
    detail = Api(ann).book(later).json()["detail"]
    assert detail == (
        "This concert is not on sale now. Sales open on Wed 10 Dec 2031, 19:30 (New York time)."
    )
    assert "It began on" in Api(ann).book(over).json()["detail"]


def test_my_bookings_and_a_booking_show_the_clock_of_the_venue(as_ann, ann, book, settings):
    settings.PAYMENT_SUCCESS_RATE = 1
    tier = TicketTierFactory(
        concert__date=datetime(2031, 12, 11, 0, 30, tzinfo=UTC),
        concert__time_zone="America/New_York",
    )
    booking = book(ann, tier)
    for path in ("", f"{booking.pk}/", f"{booking.pk}/cancellation/"):
        html = as_ann.get(f"/bookings/{path}").content.decode()
        assert "Wed 10 Dec 2031, 19:30 (New York time)" in html
