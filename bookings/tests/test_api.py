"""POST /bookings and its neighbours against the contract of DESIGN.md."""

import json
import uuid
from datetime import timedelta
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from knox.models import AuthToken

from bookings.models import Booking
from concerts.models import MAX_PRICE
from concerts.tests.factories import TicketTierFactory
from ticketbook.asgi import application
from ticketbook.tests.asgi import ask

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/bookings"
PROBLEM = "application/problem+json"


class Api:
    """A client of the API, logged in as one user."""

    client_class = Client

    def __init__(self, user):
        self.user = user
        self.client = self.client_class(
            headers={"Authorization": f"Token {AuthToken.objects.create(user)[1]}"}
        )

    def get(self, path="", **headers):
        return self.client.get(URL + path, headers=headers)

    def post(self, body, path="", **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(URL + path, raw, content_type="application/json", headers=headers)

    def book(self, tier, quantity=1, key=None, **more):
        key = str(key or uuid.uuid4())
        body = {"ticketTierId": str(tier.pk), "quantity": quantity, "idempotencyKey": key}
        return self.post(body | more)


class FrontClient:
    """Django's test client, as far as it is used here, for the front: POST /bookings meets the hot door."""

    def __init__(self, headers=None):
        self.headers = headers or {}

    def request(self, method, url, body=b"", headers=None, **more):
        path, _, query = url.removeprefix("http://testserver").partition("?")
        pairs = (self.headers | (headers or {})).items()
        query = query.encode()
        return ask(application, method, unquote(path), body, headers=pairs, query=query)

    def get(self, url, headers=None):
        return self.request("GET", url, headers=headers)

    def put(self, url):
        return self.request("PUT", url)

    def post(self, url, body=b"", content_type="", headers=None):
        body = body if isinstance(body, bytes) else body.encode()
        return self.request("POST", url, body, {"Content-Type": content_type, **(headers or {})})


@pytest.fixture(autouse=True, params=[Client, FrontClient], ids=["thread", "front"])
def door(request, monkeypatch, settings):
    """Both doors keep the contract."""
    settings.ALLOWED_HOSTS = ["testserver"]
    monkeypatch.setattr(Api, "client_class", request.param)
    return request.param


@pytest.fixture
def api(ann):
    return Api(ann)


@pytest.fixture(autouse=True)
def every_card_is_good(settings):
    settings.PAYMENT_SUCCESS_RATE = 1


def problem(response):
    assert response["Content-Type"] == PROBLEM
    body = response.json()
    assert body["status"] == response.status_code
    assert body["detail"]
    assert body["title"]
    assert body["type"]
    return response.status_code, body["code"]


# --- What a booking answers ----------------------------------------------------------------------------


def test_a_confirmed_booking(api, ann, tier):
    key = uuid.uuid4()
    response = api.book(tier, 2, key)
    booking = Booking.objects.get()
    assert response.status_code == 201
    assert response["Location"] == f"{URL}/{booking.pk}"
    assert response.json() == {
        "id": str(booking.pk),
        "userId": ann.public_id,
        "ticketTierId": str(tier.pk),
        "quantity": 2,
        "totalPrice": "20.00",
        "status": "CONFIRMED",
        "paymentStatus": "SUCCESS",
        "failureReason": "",
        "idempotencyKey": str(key),
        "createdAt": booking.created_at.isoformat().replace("+00:00", "Z"),
        "updatedAt": booking.updated_at.isoformat().replace("+00:00", "Z"),
    }


def test_a_declined_payment_carries_its_booking_and_is_replayed(api, tier, settings, left):
    settings.PAYMENT_SUCCESS_RATE = 0
    key = uuid.uuid4()
    first = api.book(tier, key=key)
    assert problem(first) == (402, "payment_declined")
    assert first.json()["booking"]["status"] == "FAILED"
    assert first.json()["booking"]["failureReason"] == "DECLINED"
    assert "Idempotent-Replayed" not in first
    settings.PAYMENT_SUCCESS_RATE = 1
    again = api.book(tier, key=key)
    assert problem(again) == (402, "payment_declined")
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert left(tier) == 100


def test_no_answer_is_202_first_and_replayed(api, tier, settings):
    settings.PAYMENT_OUTAGE = True
    key = uuid.uuid4()
    first, again = api.book(tier, key=key), api.book(tier, key=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert first.json()["status"] == "PENDING"
    assert again["Idempotent-Replayed"] == "true"


def test_a_confirmed_booking_is_replayed_as_it_stands_now(api, tier):
    key = uuid.uuid4()
    first = api.book(tier, key=key).json()
    again = api.book(tier, key=key)
    assert (again.status_code, again.json()) == (201, first)
    assert again["Idempotent-Replayed"] == "true"
    api.post({}, f"/{first['id']}/cancellation")
    now = api.book(tier, key=key)
    assert (now.status_code, now.json()["status"]) == (201, "CANCELLED")


def test_while_the_first_is_at_work(api, ann, tier, take_hold):
    response = api.book(tier, key=take_hold(ann, tier).idempotency_key)
    assert problem(response) == (409, "request_in_progress")
    assert response["Retry-After"] == "1"


def test_the_same_key_for_something_else(api, tier):
    key = uuid.uuid4()
    api.book(tier, 1, key)
    assert problem(api.book(tier, 2, key)) == (422, "idempotency_key_reused")
    assert problem(api.book(TicketTierFactory(), 1, key)) == (422, "idempotency_key_reused")


def test_the_same_key_of_another_user(api, bob, tier):
    key = uuid.uuid4()
    first = api.book(tier, key=key)
    other = Api(bob).book(tier, key=key)
    assert other.status_code == 201
    assert other.json()["id"] != first.json()["id"]
    assert "Idempotent-Replayed" not in other


def test_refusals_carry_their_facts(api):
    tier = TicketTierFactory(total_quantity=2, max_per_customer=1)
    response = api.book(tier, 3)
    assert problem(response) == (409, "insufficient_tickets")
    assert response.json()["availableQuantity"] == 2
    assert problem(api.book(tier, 2)) == (409, "customer_limit_reached")
    later = TicketTierFactory(concert__sales_open_at=timezone.now() + timedelta(hours=1))
    assert problem(api.book(later)) == (409, "sales_closed")
    assert Booking.objects.count() == 0


def test_the_key_may_come_as_a_header(api, tier):
    key = str(uuid.uuid4())
    body = {"ticketTierId": str(tier.pk), "quantity": 1}
    assert api.post(body, **{"Idempotency-Key": key}).json()["idempotencyKey"] == key
    both = api.post(body | {"idempotencyKey": key}, **{"Idempotency-Key": key})
    assert both["Idempotent-Replayed"] == "true"
    differ = api.post(body | {"idempotencyKey": str(uuid.uuid4())}, **{"Idempotency-Key": key})
    assert problem(differ) == (400, "invalid")


def test_the_header_may_be_quoted(api, tier):
    key = str(uuid.uuid4())
    body = {"ticketTierId": str(tier.pk), "quantity": 1}
    quoted = {"Idempotency-Key": f'"{key}"'}
    assert api.post(body, **quoted).json()["idempotencyKey"] == key
    assert api.post(body | {"idempotencyKey": key}, **quoted)["Idempotent-Replayed"] == "true"
    for header in ('"', '""', f'"{key}', f"'{key}'"):
        assert problem(api.post(body, **{"Idempotency-Key": header})) == (400, "invalid")


def test_the_callers_own_user_id_may_be_sent_and_no_other(api, ann, bob, tier, left):
    assert api.book(tier, userId=ann.public_id).status_code == 201
    assert problem(api.book(tier, userId=bob.public_id)) == (403, "permission_denied")
    assert left(tier) == 99


# --- Bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quantity", [0, 11, -1, 1.5, 2.0, "2", "", None, True, [], {}, 10**12, 10**400]
)
def test_a_bad_quantity(api, tier, left, quantity):
    response = api.book(tier, quantity)
    assert problem(response) == (400, "invalid")
    (error,) = response.json()["errors"]
    assert error["field"] == "quantity"
    assert error["code"]
    assert error["detail"]
    assert left(tier) == 100


BAD_UUIDS = [
    "",
    "x",
    "123",
    5,
    None,
    True,
    [],
    {},
    "urn:uuid:" + str(uuid.uuid4()),
    uuid.uuid4().hex,
]


@pytest.mark.parametrize("value", BAD_UUIDS)
@pytest.mark.parametrize("field", ["ticketTierId", "idempotencyKey"])
def test_what_is_no_uuid(api, tier, left, field, value):
    response = api.book(tier, **{field: value})
    assert problem(response) == (400, "invalid")
    assert [e["field"] for e in response.json()["errors"]] == [field]
    assert left(tier) == 100


def test_a_header_key_that_is_no_uuid(api, tier):
    body = {"ticketTierId": str(tier.pk), "quantity": 1}
    assert problem(api.post(body, **{"Idempotency-Key": "soon"})) == (400, "invalid")


@pytest.mark.parametrize("field", ["ticketTierId", "quantity", "idempotencyKey"])
def test_a_missing_field(api, tier, field):
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    del body[field]
    response = api.post(body)
    assert problem(response) == (400, "invalid")
    assert response.json()["errors"][0]["field"] == field
    assert response.json()["errors"][0]["code"] == "required"


def test_an_unknown_field_is_not_lost_in_silence(api, tier, left):
    response = api.book(tier, qauntity=2, price="0.01")
    assert problem(response) == (400, "invalid")
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [
        ("qauntity", "unknown_field"),
        ("price", "unknown_field"),
    ]
    assert left(tier) == 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"quantity=2",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"quantity": NaN}',
        b"[" * 10_000,
        b'{"quantity": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_not_what_we_take(api, body):
    assert problem(api.post(body)) == (400, "invalid")
    assert Booking.objects.count() == 0


