"""The tickets of a booking by the API."""

import json
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from bookings.audit import audit
from bookings.cancelling import cancel, return_tickets
from bookings.models import Booking
from bookings.tests.api_client import Api, problem
from concerts.models import Concert
from tickets import tokens
from tickets.models import Ticket

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


@pytest.fixture
def booking(ann, tier, book, every_payment_succeeds):
    """Four tickets at 10.00."""
    return book(ann, tier, 4)


@pytest.fixture
def tickets(api, booking):
    return tickets_of(api, booking)


def tickets_of(api, booking):
    answer = api.get(f"/{booking.pk}/tickets")
    assert answer.status_code == 200
    return answer.json()


def rename(api, ticket, body):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"/api/v1/tickets/{ticket['id']}"
    return api.client.patch(url, raw, content_type="application/json")


# --- Reading ------------------------------------------------------------------------------------


def test_a_confirmed_booking_has_its_tickets_at_once(api, booking, tier):
    tickets = tickets_of(api, booking)
    assert [ticket["number"] for ticket in tickets] == [1, 2, 3, 4]
    assert set(tickets[0]) == {"id", "number", "code", "holderName", "state", "token"}
    assert {(ticket["state"], ticket["holderName"]) for ticket in tickets} == {("VALID", "")}
    for ticket in tickets:
        claims = tokens.verify(ticket["token"])
        assert (str(claims.ticket), claims.number) == (ticket["id"], ticket["number"])
        assert (claims.concert, claims.tier_type) == (tier.concert_id, tier.tier_type)
    assert tickets_of(api, booking) == tickets


PATHS = ["tickets", "tickets.pdf", "calendar.ics"]


@pytest.mark.parametrize("path", PATHS)
def test_bobs_booking_is_not_there_for_ann(api, bob, tier, book, path):
    assert problem(api.get(f"/{book(bob, tier).pk}/{path}")) == (404, "not_found")


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_nobody_gets_anything(client, booking, path):
    assert problem(client.get(f"/api/v1/bookings/{booking.pk}/{path}")) == (
        401,
        "not_authenticated",
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_booking_that_is_not_confirmed_has_none(
    settings, api, ann, tier, book, take_hold, booking, path
):
    cancel(booking, now=timezone.now())
    settings.PAYMENT_SUCCESS_RATE = 0
    for other in (booking, book(ann, tier), take_hold(ann, tier)):
        assert problem(api.get(f"/{other.pk}/{path}")) == (409, "not_confirmed")


@pytest.mark.parametrize("path", PATHS)
def test_unknown_parameters_are_refused(api, booking, path):
    assert problem(api.get(f"/{booking.pk}/{path}?state=VALID")) == (400, "invalid")


def test_the_files_are_files(api, booking):
    pdf = api.get(f"/{booking.pk}/tickets.pdf")
    assert pdf["Content-Type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF")
    calendar = api.get(f"/{booking.pk}/calendar.ics")
    assert calendar["Content-Type"].startswith("text/calendar")
    assert calendar.content.startswith(b"BEGIN:VCALENDAR")
    for answer in (pdf, calendar):
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["Cache-Control"] == "no-store"


# --- Who comes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Bob", "Жанна д’Арк", "<b>Bob</b>", "שרה", "🎸", "x" * 150, ""])
def test_ann_says_who_comes(api, booking, tickets, name):
    answer = rename(api, tickets[1], {"holderName": name})
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert answer.json() == tickets[1] | {"holderName": name}
    assert [ticket["holderName"] for ticket in tickets_of(api, booking)] == ["", name, "", ""]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"holderName": "x" * 151}, "holderName"),
        ({"holderName": "Bob\r\nBcc: all@example.com"}, "holderName"),
        ({"holderName": "Bob\u202e"}, "holderName"),
        ({"holderName": "\u2800"}, "holderName"),
        ({"holderName": 7}, "holderName"),
        ({"holderName": None}, "holderName"),
        ({}, "holderName"),
        ({"holderName": "Bob", "state": "VALID"}, "state"),
        ({"name": "Bob"}, "name"),
    ],
    ids=repr,
)
def test_a_name_that_is_none_is_refused(api, booking, tickets, body, field):
    answer = rename(api, tickets[0], body)
    assert problem(answer) == (400, "invalid")
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert tickets_of(api, booking) == tickets


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"holderName": "Bob"} x'])
def test_a_body_that_is_no_object_is_refused(api, tickets, body):
    assert problem(rename(api, tickets[0], body)) == (400, "invalid")


def test_bobs_ticket_is_not_anns_to_name(bob, tickets):
    assert problem(rename(Api(bob), tickets[0], {"holderName": "Bob"})) == (404, "not_found")
    assert not Ticket.objects.exclude(holder_name="").exists()


def test_a_name_stays_when_the_concert_has_begun(api, tickets):
    Concert.objects.update(date=timezone.now() - timedelta(seconds=1))
    assert problem(rename(api, tickets[0], {"holderName": "Bob"})) == (409, "names_closed")


def test_a_ticket_that_is_void_gets_no_name(api, booking, tickets):
    return_tickets(booking, 1, numbers=[2], key=uuid.uuid4(), now=timezone.now())
    assert problem(rename(api, tickets[1], {"holderName": "Bob"})) == (409, "ticket_void")
    cancel(booking, now=timezone.now())
    assert problem(rename(api, tickets[0], {"holderName": "Bob"})) == (409, "not_confirmed")


