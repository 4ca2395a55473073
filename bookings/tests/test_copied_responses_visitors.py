"""Which visitors share a copied response, and what each of them gets for itself."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from bookings.tests.addresses import API
from bookings.tests.pages import drawn
from concerts.tests.factories import TicketTierFactory
from ticketbook.copies import store

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]


@pytest.fixture
def ann(db):
    client = Client()
    client.force_login(User.objects.create_user("ann@example.com", "x", name="Ann"))
    return client


@pytest.mark.parametrize("url", ["home", "page", "concert page"], indirect=True)
def test_ann_gets_her_own_page_and_strangers_get_theirs(client, busy, ann, url):
    for _ in range(2):
        assert b"Log out" in ann.get(url).content
        assert b"Log in" in client.get(url).content
    assert client.get(url)["Vary"] == "Cookie"


def test_a_message_is_shown_to_its_visitor_only(client, busy, tier):
    client.get("/")
    guest = Client()
    guest.post("/bookings/", {"tier": str(tier.pk), "concert": str(tier.concert_id)})
    assert b"Log in or sign up to book" in guest.get("/").content
    assert b"Log in or sign up to book" not in client.get("/").content


def test_a_visitor_with_only_a_csrf_cookie_gets_a_copy(
    client, busy, tier, django_assert_num_queries
):
    client.get(f"/concerts/{tier.concert_id}/")
    assert client.cookies.keys() == {"csrftoken"}
    client.get("/")
    with django_assert_num_queries(0):
        client.get("/")


def test_tokens_and_cookies_change_nothing_in_the_catalogue(client, busy, tier, ann):
    for headers in ({}, {"Authorization": "Token dead"}, {"Cookie": "sessionid=dead"}):
        assert client.get(API, headers=headers).status_code == 200
    assert ann.get(API).content == client.get(API).content


def test_queries_hosts_and_schemes_have_copies_of_their_own(client, busy, settings):
    settings.ALLOWED_HOSTS = ["one.example", "two.example"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    TicketTierFactory.create_batch(2)

    def link(host, limit=1, **headers):
        answer = client.get(f"{API}?limit={limit}", headers={"host": host, **headers})
        return answer.headers.get("Link", "none")

    for _ in range(2):
        assert link("one.example").startswith("<http://one.example/")
        assert link("two.example").startswith("<http://two.example/")
        assert link("one.example", x_forwarded_proto="https").startswith("<https://one.example/")
        assert link("one.example", limit=2) == "none"


def test_a_foreign_host_gets_no_copy_and_leaves_none(client, busy, tier):
    assert client.get("/").status_code == 200
    for _ in range(2):
        assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert not any("evil.example" in key and place.kept.until
                   for key, place in store._entries.items())  # fmt: skip


def test_plain_http_is_still_redirected_to_https(client, busy, settings, tier):
    client.get(API)
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    store.forget()
    for _ in range(2):
        assert client.get(API, headers={"x_forwarded_proto": "https"}).status_code == 200
    strict = Client()
    strict.handler.load_middleware()
    for _ in range(2):
        assert strict.get(API).status_code == 301


# --- The page of a concert, drawn once for many -------------------------------------------------


@pytest.mark.usefixtures("both_stores")
def test_each_visitor_has_a_key_and_a_token_of_their_own(busy, tier):
    url = f"/concerts/{tier.concert_id}/"
    visits = [Client().get(url) for _ in range(5)]
    for name, form in [("idempotency_key", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
                       ("csrfmiddlewaretoken", r"\w{64}")]:  # fmt: skip
        values = [drawn(visit, name) for visit in visits]
        assert len(set(values)) == 5
        assert all(re.fullmatch(form, value) for value in values)
    assert len({visit.cookies["csrftoken"].value for visit in visits}) == 5


def test_a_page_without_a_form_sets_no_cookie(client, busy):
    tier = TicketTierFactory(concert__sales_close_at=timezone.now() - timedelta(hours=1))
    for _ in range(2):
        answer = client.get(f"/concerts/{tier.concert_id}/")
        assert not answer.cookies
        assert answer["Vary"] == "Cookie"


def test_a_choice_in_the_address_is_drawn_for_that_address_only(client, busy, tier):
    url = f"/concerts/{tier.concert_id}/"
    for _ in range(2):
        assert b'value="7" required checked' not in client.get(url).content
        assert b'value="7" required checked' in client.get(url, {"quantity": 7}).content
