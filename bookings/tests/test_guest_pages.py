"""Booking on the page without an account, and reaching the booking again."""

import re
import uuid
from html import unescape

import pytest
from django.core import signing
from django.db import connection
from django.test import Client

from accounts.models import Session, User
from accounts.tests.factories import UserFactory
from bookings import access, guests, links
from bookings.models import Booking, GuestSlip
from bookings.tests.guest_pages import EMAIL, book_as_guest, guest_form, last_mail, path_in
from bookings.tests.pages import choice, drawn_key, form_of, page_of, post
from bookings.trying_again import key_of_next
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("every_payment_succeeds"),
]


def statements(act):
    """How many statements `act()` sends to the database."""
    sent = []

    def note(execute, sql, params, many, context):
        sent.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        act()
    return len(sent)


# --- The form -----------------------------------------------------------------------------------


def test_a_stranger_is_asked_for_name_and_address_and_a_customer_is_not(client, as_ann, tier):
    html = Client().get(f"/concerts/{tier.concert_id}/").content.decode()
    assert re.search(r'<input type="text" name="name"[^>]* autocomplete="name"', html)
    assert re.search(r'<input type="email" name="email"[^>]* autocomplete="email"', html)
    assert 'inputmode="email"' in html
    assert "Log in instead" in html
    assert 'name="email"' not in as_ann.get(f"/concerts/{tier.concert_id}/").content.decode()


def test_the_form_as_it_is_drawn_books(tier, left):
    strict = Client(enforce_csrf_checks=True)
    fields = form_of(strict, tier) | {"name": "Gwen", "email": EMAIL}
    page = post(strict, fields).url
    booking = Booking.objects.get()
    assert page == f"/bookings/{booking.pk}/"
    assert (booking.user.email, booking.user.is_guest, booking.status) == (EMAIL, True, "CONFIRMED")
    assert left(tier) == 98
    assert "Your tickets are booked" in strict.get(page).content.decode()
    assert not Session.objects.exists()  # so this browser still gets copies of all other pages


