"""Booking requests that the API refuses because something in them is wrong."""

import uuid

import pytest

from bookings.models import Booking
from bookings.tests.api_client import URL, Api, problem

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("both_ways", "every_payment_succeeds"),
]


# --- Fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quantity", [0, 11, -1, 1.5, 2.0, "2", "", None, True, [], {}, 10**12, 10**400]
)
def test_a_bad_quantity_is_refused(api, tier, left, quantity):
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
def test_a_field_that_is_no_uuid_is_refused(api, tier, left, field, value):
    response = api.book(tier, **{field: value})
    assert problem(response) == (400, "invalid")
    assert [e["field"] for e in response.json()["errors"]] == [field]
    assert left(tier) == 100


def test_a_key_in_the_header_that_is_no_uuid_is_refused(api, tier):
    body = {"ticketTierId": str(tier.pk), "quantity": 1}
    assert problem(api.post(body, **{"Idempotency-Key": "soon"})) == (400, "invalid")


@pytest.mark.parametrize("field", ["ticketTierId", "quantity", "idempotencyKey"])
def test_a_missing_field_is_named(api, tier, field):
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    del body[field]
    response = api.post(body)
    assert problem(response) == (400, "invalid")
    assert response.json()["errors"][0]["field"] == field
    assert response.json()["errors"][0]["code"] == "required"


def test_an_unknown_field_is_refused(api, tier, left):
    response = api.book(tier, qauntity=2, price="0.01")
    assert problem(response) == (400, "invalid")
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [
        ("qauntity", "unknown_field"),
        ("price", "unknown_field"),
    ]
    assert left(tier) == 100


def test_an_unknown_field_with_a_strange_name_is_refused(api):
    assert problem(api.post(b'{"\\ud800": 1}')) == (400, "invalid")


@pytest.mark.parametrize("text", ["\x00", "\ud800", "user_'; DROP TABLE bookings_booking; --"])
def test_a_user_id_of_strange_text_is_refused(api, tier, text):
    assert api.book(tier, userId=text).status_code in {400, 403}


# --- Query parameters ---------------------------------------------------------------------------


def test_an_unknown_parameter_is_refused_by_every_address_of_bookings(api, tier, left):
    booking = api.book(tier).json()
    answers = [
        api.get("?page=2"),
        api.get(f"/{api.user.public_id}?page=2"),
        api.get(f"/{booking['id']}?page=2"),
        api.post({}, f"/{booking['id']}/cancellation?page=2"),
        api.post({"ticketTierId": str(tier.pk), "quantity": 1}, "?page=2"),
    ]
    for answer in answers:
        assert problem(answer) == (400, "invalid")
        (error,) = answer.json()["errors"]
        assert (error["field"], error["code"]) == ("page", "unknown_parameter")
    assert left(tier) == 99


# --- Bodies -------------------------------------------------------------------------------------


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
def test_a_body_that_cannot_be_read_is_refused(api, body):
    assert problem(api.post(body)) == (400, "invalid")
    assert Booking.objects.count() == 0


@pytest.mark.parametrize(
    ("field", "again"),
    [
        ("quantity", '"quantity": 1'),
        ("quantity", r'"quantit\u0079": 1'),
        ("quantity", '"quantity": {"a": [1, "x:y"]}'),
        ("ticketTierId", '"ticketTierId": "x"'),
        ("idempotencyKey", '"idempotencyKey": null'),
        ("price", '"price": 1, "price": 2'),
    ],
)
@pytest.mark.parametrize("comes_first", [True, False])
def test_a_key_that_is_there_twice_is_refused(api, tier, left, field, again, comes_first):
    body = f'"ticketTierId": "{tier.pk}", "quantity": 2, "idempotencyKey": "{uuid.uuid4()}"'
    text = f"{again}, {body}" if comes_first else f"{body}, {again}"
    response = api.post(f"{{{text}}}".encode())
    assert problem(response) == (400, "invalid")
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [
        (field, "repeated_field")
    ]
    assert left(tier) == 100


def test_a_key_that_is_there_twice_in_an_inner_object_is_refused(api):
    response = api.post(b'{"quantity": {"a": 1, "a": 1}}')
    assert problem(response) == (400, "invalid")
    assert response.json()["errors"][0]["field"] == "a"


def test_a_key_with_a_strange_name_that_is_there_twice_is_refused(api):
    assert problem(api.post(b'{"\\ud800": 1, "\\ud800": 1}')) == (400, "invalid")


def test_a_body_that_is_too_large_is_refused(api):
    assert problem(api.post(b'{"userId": "' + b"x" * 20_000 + b'"}')) == (413, "too_large")
    assert Booking.objects.count() == 0


# --- Tokens and methods -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [None, "", "Token", "Token \xe9", "Token x", "Token a b", "Bearer x", "Token " + "0" * 64],
)
def test_a_request_without_a_valid_token_is_refused(tier, header):
    client = Api.client_class(headers={"Authorization": header} if header is not None else {})
    for response in (
        client.post(URL, b"{}", content_type="application/json"),
        client.get(URL),
        client.get(f"{URL}/{uuid.uuid4()}"),
    ):
        assert problem(response) == (401, "not_authenticated")
        assert response["WWW-Authenticate"] == "Token"


def test_a_wrong_method_is_refused(api):
    assert problem(api.client.put(URL)) == (405, "method_not_allowed")


def test_null_is_absent_where_a_field_may_be_absent(api, tier):
    key = str(uuid.uuid4())
    body = {"ticketTierId": str(tier.pk), "quantity": 2, "userId": None, "idempotencyKey": None}
    assert problem(api.post(body)) == (400, "invalid")
    booked = api.post(body, **{"Idempotency-Key": key})
    assert booked.status_code == 201
    door = f"/{booked.json()['id']}/cancellation"
    assert problem(api.post({"quantity": None}, door)) == (400, "invalid")
    response = api.post({"idempotencyKey": None}, door)
    assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")


def test_a_number_of_thousands_of_digits_is_a_number_out_of_range(api, tier):
    body = f'{{"ticketTierId": "{tier.pk}", "quantity": {"9" * 5000}, "idempotencyKey": "{uuid.uuid4()}"}}'
    response = api.post(body.encode())
    assert problem(response) == (400, "invalid")
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [
        ("quantity", "max_value")
    ]
