"""A guest books on the page through the front, and no thread waits meanwhile."""

import uuid
from urllib.parse import urlencode

import pytest

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import access, claiming, views
from bookings.audit import audit
from bookings.models import Booking
from bookings.tests.guest_pages import EMAIL, guest_form
from bookings.trying_again import key_of_next
from concerts.tests.factories import TicketTierFactory
from ticketbook.tests.asgi import ask, only_django

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("both_modes", "every_payment_succeeds", "our_host"),
]

HEADERS = [
    ("Cookie", f"csrftoken={'a' * 32}"),
    ("Content-Type", "application/x-www-form-urlencoded"),
]


@pytest.fixture
def front(our_host):
    return only_django(threads=1)


def send(front, tier, quantity=1, key=None, *, cookie="", **more):
    form = guest_form(tier, quantity, key) | {"csrfmiddlewaretoken": "a" * 32} | more
    (_, csrf), *others = HEADERS
    headers = [("Cookie", "; ".join(filter(None, [csrf, cookie]))), *others]
    return ask(front, "POST", "/bookings/", urlencode(form).encode(), headers=headers)


def cookie_of(answer):
    headers = next(m["headers"] for m in answer.messages if m["type"] == "http.response.start")
    cookies = [value.decode() for name, value in headers if name == b"set-cookie"]
    (ours,) = (cookie for cookie in cookies if cookie.startswith(f"{access.COOKIE}="))
    return [("Cookie", ours.partition(";")[0])]


def test_a_declined_booking_is_tried_again_once(front, tier, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    ((_, cookie),) = cookie_of(send(front, tier))
    settings.PAYMENT_SUCCESS_RATE = 1
    failed = Booking.objects.get()
    fields = {"key": key_of_next(failed), "again": failed.pk, "cookie": cookie}
    first, again = (send(front, tier, **fields) for _ in range(2))
    made = Booking.objects.get(status="CONFIRMED")
    assert first["Location"] == again["Location"] == f"/bookings/{made.pk}/"
    assert made.user_id == failed.user_id
    for answer in (first, again):
        page = ask(front, "GET", answer["Location"], headers=cookie_of(answer))
        assert page.status_code == 200


def test_a_booking_leads_to_its_page_which_this_browser_opens(front, tier):
    answer = send(front, tier, 2)
    booking = Booking.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/bookings/{booking.pk}/")
    assert (booking.user.email, booking.quantity) == (EMAIL, 2)
    page = ask(front, "GET", answer["Location"], headers=cookie_of(answer))
    assert b"Your tickets are booked" in page.content


def test_a_form_sent_twice_books_once_and_either_answer_opens_it(front, tier):
    key = uuid.uuid4()
    first, again = (send(front, tier, key=key) for _ in range(2))
    assert first["Location"] == again["Location"]
    for answer in (first, again):
        page = ask(front, "GET", answer["Location"], headers=cookie_of(answer))
        assert page.status_code == 200
    assert Booking.objects.count() == 1


def test_a_refusal_keeps_what_was_typed(front):
    answer = send(front, TicketTierFactory(total_quantity=1), 2)
    assert answer.status_code == 409
    assert EMAIL.encode() in answer.content


def test_a_form_whose_booking_moves_meanwhile_finds_it(front, tier, settings, monkeypatch):
    if not settings.BOOKING_LANES:
        pytest.skip("the view places the booking itself, as in test_claiming.py")
    key, account, real = uuid.uuid4(), UserFactory(email=EMAIL), views.aplace
    page = send(front, tier, key=key)["Location"]

    async def move_first(wish, steps):
        guest = User(pk=wish.user.id)
        await steps.call(lambda: claiming.claim(guest, account))
        return await real(wish, steps)

    monkeypatch.setattr(views, "aplace", move_first)
    assert send(front, tier, key=key)["Location"] == page
    assert Booking.objects.count() == 1
    assert audit() == []