# --- Returns that name tickets --------------------------------------------------------------------


def give(api, booking, key=None, **body):
    header = {"Idempotency-Key": str(key or uuid.uuid4())}
    return api.post(body, f"/{booking.pk}/cancellation", **header)


def states(api, booking):
    return [ticket["state"][:2] for ticket in tickets_of(api, booking)]


def ids(tickets, *numbers):
    return [tickets[number - 1]["id"] for number in numbers]


@pytest.mark.parametrize("more", [{}, {"quantity": 2}])
def test_ann_returns_the_tickets_that_she_names(api, booking, tickets, tier, left, more):
    key = uuid.uuid4()
    answers = [give(api, booking, key, tickets=ids(tickets, 3, 1), **more) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1]["Idempotent-Replayed"] == "true"
    assert answers[0].json()["returnedQuantity"] == 2
    assert states(api, booking) == ["VO", "VA", "VO", "VA"]
    assert left(tier) == 98
    returned = tickets_of(api, booking)[0]
    assert returned == tickets[0] | {"state": "VOID", "token": None}
    assert audit() == []


def test_without_names_the_last_valid_ones_go(api, booking, tickets):
    give(api, booking, tickets=ids(tickets, 4))
    give(api, booking, quantity=1)
    assert states(api, booking) == ["VA", "VA", "VO", "VO"]
    give(api, booking, tickets=ids(tickets, 1))
    assert states(api, booking) == ["VO", "VA", "VO", "VO"]
    assert audit() == []


def test_all_that_are_left_cancel_the_booking(api, booking, tickets):
    assert give(api, booking, tickets=ids(tickets, 1, 2, 3, 4)).json()["status"] == "CANCELLED"
    assert audit() == []


def test_other_tickets_under_the_same_key_are_refused(api, booking, tickets):
    key = uuid.uuid4()
    give(api, booking, key, tickets=ids(tickets, 1))
    again = give(api, booking, key, tickets=ids(tickets, 2))
    assert problem(again) == (422, "idempotency_key_reused")
    assert states(api, booking) == ["VO", "VA", "VA", "VA"]


def test_a_number_of_tickets_under_the_key_of_named_ones_is_refused_unless_they_are_the_same(
    api, booking, tickets
):
    first, second, third = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    give(api, booking, first, tickets=ids(tickets, 1))
    give(api, booking, second, tickets=ids(tickets, 4))
    give(api, booking, third, quantity=1)
    assert problem(give(api, booking, first, quantity=1)) == (422, "idempotency_key_reused")
    for key, asked in [(second, {"quantity": 1}), (third, {"tickets": ids(tickets, 3)})]:
        assert give(api, booking, key, **asked)["Idempotent-Replayed"] == "true"
    assert states(api, booking) == ["VO", "VA", "VO", "VO"]


def test_a_ticket_goes_back_once(api, booking, tickets):
    give(api, booking, tickets=ids(tickets, 1))
    again = give(api, booking, tickets=ids(tickets, 1, 2))
    assert problem(again) == (409, "not_cancellable")
    assert again.json()["kept"] == [2, 3, 4]
    assert states(api, booking) == ["VO", "VA", "VA", "VA"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tickets": []}, "tickets"),
        ({"tickets": None}, "tickets"),
        ({"tickets": "all"}, "tickets"),
        ({"tickets": [1]}, "tickets"),
        ({"tickets": [str(uuid.uuid4())]}, "tickets"),
        ({"tickets": [str(uuid.uuid4()) for _ in range(11)]}, "tickets"),
    ],
)
def test_nonsense_is_refused(api, booking, tickets, tier, left, body, field):
    answer = give(api, booking, **body)
    assert problem(answer) == (400, "invalid")
    assert {error["field"].partition(".")[0] for error in answer.json()["errors"]} == {field}
    assert left(tier) == 96


def test_what_contradicts_itself_is_refused(api, booking, tickets, tier, left, ann, book):
    twice, wrong = ids(tickets, 1, 1), ids(tickets, 1, 2)
    others = tickets_of(api, book(ann, tier))
    assert problem(give(api, booking, tickets=twice)) == (400, "invalid")
    assert problem(give(api, booking, tickets=wrong, quantity=1)) == (400, "invalid")
    assert problem(give(api, booking, tickets=ids(others, 1))) == (400, "invalid")
    assert problem(api.post({"tickets": wrong}, f"/{booking.pk}/cancellation")) == (400, "invalid")
    assert left(tier) == 95
    assert Booking.objects.get(pk=booking.pk).returned_quantity == 0


def test_the_description_knows_them(client):
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    of_booking = "/api/v1/bookings/{booking_id}"
    assert {f"{of_booking}/{path}" for path in PATHS} < set(paths)
    assert (
        "application/pdf"
        in paths[f"{of_booking}/tickets.pdf"]["get"]["responses"]["200"]["content"]
    )
    assert {"200", "409", "413"} <= set(paths["/api/v1/tickets/{ticket_id}"]["patch"]["responses"])
    assert "409" in paths[f"{of_booking}/tickets"]["get"]["responses"]
