"""The catalogue under many readers: what a copy answers, to whom, and what it never does."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from concerts import stock
from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from ticketbook.copies import store

pytestmark = pytest.mark.django_db

API = "/api/v1/concerts"
KINDS = ["list", "detail", "availability", "home", "page", "concert page"]


def address(kind, concert):
    return {
        "list": API,
        "detail": f"{API}/{concert.pk}",
        "availability": f"{API}/{concert.pk}/availability",
        "home": "/",
        "page": "/concerts/",
        "concert page": f"/concerts/{concert.pk}/",
    }[kind]


@pytest.fixture
def tier():
    return TicketTierFactory(concert__name="Northern Lights")


@pytest.fixture
def url(request, tier):
    return address(request.param, tier.concert)


every_address = pytest.mark.parametrize("url", KINDS, indirect=True)
same_for_all = pytest.mark.parametrize("url", KINDS[:-1], indirect=True)


def sell(tier, quantity):
    TicketTier.objects.filter(pk=tier.pk).update(available_quantity=100 - quantity)


def without_own_fields(response):
    """The page without what no two drawings share."""
    return re.sub(
        rb'name="(csrfmiddlewaretoken|idempotency_key)" value="[\w-]+"', b"", response.content
    )


# --- What it costs ----------------------------------------------------------------------------


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
    store._entries.clear()  # another process, which may find it at the cache server
    elsewhere = client.get(url)
    assert made.status_code == 200
    for answer in (copied, elsewhere):
        assert (answer.content, answer.headers) == (made.content, made.headers)
    assert {"ETag", "Content-Length", "X-Content-Type-Options"} <= set(made.headers)


# --- How new it is ----------------------------------------------------------------------------


@every_address
def test_on_a_quiet_site_a_sale_shows_at_once(client, tier, url):
    for sold in (85, 90, 99):
        before = client.get(url)
        sell(tier, sold)
        assert without_own_fields(client.get(url)) != without_own_fields(before)


@every_address
def test_in_a_rush_a_sale_shows_within_a_second(client, busy, monkeypatch, tier, url):
    before = client.get(url)
    sell(tier, 99)
    assert without_own_fields(client.get(url)) == without_own_fields(before)
    now = store.monotonic()
    monkeypatch.setattr(store, "monotonic", lambda: now + store.MAX_AGE)
    assert without_own_fields(client.get(url)) != without_own_fields(before)


@pytest.fixture
def staff(db):
    client = Client()
    client.force_login(User.objects.create_superuser("staff@example.com", "x", name="Staff"))
    return client


def concert_form(concert, **changes):
    day = concert.date
    return {
        "name": concert.name,
        "artist": concert.artist,
        "venue": concert.venue,
        "date_0": f"{day:%Y-%m-%d}",
        "date_1": f"{day:%H:%M:%S}",
        "status": concert.status,
        "ticket_tiers-TOTAL_FORMS": 0,
        "ticket_tiers-INITIAL_FORMS": 0,
        **changes,
    }


@every_address
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("both_stores")
def test_what_staff_change_shows_at_once(client, busy, staff, tier, url):
    client.get(url)
    change = reverse("admin:concerts_concert_change", args=[tier.concert.pk])
    form = concert_form(tier.concert, name="Polar Night")
    Concert.objects.update(name="not yet seen")
    assert b"Northern Lights" in client.get(url).content
    assert staff.post(change, form).status_code == 302
    assert b"Polar Night" in client.get(url).content


@pytest.mark.django_db(transaction=True)
def test_a_concert_that_staff_add_call_off_and_delete_shows_at_once(client, busy, staff):
    def listed():
        return [concert["name"] for concert in client.get(API).json()]

    assert listed() == []
    added = ConcertFactory.build(name="Polar Night")
    staff.post(reverse("admin:concerts_concert_add"), concert_form(added))
    assert listed() == ["Polar Night"]
    concert = Concert.objects.get()
    change = reverse("admin:concerts_concert_change", args=[concert.pk])
    staff.post(change, concert_form(concert, status="CANCELLED"))
    assert listed() == []
    staff.post(change, concert_form(concert))
    assert listed() == ["Polar Night"]
    staff.post(reverse("admin:concerts_concert_delete", args=[concert.pk]), {"post": "yes"})
    assert listed() == []

    concert = ConcertFactory(name="Midnight Sun")
    store.forget()
    assert listed() == ["Midnight Sun"]
    chosen = {"action": "delete_selected", "_selected_action": str(concert.pk), "post": "yes"}
    staff.post(reverse("admin:concerts_concert_changelist"), chosen)
    assert listed() == []


@pytest.mark.django_db(transaction=True)
def test_a_tier_that_staff_add_and_change_shows_at_once(client, busy, staff):
    concert = ConcertFactory()
    url = f"/concerts/{concert.pk}/"
    assert b"VIP" not in client.get(url).content
    form = {"concert": concert.pk, "tier_type": "VIP", "price": "10", "total_quantity": "70"}
    assert staff.post(reverse("admin:concerts_tickettier_add"), form).status_code == 302
    assert b"70 left" in client.get(url).content
    change = reverse("admin:concerts_tickettier_change", args=[TicketTier.objects.get().pk])
    assert staff.post(change, {"max_per_customer": 3}).status_code == 302
    assert b"at most 3 per customer" in client.get(url).content


@pytest.mark.django_db(transaction=True)
def test_a_changed_capacity_shows_at_once(client, busy, tier):
    url = address("availability", tier.concert)
    client.get(url)
    boss = User.objects.create_superuser("boss@example.com", "x", name="Boss")
    stock.change_capacity(
        tier_id=tier.pk, total=250, by=boss, reason="larger hall", now=timezone.now()
    )
    assert client.get(url).json()["tiers"][0]["totalQuantity"] == 250


# --- HEAD and conditions ----------------------------------------------------------------------


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


# --- Whose answer it is -----------------------------------------------------------------------


@pytest.fixture
def ann(db):
    client = Client()
    client.force_login(User.objects.create_user("ann@example.com", "x", name="Ann"))
    return client


@pytest.mark.parametrize("url", ["home", "page", "concert page"], indirect=True)
def test_a_page_of_ann_is_hers_and_a_strangers_is_not_hers(client, busy, ann, url):
    for _ in range(2):
        assert b"Log out" in ann.get(url).content
        assert b"Log in" in client.get(url).content
    assert client.get(url)["Vary"] == "Cookie"


def test_a_message_is_shown_to_the_one_it_is_for(client, busy, tier):
    client.get("/")
    guest = Client()
    guest.post("/bookings/", {"tier": str(tier.pk), "concert": str(tier.concert_id)})
    assert b"Log in or sign up to book" in guest.get("/").content
    assert b"Log in or sign up to book" not in client.get("/").content


def test_one_who_has_seen_a_form_is_still_a_stranger(client, busy, tier, django_assert_num_queries):
    client.get(f"/concerts/{tier.concert_id}/")
    assert client.cookies.keys() == {"csrftoken"}
    client.get("/")
    with django_assert_num_queries(0):
        client.get("/")


def test_a_dead_token_and_a_cookie_change_nothing_of_the_api(client, busy, tier, ann):
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


def test_tls_is_still_asked_for(client, busy, settings, tier):
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


# --- What is never kept -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["detail", "availability", "concert page"])
def test_a_refusal_is_not_kept(client, busy, tier, kind):
    Concert.objects.update(status="DRAFT")
    url = address(kind, tier.concert)
    assert client.get(url).status_code == 404
    Concert.objects.update(status="PUBLISHED")
    assert client.get(url).status_code == 200


@pytest.mark.parametrize(("path", "status"), [
    (f"{API}?dateFrom=soon", 400), ("/?dateFrom=soon", 400), ("/?cursor=x", 404), (f"{API}/x", 404),
])  # fmt: skip
def test_neither_is_a_mistake(client, busy, path, status):
    for _ in range(2):
        assert client.get(path).status_code == status
    assert not store._bytes(store._entries)


def test_an_error_is_not_kept(client, busy, tier, monkeypatch):
    client.raise_request_exception = False
    with monkeypatch.context() as patch:
        patch.setattr("concerts.api.search", lambda query: 1 / 0)
        assert client.get(API).status_code == 500
    assert client.get(API).status_code == 200


def test_a_post_never_meets_a_copy(client, busy, tier):
    for url in ("/", API):
        client.get(url)
        assert client.post(url).status_code == 405


def test_a_cookie_goes_to_the_one_it_is_for(client, busy, tier):
    client.cookies["csrftoken"] = "mangled"
    assert client.get("/").cookies["csrftoken"].value
    assert not Client().get("/").cookies
    assert not Client().get("/").cookies


def test_a_long_address_is_answered_and_not_kept(client, busy, tier, django_assert_num_queries):
    url = f"{API}?q={'n' * 600}"
    client.get(url)
    with django_assert_num_queries(1):
        assert client.get(url).json() == []


# --- A concert's page, drawn once for many -----------------------------------------------------


def drawn(response, name):
    return re.search(rf'name="{name}" value="([^"]*)"', response.content.decode())[1]


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
    tier = TicketTierFactory(concert__sales_open_at=timezone.now() + timedelta(days=1))
    for _ in range(2):
        answer = client.get(f"/concerts/{tier.concert_id}/")
        assert not answer.cookies
        assert answer["Vary"] == "Cookie"


def test_a_choice_in_the_address_is_drawn_for_its_maker(client, busy, tier):
    url = f"/concerts/{tier.concert_id}/"
    for _ in range(2):
        assert b'value="7" required checked' not in client.get(url).content
        assert b'value="7" required checked' in client.get(url, {"quantity": 7}).content
