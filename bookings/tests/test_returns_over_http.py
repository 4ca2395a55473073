"""Customers return some of their tickets by the API and by the page that cancels."""

import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from bookings.cancelling import return_tickets
from bookings.models import Booking, Return
from bookings.tests.api_client import problem
from bookings.tests.pages import drawn_key
from concerts.models import Concert

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


@pytest.fixture
def booking(ann, tier, book, every_payment_succeeds):
    """Five tickets at 10.00."""
    return book(ann, tier, 5)


# --- The API ------------------------------------------------------------------------------------


def give(api, booking, quantity, key=None):
    header = {"Idempotency-Key": str(key or uuid.uuid4())}
    return api.post({"quantity": quantity}, f"/{booking.pk}/cancellation", **header)


def test_some_tickets_go_back(api, booking, tier, left):
    answer = give(api, booking, 2)

    assert answer.status_code == 200
    assert "Idempotent-Replayed" not in answer
    body = answer.json()
    assert (body["quantity"], body["returnedQuantity"]) == (5, 2)
    assert (body["totalPrice"], body["refundedTotal"]) == ("50.00", "20.00")
    assert (body["status"], body["paymentStatus"]) == ("CONFIRMED", "SUCCESS")
    assert left(tier) == 97
    assert api.get(f"/{booking.pk}").json()["returnedQuantity"] == 2


def test_the_same_key_is_answered_again_and_says_so(api, booking, tier, left):
    key = uuid.uuid4()
    first, again = give(api, booking, 2, key), give(api, booking, 2, f'"{key}"')

    assert again.status_code == 200
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert left(tier) == 97


def test_the_key_may_be_in_the_body(api, booking):
    body = {"quantity": 2, "idempotencyKey": str(uuid.uuid4())}
    answers = [api.post(body, f"/{booking.pk}/cancellation") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert Return.objects.count() == 1


def test_all_that_are_left_cancel_the_booking(api, booking):
    give(api, booking, 2)
    body = give(api, booking, 3).json()
    assert (body["status"], body["paymentStatus"]) == ("CANCELLED", "REFUNDED")
    assert (body["returnedQuantity"], body["refundedTotal"]) == (5, "50.00")


def test_without_a_number_the_rest_goes_back(api, booking):
    give(api, booking, 2)
    body = api.post({}, f"/{booking.pk}/cancellation").json()
    assert (body["status"], body["returnedQuantity"]) == ("CANCELLED", 5)


def test_some_tickets_need_a_key(api, booking):
    answer = api.post({"quantity": 2}, f"/{booking.pk}/cancellation")
    assert problem(answer) == (400, "invalid")
    [error] = answer.json()["errors"]
    assert (error["field"], error["code"]) == ("idempotencyKey", "required")


def test_another_number_under_the_same_key_is_refused(api, booking):
    key = uuid.uuid4()
    give(api, booking, 2, key)
    assert problem(give(api, booking, 3, key)) == (422, "idempotency_key_reused")


def test_more_than_are_left_is_refused_and_says_how_many_there_are(api, booking):
    give(api, booking, 2)
    answer = give(api, booking, 4)
    assert problem(answer) == (409, "not_cancellable")
    assert answer.json()["returnable"] == 3


def test_after_the_concert_has_begun_nothing_goes_back(api, booking):
    Concert.objects.update(date=timezone.now() - timedelta(minutes=1))
    assert problem(give(api, booking, 1)) == (409, "not_cancellable")


@pytest.mark.parametrize("quantity", [0, 11, -1, 1.5, "2", None, True, [], 10**12])
def test_a_bad_number_is_refused(api, booking, tier, left, quantity):
    answer = give(api, booking, quantity)
    assert problem(answer) == (400, "invalid")
    assert [error["field"] for error in answer.json()["errors"]] == ["quantity"]
    assert left(tier) == 95


@pytest.mark.parametrize(
    ("body", "field"),
    [({"tickets": 2}, "tickets"), ({"quantity": 2, "idempotencyKey": "soon"}, "idempotencyKey")],
)
def test_what_the_contract_does_not_name_is_refused(api, booking, tier, left, body, field):
    answer = api.post(body, f"/{booking.pk}/cancellation")
    assert problem(answer) == (400, "invalid")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert left(tier) == 95


def test_a_key_that_differs_from_the_header_is_refused(api, booking):
    body = {"quantity": 2, "idempotencyKey": str(uuid.uuid4())}
    header = {"Idempotency-Key": str(uuid.uuid4())}
    assert problem(api.post(body, f"/{booking.pk}/cancellation", **header)) == (400, "invalid")


def test_bobs_tickets_are_not_anns_to_return(api, bob, tier, book):
    assert problem(give(api, book(bob, tier, 5), 2)) == (404, "not_found")


# --- The page -----------------------------------------------------------------------------------


def page(client, booking):
    return client.get(f"/bookings/{booking.pk}/cancellation/")


def send(client, booking, **fields):
    return client.post(f"/bookings/{booking.pk}/cancellation/", fields, follow=True)


def choices(response):
    return re.findall(r'type="checkbox" name="number" value="(\d+)"', response.content.decode())


def test_the_page_offers_as_many_as_the_booking_still_has(as_ann, booking):
    assert choices(page(as_ann, booking)) == ["1", "2", "3", "4", "5"]
    return_tickets(booking, 3, key=uuid.uuid4(), now=timezone.now())
    assert choices(page(as_ann, booking)) == ["1", "2"]
    return_tickets(booking, 1, key=uuid.uuid4(), now=timezone.now())
    assert choices(page(as_ann, booking)) == []


def test_the_chosen_number_goes_back(as_ann, booking, tier, left):
    asked = page(as_ann, booking)
    answer = send(as_ann, booking, quantity=2, idempotency_key=drawn_key(asked))

    assert "$20.00 was sent back to you" in answer.content.decode()
    booking.refresh_from_db()
    assert (booking.status, booking.returned_quantity) == ("CONFIRMED", 2)
    assert left(tier) == 97


def test_sending_the_page_twice_returns_once(as_ann, booking, tier, left):
    key = drawn_key(page(as_ann, booking))
    for _ in range(2):
        answer = send(as_ann, booking, quantity=2, idempotency_key=key)
    assert 'role="alert"' not in answer.content.decode()
    assert left(tier) == 97


def test_too_many_are_refused_in_a_sentence(as_ann, booking, tier, left):
    return_tickets(booking, 3, key=uuid.uuid4(), now=timezone.now())
    answer = send(as_ann, booking, quantity=4, idempotency_key=uuid.uuid4())

    assert "It has 2." in answer.content.decode()
    assert left(tier) == 98


@pytest.mark.parametrize("quantity", ["0", "-1", "two", "1.5"])
def test_a_number_that_makes_no_sense_is_asked_for_again(as_ann, booking, quantity):
    answer = send(as_ann, booking, quantity=quantity, idempotency_key=uuid.uuid4())
    assert answer.status_code == 400
    assert "Choose 1 to 5 tickets." in answer.content.decode()
    assert Booking.objects.get().returned_quantity == 0
