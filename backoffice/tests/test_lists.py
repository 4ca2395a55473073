"""The back office groups its lists, says what each one is, and shows it quickly if it has many rows."""

import re
import uuid

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.utils import timezone
from django.utils.html import escape

from accounts.models import User
from accounts.tests.factories import UserFactory
from backoffice import paging
from backoffice.lists import FOR_SUPERUSERS, GROUPS, LISTS
from backoffice.paging import CappedPaginator
from backoffice.tests.random_sales import sell_at_random
from bookings.models import Booking, Refund
from mail.models import Mail
from tickets.codes import new_code
from tickets.models import Ticket

pytestmark = pytest.mark.django_db

REGISTERED = {model._meta.label: model for model in admin.site._registry}


def url_of(label):
    return f"/admin/{label.lower().replace('.', '/')}/"


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def test_every_list_has_a_place_and_a_sentence():
    assert set(LISTS) == set(REGISTERED)


def test_a_list_says_what_it_is_and_what_to_do_if_it_is_empty(admin_client):
    for label, words in LISTS.items():
        response = admin_client.get(url_of(label))
        assert escape(words.about) in text(response), label
        is_empty = not response.context["cl"].result_count
        assert (escape(words.when_empty) in text(response)) == is_empty, label


def test_a_filter_that_finds_nothing_leads_back_to_everything(admin_client):
    page = text(admin_client.get(url_of("bookings.Booking"), {"status": "FAILED"}))
    assert "Nothing is like that." in page
    assert LISTS["bookings.Booking"].when_empty not in page


def test_lists_are_grouped_by_what_people_do(admin_client):
    page = text(admin_client.get(url_of("concerts.Concert")))
    captions = re.findall(r"<caption>(.*?)</caption>", page)
    assert captions == ["Needs you", *GROUPS]


def test_the_corner_is_for_superusers(client):
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    client.force_login(user)
    assert "Internals" not in text(client.get("/admin/"))
    codes = {label: client.get(url_of(label)).status_code for label in REGISTERED}
    assert {label for label, code in codes.items() if code == 403} == FOR_SUPERUSERS
    assert {code for label, code in codes.items() if label not in FOR_SUPERUSERS} == {200}


def test_no_page_shows_the_key_of_a_session(admin_client):
    key = admin_client.session.session_key
    assert key not in text(admin_client.get(url_of("accounts.Session")))


def test_users_with_sessions_are_deleted_by_whoever_may_delete_users(client):
    clerk, ann = UserFactory(is_staff=True), UserFactory()
    may = ["view_user", "delete_user", "delete_authtoken"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=may))
    client.force_login(ann)  # makes a session of Ann's
    client.cookies.clear()
    client.force_login(clerk)
    assert ann.sessions.exists()
    url = f"{url_of('accounts.User')}{ann.pk}/delete/"
    assert client.post(url, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=ann.pk).exists()


# --- Long lists ---------------------------------------------------------------------------------


def test_a_long_list_is_counted_up_to_a_limit(admin_client, monkeypatch):
    sell_at_random(1, now=timezone.now(), days=1, bookings=120)
    url = url_of("bookings.Booking")
    assert "120 bookings" in text(admin_client.get(url))
    monkeypatch.setattr(paging, "MOST", 70)
    page = text(admin_client.get(url))
    assert "More than 70 bookings." in page
    assert len(re.findall(r'<a role="?button|href="\?p=2"', page)) == 1
    second = list(admin_client.get(f"{url}?p=2").context["cl"].result_list)
    assert second == list(Booking.objects.order_by("-id")[50:70])
    assert admin_client.get(f"{url}?p=3").status_code == 302  # there is no such page to reach


def test_all_rows_of_a_list_that_was_not_counted_are_not_offered(admin_client, monkeypatch):
    sell_at_random(1, now=timezone.now(), days=1, bookings=300)
    monkeypatch.setattr(paging, "MOST", 51)
    page = text(admin_client.get(url_of("bookings.Refund")))
    assert "More than 51 refunds." in page
    assert 'class="question' not in page
    monkeypatch.setattr(paging, "MOST", 10_000)
    assert 'class="question' in text(admin_client.get(url_of("bookings.Refund")))


def test_the_paginator_does_not_count_further(django_assert_num_queries, monkeypatch):
    monkeypatch.setattr(paging, "MOST", 3)
    UserFactory.create_batch(5)
    with django_assert_num_queries(1) as queries:
        paginator = CappedPaginator(User.objects.order_by("email"), 2)
        assert (paginator.count, paginator.num_pages, paginator.is_capped) == (3, 2, True)
    assert "LIMIT 4" in queries[0]["sql"]
    assert "ORDER BY" not in queries[0]["sql"]
    assert CappedPaginator([1, 2], 2).count == 2