def test_a_body_that_is_too_large(api):
    assert problem(api.post(b'{"userId": "' + b"x" * 20_000 + b'"}')) == (413, "too_large")
    assert Booking.objects.count() == 0


def test_the_content_type_does_not_matter(api, tier):
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    response = api.client.post(URL, json.dumps(body), content_type="text/plain")
    assert response.status_code == 201


def test_an_unknown_field_of_strange_text(api):
    assert problem(api.post(b'{"\\ud800": 1}')) == (400, "invalid")


def test_a_key_is_the_same_in_upper_and_lower_case(api, tier):
    key = str(uuid.uuid4())
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": key}
    assert api.post(body, **{"Idempotency-Key": key.upper()}).status_code == 201
    assert api.book(tier, key=key.upper())["Idempotent-Replayed"] == "true"


def test_a_hold_that_expired_is_told_as_such(api, ann, tier, take_hold):
    held = take_hold(ann, tier, now=timezone.now() - timedelta(hours=1))
    Booking.objects.update(status="FAILED", payment_status="FAILED", failure_reason="EXPIRED")
    response = api.book(tier, key=held.idempotency_key)
    assert problem(response) == (402, "payment_declined")
    assert "No payment came in time" in response.json()["detail"]
    assert response.json()["booking"]["failureReason"] == "EXPIRED"