@pytest.mark.parametrize(
    ("field", "typed", "says"),
    [
        ("name", " ", "This field is required."),
        ("email", "", "This field is required."),
        ("email", "gwen at home", "Enter a valid email address."),
        ("email", "gwen@x\ua7ccx.com", "Enter a valid email address."),
        ("name", "G\u202ewen", "Remove characters that cannot be seen."),
        ("email", "x" * 250 + "@example.com", "at most 254 characters"),
        ("name", "G\0wen", "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_all_is_kept(client, tier, field, typed, says):
    fields = guest_form(tier, 3) | {field: typed}
    response = post(client, fields)
    html = response.content.decode()
    assert response.status_code == 400
    label = html.index(f'for="id_{field}"')
    assert label < html.index(says) < html.index(f'name="{field}"')
    assert drawn_key(response) == fields["idempotency_key"]
    assert re.search(r'value="3" required checked', html)
    other = {"name": "email", "email": "name"}[field]
    assert f'value="{fields[other]}"' in html
    assert not User.objects.guests().exists()


def test_log_in_instead_keeps_the_choice_and_books_nothing(client, tier):
    response = post(client, guest_form(tier, 3) | {"name": "", "log_in": "1"})
    assert response.url.startswith("/accounts/login/?next=")
    assert f"tier%3D{tier.pk}%26quantity%3D3" in response.url
    assert EMAIL not in response.url
    assert not Booking.objects.exists()


def test_log_in_instead_keeps_what_was_typed_if_something_has_changed(client, tier):
    """The half of an address is kept too, because the guest may come back and finish it."""
    fields = form_of(client, tier) | {"name": "Gwen", "email": "gwen@", "log_in": "1"}
    type(tier).objects.update(price=11)
    response = post(client, fields)
    html = response.content.decode()
    assert response.status_code == 409
    assert 'value="gwen@"' in html
    assert 'value="Gwen"' in html


def test_a_page_that_is_out_of_date_keeps_what_was_typed(tier):
    strict = Client(enforce_csrf_checks=True)
    fields = form_of(strict, tier) | {"name": "Gwen", "email": EMAIL}
    strict.cookies["csrftoken"] = "b" * 32
    response = post(strict, fields)
    html = response.content.decode()
    assert response.status_code == 403
    assert "Press the button once more" in html
    assert 'value="Gwen"' in html
    assert f'value="{EMAIL}"' in html


def test_a_price_that_has_changed_is_asked_about_and_all_is_kept(client, tier):
    fields = form_of(client, tier) | {"name": "Gwen", "email": EMAIL}
    type(tier).objects.update(price=11)
    response = post(client, fields)
    html = response.content.decode()
    assert response.status_code == 409
    assert "went from $10.00 to $11.00" in html
    assert f'value="{EMAIL}"' in html
    assert 'value="Gwen"' in html


def test_a_refusal_sets_no_cookie(client):
    response = post(client, guest_form(TicketTierFactory(total_quantity=1), 2))
    assert response.status_code == 409
    assert access.COOKIE not in response.cookies


def test_a_guest_costs_at_most_one_statement_more_than_a_customer(client, tier):
    ann, gwen = UserFactory(), Client()
    client.force_login(ann)
    book_as_guest(gwen, tier)
    post(client, choice(tier))
    of_customer = statements(lambda: post(client, choice(tier)))
    of_guest = statements(lambda: book_as_guest(gwen, tier))
    of_new_guest = statements(lambda: book_as_guest(Client(), tier, email="new@example.com"))
    assert of_guest <= of_customer + 1
    assert of_new_guest <= of_customer + 1


# --- One form, one booking ----------------------------------------------------------------------


def test_the_same_form_twice_books_once_and_says_so(client, tier):
    key = uuid.uuid4()
    first, again = (book_as_guest(client, tier, key=key) for _ in range(2))
    assert first == again
    assert Booking.objects.count() == 1
    assert "booked once" in client.get(again).content.decode()


def test_the_form_of_a_guest_who_has_logged_in_since_books_once(client, tier, ann, left):
    key = uuid.uuid4()
    page = book_as_guest(client, tier, key=key)
    client.force_login(ann)
    again = post(client, choice(tier, key=key))  # as the page is drawn now
    assert again.url == page
    assert "booked once" in client.get(page).content.decode()
    assert post(client, choice(tier, 3, key)).status_code == 422
    assert left(tier) == 98


def test_a_try_that_a_guest_has_made_is_not_made_again_after_a_log_in(client, tier, ann, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    failed = book_as_guest(client, tier)
    settings.PAYMENT_SUCCESS_RATE = 1
    made = book_as_guest(client, tier, key=key_of_next(Booking.objects.get()))
    client.force_login(ann)
    again = post(client, choice(tier, key=key_of_next(Booking.objects.get(status="FAILED"))))
    assert again.url == made != failed
    assert Booking.objects.count() == 2


def test_two_spellings_of_an_address_are_one_guest(client, tier):
    key = uuid.uuid4()
    spellings = (EMAIL, "Gwen@EXAMPLE.com", " ｇwen@example.com ")
    assert len({book_as_guest(client, tier, key=key, email=each) for each in spellings}) == 1
    assert User.objects.guests().get().email == EMAIL


def test_one_key_of_two_addresses_makes_two_bookings(client, tier):
    key = uuid.uuid4()
    pages = {book_as_guest(client, tier, key=key, email=f"{n}@example.com") for n in range(2)}
    assert len(pages) == 2


def test_two_browsers_have_their_own_bookings_of_one_guest(tier):
    one, other = Client(), Client()
    first, second = book_as_guest(one, tier), book_as_guest(other, tier)
    assert User.objects.guests().count() == 1
    assert one.get(first).status_code == other.get(second).status_code == 200
    assert one.get(second).url.startswith("/accounts/login/")


def test_the_name_of_a_booking_is_the_one_that_was_typed_for_it(tier, client):
    book_as_guest(client, tier, name="Gwen")
    first = Booking.objects.get()
    book_as_guest(Client(), tier, name="You fool")
    second = Booking.objects.exclude(pk=first.pk).get()
    assert guests.name_for(first) == "Gwen"
    assert guests.name_for(second) == "You fool"
    assert "You fool" not in page_of(client, first)


def test_staff_see_the_name_that_was_typed_and_that_it_is_a_guest(admin_client, client, tier):
    book_as_guest(client, tier)
    book_as_guest(Client(), tier, name="Hal")
    for booking, name in zip(Booking.objects.order_by("pk"), ["Gwen", "Hal"], strict=True):
        html = admin_client.get(f"/admin/bookings/booking/{booking.pk}/change/").content.decode()
        assert f"{EMAIL} (guest)" in html
        assert f'<div class="readonly">{name}</div>' in html


def test_a_declined_guest_tries_again_with_one_button(client, tier, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    page = book_as_guest(client, tier)
    settings.PAYMENT_SUCCESS_RATE = 1
    html = client.get(page).content.decode()
    form = html[html.index('id="next-try"') :]
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    again = post(client, {name: unescape(value) for name, value in hidden})
    assert again.status_code == 303
    assert client.get(again.url).status_code == 200
    assert {b.user.email for b in Booking.objects.select_related("user")} == {EMAIL}
    assert [b.status for b in Booking.objects.order_by("pk")] == ["FAILED", "CONFIRMED"]


def test_of_a_declined_booking_no_mail_is_told(client, tier, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    html = client.get(book_as_guest(client, tier)).content.decode()
    assert f"Tickets that you book go to {EMAIL}." in html
    assert "link in our mails" not in html
    assert "Stop the mailed link" not in html


# --- Who may open it ----------------------------------------------------------------------------

PAGES = ["", "cancellation/", "tickets.pdf", "calendar.ics", "payment/"]


def test_this_browser_opens_all_that_belongs_to_the_booking(client, tier):
    page = book_as_guest(client, tier)
    assert [client.get(page + part).status_code for part in PAGES] == [200, 200, 200, 200, 303]
    assert client.post(f"{page}tickets/1/", {"name": "Hal"}).status_code == 303
    assert "Hal" in client.get(page).content.decode()
    assert client.post(f"{page}tickets/again/").status_code == 303
    assert Mail.objects.filter(kind="tickets", address=EMAIL).count() == 2
    client.post(f"{page}cancellation/")
    assert Booking.objects.get().status == "CANCELLED"


@pytest.mark.parametrize("part", [*PAGES, "tickets/1/", "tickets/again/", "link/", "keep/"])
def test_a_stranger_is_told_the_same_of_a_booking_and_of_none(client, tier, part):
    page = book_as_guest(client, tier)
    nothing = f"/bookings/{uuid.uuid4()}/"
    stranger, customer = Client(), Client()
    customer.force_login(UserFactory(email=EMAIL))  # even with the guest's address
    for method in ("get", "post"):
        for who in (stranger, customer):
            of_guest, of_none = (getattr(who, method)(at + part) for at in (page, nothing))
            if of_guest.status_code == 405:
                continue
            assert of_guest.status_code == of_none.status_code in {302, 303, 404}
            if of_guest.status_code != 404:
                where = of_guest.url.replace(page, nothing)
                assert where == of_none.url
    assert Booking.objects.get().status == "CONFIRMED"
    assert GuestSlip.objects.get().stops == 0


def test_a_cookie_that_somebody_has_written_opens_nothing(client, tier):
    page = book_as_guest(client, tier)
    slip = GuestSlip.objects.get()
    forger = Client()
    forger.cookies[access.COOKIE] = signing.dumps([(slip.pk.hex, 0)], salt="another")
    assert forger.get(page).status_code == 302
    forger.cookies[access.COOKIE] = "x\0:y:z"
    assert forger.get(page).status_code == 302


def test_a_browser_remembers_its_newest_bookings_only(client, tier):
    pages = [book_as_guest(client, tier, 1) for _ in range(access.MOST + 1)]
    assert client.get(pages[0]).status_code == 302
    assert {client.get(page).status_code for page in pages[1:]} == {200}


def test_my_bookings_are_those_of_this_browser(client, tier, ann):
    assert client.get("/bookings/").url == "/accounts/login/?next=/bookings/"
    page = book_as_guest(client, tier)
    assert page in client.get("/bookings/").content.decode()
    assert "no-store" in client.get("/bookings/")["Cache-Control"]
    client.force_login(ann)
    assert page not in client.get("/bookings/").content.decode()
    assert client.get(page).status_code == 200
    client.logout()
    client.post("/bookings/forget/")
    assert client.get("/bookings/").status_code == 302
    assert client.get(page).status_code == 302


# --- The mailed link ----------------------------------------------------------------------------


def mailed_link(client, page):
    client.get(page)  # makes the tickets, and posts their mail
    return path_in(last_mail("tickets"), "/b/")


def test_the_mailed_link_opens_the_booking_in_another_browser(client, tier):
    page = book_as_guest(client, tier)
    link, other = mailed_link(client, page), Client()
    own = book_as_guest(other, tier)
    first = other.get(link)
    second = other.get(first.url)
    assert (first.status_code, second.status_code, second.url) == (302, 302, page)
    for answer in (first, second):
        assert answer["Referrer-Policy"] == "no-referrer"
        assert answer["X-Robots-Tag"] == "noindex"
        assert "no-store" in answer["Cache-Control"]
    assert other.get(page).status_code == other.get(own).status_code == 200


def test_to_open_the_link_writes_nothing(client, tier):
    link = mailed_link(client, book_as_guest(client, tier))
    written = []

    def note(execute, sql, params, many, context):
        written.append(not sql.lstrip().upper().startswith("SELECT"))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        Client().get(link, follow=True)
    assert written
    assert not any(written)


@pytest.mark.parametrize("change", [str.upper, lambda link: link[:-2], lambda link: link + "x"])
def test_a_link_that_was_changed_opens_nothing(client, tier, change):
    link = mailed_link(client, book_as_guest(client, tier))
    assert Client().get(f"/b/{change(link[3:-1])}/").status_code == 404


def test_a_stopped_link_is_dead_in_all_other_browsers(client, tier):
    page = book_as_guest(client, tier)
    old, other = mailed_link(client, page), Client()
    other.get(old, follow=True)
    assert client.post(f"{page}link/").url == page
    assert client.get(page).status_code == 200
    gone = Client().get(old)
    assert gone.status_code == 410
    assert "was stopped" in gone.content.decode()
    assert Client().get(old.replace("/b/", "/bookings/link/")).status_code == 410
    assert other.get(page).status_code == 302
    assert Mail.objects.get(kind=links.NEW_LINK).address == EMAIL
    assert Client().get(path_in(last_mail(links.NEW_LINK), "/b/"), follow=True).status_code == 200


def test_after_a_stop_the_form_opens_nothing_either(client, tier):
    """The browser of a library may still have the page with the form, and all that was typed."""
    library, key = Client(), uuid.uuid4()
    page = book_as_guest(library, tier, key=key)
    client.get(client.get(mailed_link(library, page)).url)
    assert client.post(f"{page}link/").url == page
    assert book_as_guest(library, tier, key=key) == page
    assert library.get(page).url.startswith("/accounts/login/")
    assert client.get(page).status_code == 200


def test_a_link_is_not_stopped_again_and_again(client, tier):
    page = book_as_guest(client, tier)
    for _ in range(5):
        client.post(f"{page}link/")
    assert Mail.objects.filter(kind=links.NEW_LINK).count() == 3
    assert GuestSlip.objects.get().stops == 3
