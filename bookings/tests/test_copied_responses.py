"""Copied responses: what they cost, conditional requests, and what is never copied."""

import pytest
from django.test import Client

from bookings.tests.addresses import API, KINDS, address, same_for_all, without_own_fields
from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory, sell
from ticketbook.copies import store

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]


# --- What it costs ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("concerts", "tiers"), [(1, 1), (1, 3), (5, 3)])
def test_two_queries_whatever_the_number_of_tiers_and_none_for_a_copy(
    client, busy, django_assert_num_queries, kind, concerts, tiers
):
    for concert in ConcertFactory.create_batch(concerts):
        for tier_type in TicketTier.Type.values[:tiers]:
            TicketTierFactory(concert=concert, tier_type=tier_type)
    url = address(kind, concert)
    with django_assert_num_queries(2):
        first = client.get(url)
    with django_assert_num_queries(0):
        again = client.get(url)
    assert first.status_code == again.status_code == 200
    assert without_own_fields(first) == without_own_fields(again)


@same_for_all
@pytest.mark.usefixtures("both_stores")
def test_a_copy_says_what_the_view_said_to_the_letter(client, busy, tier, url):
    made, copied = client.get(url), client.get(url)
    store._entries.clear()  # from here on as another process, which may find the copy at the cache server
    elsewhere = client.get(url)
    assert made.status_code == 200
    for answer in (copied, elsewhere):
        assert (answer.content, answer.headers) == (made.content, made.headers)
    assert {"ETag", "Content-Length", "X-Content-Type-Options"} <= set(made.headers)


# --- HEAD and conditions ------------------------------------------------------------------------


@same_for_all
def test_head_is_get_without_the_body(client, busy, url):
    head = client.head(url)  # it makes the copy …
    get = client.get(url)
    again = client.head(url)  # … and this one is served from it
    assert get.status_code == 200
    assert get.content
    for answer in (head, again):
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers == get.headers
        assert answer["ETag"]


@same_for_all
def test_an_etag_saves_the_body_from_the_first_request_on(
    client, busy, tier, url, django_assert_num_queries
):
    etag = client.get(url)["ETag"]
    store.forget()
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
    with django_assert_num_queries(0):
        assert client.get(url).status_code == 200
    for told in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = client.get(url, headers={"If-None-Match": told})
        assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", etag)
        assert client.head(url, headers={"If-None-Match": told}).status_code == 304
    whole = client.get(url, headers={"If-None-Match": '"other"'})
    assert (whole.status_code, whole["ETag"]) == (200, etag)
    assert client.get(url, headers={"If-Match": '"other"'}).status_code == 412
    assert client.get(url, headers={"If-Match": etag}).status_code == 200
    sell(tier, 99)
    store.forget()
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 200


# --- What is never copied -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["detail", "availability", "concert page"])
def test_a_refusal_is_not_copied(client, busy, tier, kind):
    Concert.objects.update(status="DRAFT")
    url = address(kind, tier.concert)
    assert client.get(url).status_code == 404
    Concert.objects.update(status="PUBLISHED")
    assert client.get(url).status_code == 200


@pytest.mark.parametrize(("path", "status"), [
    (f"{API}?dateFrom=soon", 400), (f"{API}?datefrom=2031-06-01", 400),
    ("/?dateFrom=soon", 400), ("/?cursor=x", 404), (f"{API}/x", 404),
])  # fmt: skip
def test_a_bad_request_is_not_copied(client, busy, path, status):
    for _ in range(2):
        assert client.get(path).status_code == status
    assert not store._bytes(store._entries)


def test_an_error_is_not_copied(client, busy, tier, monkeypatch):
    client.raise_request_exception = False
    with monkeypatch.context() as patch:
        patch.setattr("concerts.api.search", lambda query, now: 1 / 0)
        assert client.get(API).status_code == 500
    assert client.get(API).status_code == 200


def test_a_post_is_never_answered_from_a_copy(client, busy, tier):
    for url in ("/", API):
        client.get(url)
        assert client.post(url).status_code == 405


def test_a_cookie_is_set_for_no_other_visitor(client, busy, tier):
    client.cookies["csrftoken"] = "mangled"
    assert client.get("/").cookies["csrftoken"].value
    assert not Client().get("/").cookies
    assert not Client().get("/").cookies


def test_a_long_address_is_answered_and_not_copied(client, busy, tier, django_assert_num_queries):
    url = f"{API}?q={'n' * 600}"
    client.get(url)
    with django_assert_num_queries(1):
        assert client.get(url).json() == []