def test_the_dearest_ticket_can_be_booked_ten_times(api):
    tier = TicketTierFactory(price=MAX_PRICE)
    assert api.book(tier, 10).json()["totalPrice"] == "99999999.90"


def test_unknown_and_unpublished_tiers_are_not_found(api, tier):
    draft = TicketTierFactory(concert__status="DRAFT")
    tier.pk = uuid.uuid4()
    assert problem(api.book(tier)) == (404, "not_found")
    assert problem(api.book(draft)) == (404, "not_found")


@pytest.mark.parametrize("text", ["\x00", "\ud800", "user_'; DROP TABLE bookings_booking; --"])
def test_strange_text(api, tier, text):
    assert api.book(tier, userId=text).status_code in {400, 403}


@pytest.mark.parametrize(
    "header",
    [None, "", "Token", "Token \xe9", "Token x", "Token a b", "Bearer x", "Token " + "0" * 64],
)
def test_who_is_not_logged_in(door, tier, header):
    client = door(headers={"Authorization": header} if header is not None else {})
    for response in (
        client.post(URL, b"{}", content_type="application/json"),
        client.get(URL),
        client.get(f"{URL}/{uuid.uuid4()}"),
    ):
        assert problem(response) == (401, "not_authenticated")
        assert response["WWW-Authenticate"] == "Token"


