"""One address of clients cannot send forms without an account as fast as it likes."""

import re
from ipaddress import ip_network
from urllib.parse import urlencode

import pytest
from django.test import Client

from accounts import pace
from accounts.models import User
from accounts.throttle import Counted
from bookings.models import Booking, GuestSlip
from bookings.tests.guest_pages import EMAIL, guest_form
from bookings.tests.pages import choice, drawn_key
from bookings.tests.racing import race
from bookings.tests.test_guests_on_the_loop import HEADERS
from concerts.tests.factories import TicketTierFactory
from ticketbook.errors import Throttled
from ticketbook.tests.asgi import ask, only_django

LIMIT = 3
HERE, THERE, NEAR = "192.0.2.1", "198.51.100.1", "192.0.2.2"

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("every_payment_succeeds", "a_limit"),
]


@pytest.fixture
def a_limit(settings, monkeypatch):
    """The clock of the counts stands still, so no slow test outlasts a wait."""
    monkeypatch.setattr(pace, "monotonic", lambda: 0.0)
    settings.GUEST_FORMS_PER_ADDRESS = LIMIT
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]


@pytest.fixture
def declined(settings, every_payment_succeeds):
    settings.PAYMENT_SUCCESS_RATE = 0


def send(fields, address=HERE, client=None):
    return (client or Client()).post("/bookings/", fields, headers={"X-Forwarded-For": address})


def flood(tier, address=HERE, forms=LIMIT):
    """Send so many forms, each for another address of mail. Returns the codes of their answers."""
    return [
        send(guest_form(tier, 1, email=f"{n}@example.com"), address).status_code
        for n in range(forms)
    ]


@pytest.mark.usefixtures("declined")
def test_too_many_forms_are_refused_and_nothing_typed_is_lost(tier):
    assert flood(tier) == [303] * LIMIT
    fields = guest_form(tier, 4)
    refused = send(fields)
    html = refused.content.decode()
    assert refused.status_code == 429
    assert 1 <= int(refused["Retry-After"]) <= 20
    assert f"Press the button again in {refused['Retry-After']} second" in html
    assert "Nothing was charged" in html
    assert drawn_key(refused) == fields["idempotency_key"]
    assert f'value="{EMAIL}"' in html
    assert 'value="Gwen"' in html
    assert re.search(r'value="4" required checked', html)
    assert re.search(rf'value="{tier.pk}" required checked', html)
    assert not User.objects.filter(email=EMAIL).exists()
    assert not GuestSlip.objects.filter(address=EMAIL).exists()


@pytest.mark.usefixtures("declined")
def test_the_same_form_books_when_the_wait_is_over(tier):
    flood(tier)
    fields = guest_form(tier)
    assert send(fields).status_code == 429
    pace.forget()
    assert send(fields).status_code == 303


@pytest.mark.usefixtures("declined")
def test_others_book_meanwhile(tier, ann):
    flood(tier)
    assert send(guest_form(tier), THERE).status_code == 303
    assert send(guest_form(tier), NEAR).status_code == 303
    as_ann = Client()
    as_ann.force_login(ann)
    assert send(choice(tier), client=as_ann).status_code == 303


@pytest.mark.usefixtures("declined")
def test_a_network_may_send_four_times_as_many(tier):
    codes = [code for last in range(1, 7) for code in flood(tier, f"192.0.2.{last}")]
    assert codes == [303] * 4 * LIMIT + [429] * 2 * LIMIT


def test_those_who_pay_are_never_too_many(tier):
    assert flood(tier, forms=3 * LIMIT) == [303] * 3 * LIMIT


def test_free_tickets_count_because_they_are_mailed(settings):
    assert flood(TicketTierFactory(price=0), forms=LIMIT + 1) == [303] * LIMIT + [429]


def test_a_crowd_that_comes_too_late_is_told_so(tier):
    one = TicketTierFactory(total_quantity=1)
    assert [send(guest_form(one, 2)).status_code for _ in range(3 * LIMIT)] == [409] * 3 * LIMIT


def test_refusals_that_tell_of_an_address_count(settings):
    tier = TicketTierFactory(max_per_customer=1)
    assert send(guest_form(tier, 1)).status_code == 303
    codes = [send(guest_form(tier, 1)).status_code for _ in range(LIMIT + 1)]
    assert codes == [409] * LIMIT + [429]


@pytest.mark.usefixtures("declined")
def test_zero_is_no_limit(tier, settings):
    settings.GUEST_FORMS_PER_ADDRESS = 0
    assert flood(tier, forms=3 * LIMIT) == [303] * 3 * LIMIT


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("both_modes")
def test_on_the_loop_too(tier, settings, our_host):
    settings.TRUSTED_PROXIES = []
    front = only_django(threads=1)

    def send_to_front(n, tier=tier):
        form = guest_form(tier, email=f"{n}@example.com") | {"csrfmiddlewaretoken": "a" * 32}
        answer = ask(front, "POST", "/bookings/", urlencode(form).encode(), headers=HEADERS)
        return answer.status_code

    assert [send_to_front(n) for n in range(2 * LIMIT)] == [303] * 2 * LIMIT  # all are paid
    gone = TicketTierFactory(total_quantity=0)
    assert [send_to_front(n, gone) for n in range(2 * LIMIT)] == [409] * 2 * LIMIT
    settings.PAYMENT_SUCCESS_RATE = 0
    assert [send_to_front(n) for n in range(LIMIT + 1)] == [303] * LIMIT + [429]
    assert Booking.objects.count() == 3 * LIMIT


# --- The counts ---------------------------------------------------------------------------------


def test_attempts_at_one_moment_cannot_pass_together():
    one = Counted("key", LIMIT, 3600.0, 3600.0, 3600.0)
    assert race(lambda _: pace.count(one), 8) == {type(None): LIMIT, Throttled: 8 - LIMIT}


def test_an_attempt_is_counted_everywhere_or_nowhere():
    wide, narrow = (
        Counted(key, n, 3600.0, 3600.0, 3600.0) for key, n in (("wide", 2), ("narrow", 1))
    )
    pace.count(wide, narrow)
    with pytest.raises(Throttled):
        pace.count(wide, narrow)
    pace.count(wide)


def test_what_was_taken_back_does_not_count():
    one = Counted("key", 1, 3600.0, 3600.0, 3600.0)
    for _ in range(3):
        pace.count(one)
        pace.take_back(one)


def test_the_counts_take_little_memory(monkeypatch):
    monkeypatch.setattr(pace, "MOST", 10)
    for n in range(100):
        pace.count(Counted(str(n), 1, 3600.0, 3600.0, 3600.0))
    assert len(pace._forgotten_at) <= 10
    assert "99" in pace._forgotten_at
