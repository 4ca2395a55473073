"""A guest list: the page says what will come of each line, books each line once, and says what came of it."""

import re
import uuid
from collections import Counter

import pytest
from django.test import Client

from accounts.tests.factories import UserFactory
from backoffice.verbs import guest_list
from backoffice.verbs.guest_list import GuestList, read
from bookings.audit import audit
from bookings.models import Booking
from bookings.tests.racing import race
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db
LIST = GuestList()
GUESTS = "Gwen Lee <gwen@example.com> 2\n\nBob, bob@example.com, 1\nAnn <ann@example.com> 9"


@pytest.fixture
def tier():
    return TicketTierFactory(total_quantity=5, price=45)


def typed(guests=GUESTS, **changes):
    decided = {"source": "ARTIST", "paid": "none", "reason": "the band's list"}
    return {"once": str(uuid.uuid4()), "guests": guests} | decided | changes


def send(client, tier, form, *, go=True):
    """Look at the list, and then press the button that books it. Returns both pages."""
    look = client.post(LIST.address(tier), form | {"look": ""}).content.decode()
    button = re.search(r'name="(book-\w+)"', look)
    if not (go and button):
        return look, ""
    return look, client.post(LIST.address(tier), form | {button[1]: ""}).content.decode()


def booked():
    return Counter(
        dict(Booking.objects.filter(status="CONFIRMED").values_list("user__email", "quantity"))
    )


def test_the_first_look_says_what_will_come_of_each_line_and_books_nothing(admin_client, tier):
    UserFactory(email="bob@example.com")
    look, _ = send(admin_client, tier, typed(), go=False)
    assert "2 tickets will be booked for a guest." in look
    assert "1 ticket will be booked for the account with this address." in look
    assert "Not booked: Only 2 tickets are available." in look
    assert 'value="Book 3 tickets"' in look
    assert not Booking.objects.exists()


def test_the_second_one_books_and_says_what_came_of_each_line(admin_client, tier):
    _, result = send(admin_client, tier, typed())
    assert "2 of 3 lines are booked." in result
    assert "Not booked: Only 2 tickets are available." in result
    assert result.count("/tickets.pdf") == 2
    assert booked() == {"gwen@example.com": 2, "bob@example.com": 1}
    assert set(Booking.objects.values_list("source", "gateway")) == {("ARTIST", "none")}
    assert audit() == []


def test_a_list_that_is_sent_again_books_nothing_anew(admin_client, tier):
    form = typed()
    send(admin_client, tier, form)
    look, result = send(admin_client, tier, form)
    assert look.count("This was booked before.") == 2
    assert result.count("booked before") == 2
    assert booked().total() == 3


def test_a_list_that_was_corrected_books_only_what_is_new(admin_client, tier):
    form = typed()
    send(admin_client, tier, form)
    look, result = send(admin_client, tier, form | {"guests": GUESTS.replace("> 9", "> 2")})
    assert 'value="Book 2 tickets"' in look
    assert "3 of 3 lines are booked." in result
    assert booked() == {"gwen@example.com": 2, "bob@example.com": 1, "ann@example.com": 2}
    # A booked line with another number is not a second booking.
    look, _ = send(admin_client, tier, form | {"guests": "gwen  lee <GWEN@example.com> 1"})
    assert "booked before with another number of tickets" in look
    assert booked().total() == 5


def test_what_was_typed_after_the_first_look_is_looked_at_first(admin_client, tier):
    form = typed("Gwen <gwen@example.com> 1")
    look, _ = send(admin_client, tier, form, go=False)
    button = re.search(r'name="(book-\w+)"', look)[1]
    for change in ({"guests": "Gwen <gwen@example.com> 3"}, {"paid": "cash"}, {"source": "HOUSE"}):
        page = admin_client.post(LIST.address(tier), form | change | {button: ""})
        assert "What will happen" in page.content.decode()
    other = TicketTierFactory()
    admin_client.post(LIST.address(other), form | {button: ""})
    assert not Booking.objects.exists()