def test_a_wrong_method(api):
    assert problem(api.client.put(URL)) == (405, "method_not_allowed")


# --- Reading ---------------------------------------------------------------------------------------------


def test_my_bookings_newest_first_with_details(api, ann, bob, tier):
    first, second = api.book(tier).json(), api.book(tier, 2).json()
    Api(bob).book(tier)
    for path in ("", f"/{ann.public_id}"):
        rows = api.get(path).json()
        assert [row["id"] for row in rows] == [second["id"], first["id"]]
    row = rows[0]
    assert {k: row[k] for k in second} == second
    assert row["concert"]["name"] == tier.concert.name
    assert set(row["concert"]) == {
        *("id", "name", "artist", "date", "venue", "description", "createdAt", "updatedAt")
    }
    assert row["ticketTier"]["price"] == "10.00"
    assert set(row["ticketTier"]) == {
        *("id", "concertId", "tierType", "price", "totalQuantity", "availableQuantity"),
        *("createdAt", "updatedAt"),
    }


def test_one_booking_and_nobody_elses(api, bob, tier):
    booking = api.book(tier).json()
    assert api.get(f"/{booking['id']}").json()["id"] == booking["id"]
    other = Api(bob)
    assert problem(other.get(f"/{booking['id']}")) == (404, "not_found")
    assert problem(other.get(f"/{api.user.public_id}")) == (404, "not_found")
    assert problem(other.post({}, f"/{booking['id']}/cancellation")) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/x", "/123", "/user_", "/user_x", f"/{uuid.UUID(int=1)}", "/%00"]
)
def test_what_is_not_there(api, path):
    assert problem(api.get(path)) == (404, "not_found")


def test_my_bookings_come_in_pages_that_new_ones_do_not_shift(api, tier):
    made = [api.book(tier).json()["id"] for _ in range(5)]
    page = api.get("?limit=2")
    seen = [row["id"] for row in page.json()]
    api.book(tier)
    while link := page.headers.get("Link"):
        url = link.removeprefix("<").removesuffix('>; rel="next"')
        page = api.client.get(url)
        seen += [row["id"] for row in page.json()]
    assert seen == made[::-1]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "limit=1000000", "cursor=x", "cursor=W10", "cursor=%00"],
)
def test_bad_paging(api, query):
    assert problem(api.get(f"?{query}")) == (400, "invalid")


def test_my_bookings_take_as_many_queries_for_one_as_for_many(api, tier, django_assert_num_queries):
    api.book(tier)
    with CaptureQueriesContext(connection) as one:
        api.get()
        queries = len(one)
    for _ in range(5):
        api.book(TicketTierFactory())
    with django_assert_num_queries(queries):
        api.get()


# --- Cancelling ------------------------------------------------------------------------------------------


def test_cancelling_twice_answers_the_same(api, tier, left):
    booking = api.book(tier, 2).json()
    first = api.post({}, f"/{booking['id']}/cancellation")
    again = api.post(b"", f"/{booking['id']}/cancellation")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["status"] == "CANCELLED"
    assert first.json()["paymentStatus"] == "REFUNDED"
    assert left(tier) == 100


def test_cancelling_what_was_declined(api, tier, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    booking = api.book(tier).json()["booking"]
    response = api.post({}, f"/{booking['id']}/cancellation")
    assert problem(response) == (409, "not_cancellable")


def test_cancelling_what_is_pending(api, tier, settings):
    settings.PAYMENT_OUTAGE = True
    booking = api.book(tier).json()
    response = api.post({}, f"/{booking['id']}/cancellation")
    assert problem(response) == (409, "request_in_progress")


@pytest.mark.parametrize("declined", [False, True])
def test_a_booking_is_answered_as_it_is_read_later(api, tier, settings, declined):
    """The hot endpoint writes its answer by hand; all others use the serializer that is documented."""
    settings.PAYMENT_SUCCESS_RATE = 0 if declined else 1
    answer = api.book(tier, 3).json()
    first = answer["booking"] if declined else answer
    later = api.get(f"/{first['id']}").json()
    assert first == {name: later[name] for name in first}
    assert set(later) - set(first) == {"concert", "ticketTier"}