@pytest.fixture
def season():
    """Rows for every list of customers' things."""
    sell_at_random(1, now=timezone.now(), days=1, bookings=60)
    for booking in Booking.objects.filter(status="CONFIRMED"):
        Ticket.objects.create(booking=booking, number=1, code=new_code())
        Mail.objects.create(
            kind="tickets",
            about=booking.pk,
            key=str(booking.pk),
            address=booking.user.email,
            message_id=f"<{booking.pk}>",
        )


# The session, the user, the number of rows, and the rows. Lists with forms have a savepoint around that.
QUERIES = {
    "bookings.Booking": 4,
    "bookings.Refund": 4,
    "bookings.PaymentEvent": 3,  # there are none
    "tickets.Ticket": 4,
    "mail.Mail": 4,
    "concerts.Concert": 8,  # the tiers of its concerts, and their money
    "concerts.TicketTier": 6,
    "accounts.User": 6,
}
UNSHOWN = [
    "password",
    "description",
    "search_text",
    "idempotency_key",
    "message_id",
    "session_data",
]


def test_a_list_takes_few_queries_and_reads_what_it_shows(
    admin_client, django_assert_num_queries, season
):
    for label, expected in QUERIES.items():
        url = url_of(label)
        admin_client.get(url)
        with django_assert_num_queries(expected, info=label) as queries:
            admin_client.get(url)
        table = REGISTERED[label]._meta.db_table
        rows = [
            q["sql"] for q in queries if f'FROM "{table}"' in q["sql"] and "ORDER BY" in q["sql"]
        ]
        assert rows or label == "bookings.PaymentEvent"
        read = {name for sql in rows for name in UNSHOWN if f'"{name}"' in sql}
        assert read == set(), label


# --- Searches -----------------------------------------------------------------------------------


def found(client, label, term):
    return client.get(url_of(label), {"q": term}).context["cl"].result_count


def test_bookings_refunds_and_tickets_are_found_by_customer_and_number(admin_client, season):
    sell_at_random(2, now=timezone.now(), days=1, bookings=40)
    ann = Booking.objects.order_by("created_at").first().user
    ann.name = "Ann Oakley"
    ann.save()
    for label, path in (
        ("bookings.Booking", "user"),
        ("bookings.Refund", "booking__user"),
        ("tickets.Ticket", "booking__user"),
    ):
        of_ann = REGISTERED[label].objects.filter(**{path: ann}).count()
        for term in (ann.email, ann.email.upper(), "oakley", f"  {ann.public_id} "):
            assert found(admin_client, label, term) == of_ann, (label, term)
        assert found(admin_client, label, "nobody at all") == 0
    refund = Refund.objects.first()
    assert found(admin_client, "bookings.Booking", str(refund.booking_id)) == 1
    assert found(admin_client, "bookings.Refund", str(refund.pk)) == 1
    of_booking = Refund.objects.filter(booking=refund.booking).count()
    assert found(admin_client, "bookings.Refund", str(refund.booking_id)) == of_booking
    ticket = Ticket.objects.first()
    assert found(admin_client, "tickets.Ticket", ticket.code.lower()) == 1
    assert found(admin_client, "tickets.Ticket", str(ticket.booking_id)) == 1
    assert found(admin_client, "mail.Mail", ann.email[:6].upper()) == Mail.objects.count()
    assert found(admin_client, "mail.Mail", f"<{ticket.booking_id}>") == 1
    assert found(admin_client, "bookings.PaymentEvent", str(uuid.uuid4())) == 0


def test_a_search_that_means_too_many_customers_says_so(admin_client, monkeypatch):
    monkeypatch.setattr("bookings.searching.MOST", 2)
    UserFactory.create_batch(3, name="Smith")
    page = text(admin_client.get(url_of("bookings.Booking"), {"q": "smith"}, follow=True))
    assert "More than 2 customers are like that." in page


def test_the_form_of_a_new_row_shows_nothing_that_it_does_not_have_yet(admin_client):
    shown = 0
    for label in REGISTERED:
        page = admin_client.get(f"{url_of(label)}add/")
        assert " object at 0x" not in page.content.decode(), label
        shown += page.status_code == 200
    assert shown >= 4  # concerts, tiers, users, groups