def test_a_process_that_dies_in_the_middle_is_finished_by_the_same_form(
    admin_client, tier, monkeypatch
):
    form, real, calls = typed(), guest_list.book, []

    def die_at_the_second(order):
        calls.append(order)
        if len(calls) == 2:
            raise SystemExit
        return real(order)

    monkeypatch.setattr(guest_list, "book", die_at_the_second)
    with pytest.raises(SystemExit):
        send(admin_client, tier, form)
    assert booked() == {"gwen@example.com": 2}
    monkeypatch.setattr(guest_list, "book", real)
    send(admin_client, tier, form)
    assert booked() == {"gwen@example.com": 2, "bob@example.com": 1}
    assert audit() == []


@pytest.mark.django_db(transaction=True)
def test_a_list_that_is_sent_four_times_at_once_books_each_line_once(admin_user, tier):
    TicketTier.objects.update(total_quantity=100, available_quantity=100)
    form = typed("\n".join(f"Guest {n} <guest{n}@example.com> 2" for n in range(6)))

    def send_it(i):
        client = Client()
        client.force_login(admin_user)
        return send(client, tier, form)

    assert race(send_it, 4) == {tuple: 4}
    assert booked() == {f"guest{n}@example.com": 2 for n in range(6)}
    assert Booking.objects.count() == 6
    assert audit() == []


def test_two_with_one_address_are_two_lines_and_the_same_line_twice_is_none(admin_client, tier):
    guests = "Ann <m@example.com> 1\nBob <m@example.com> 1\nann <M@example.com> 1"
    look, result = send(admin_client, tier, typed(guests))
    assert "Line 1 has the same name and address" in look
    assert "2 of 3 lines are booked." in result
    assert Booking.objects.count() == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gwen Lee <gwen@example.com> 2", ("Gwen Lee", "gwen@example.com", 2)),
        ("Gwen Lee <GWEN@example.com>", ("Gwen Lee", "gwen@example.com", 1)),
        ("Lee, Gwen <gwen@example.com>, 2", ("Lee, Gwen", "gwen@example.com", 2)),
        ("Gwen,gwen@example.com,3", ("Gwen", "gwen@example.com", 3)),
        ('"Lee, Gwen", gwen@example.com, 3', ("Lee, Gwen", "gwen@example.com", 3)),
        ("Gwen;gwen@example.com;3", ("Gwen", "gwen@example.com", 3)),
        ("Gwen\tgwen@example.com\t3", ("Gwen", "gwen@example.com", 3)),
        ("Gwen, gwen@example.com", ("Gwen", "gwen@example.com", 1)),
    ],
)
def test_a_line_is_read_in_the_ways_that_people_write_it(text, expected):
    line = read(text)
    assert (line.name, line.email, line.quantity) == expected
    assert line.is_good


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Gwen", "Write a line as"),
        ("gwen@example.com", "Write a line as"),
        ("Gwen, gwen@example.com, 2, VIP", "Write a line as"),
        ("Gwen <gwen>", "Enter a valid email address."),
        ("<gwen@example.com> 2", "Name: This field is required."),
        ("Gwen <gwen@example.com> 0", "Tickets: Ensure this value is greater than or equal to 1."),
        ("Gwen <gwen@example.com> 11", "less than or equal to 10"),
        ("Gwen <gwen@example.com> two", "Enter a whole number."),
        ("<script>alert(1)</script>", "Enter a"),
        ('"Gwen', "Write a line as"),
    ],
)
def test_a_line_that_cannot_be_read_says_why_and_the_others_are_booked(
    admin_client, tier, text, sentence
):
    look, result = send(admin_client, tier, typed(f"{text}\nBob <bob@example.com> 1"))
    assert sentence in look
    assert "<script>" not in look.split("What will happen")[1]
    assert "1 of 2 lines is booked." in result
    assert booked() == {"bob@example.com": 1}


def test_more_than_a_hundred_lines_are_refused_at_once(admin_client, tier):
    many = "\n".join(f"G <g{n}@example.com> 1" for n in range(101))
    page = admin_client.post(LIST.address(tier), typed(many)).content.decode()
    assert "These are 101 lines. Book at most 100 at a time." in page
    assert not Booking.objects.exists()
