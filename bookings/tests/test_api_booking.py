"""What the API answers to a booking request."""

import json
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from bookings.models import Booking
from bookings.tests.api_client import URL, Api, problem
from concerts.models import MAX_PRICE
from concerts.tests.factories import TicketTierFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("both_ways", "every_payment_succeeds"),
]


# --- What a booking answers ---------------------------------------------------------------------


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
        "returnedQuantity": 0,
        "refundedTotal": "0.00",
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


def test_a_silent_gateway_is_202_at_first_and_when_replayed(api, tier, settings):
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


def test_a_second_request_while_the_first_is_at_work_is_in_progress(api, ann, tier, take_hold):
    response = api.book(tier, key=take_hold(ann, tier).idempotency_key)
    assert problem(response) == (409, "request_in_progress")
    assert response["Retry-After"] == "1"


def test_a_key_used_again_for_something_else_is_refused(api, tier):
    key = uuid.uuid4()
    api.book(tier, 1, key)
    assert problem(api.book(tier, 2, key)) == (422, "idempotency_key_reused")
    assert problem(api.book(TicketTierFactory(), 1, key)) == (422, "idempotency_key_reused")


def test_another_user_may_use_the_same_key(api, bob, tier):
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


def test_unknown_and_unpublished_tiers_are_not_found(api, tier):
    draft = TicketTierFactory(concert__status="DRAFT")
    tier.pk = uuid.uuid4()
    assert problem(api.book(tier)) == (404, "not_found")
    assert problem(api.book(draft)) == (404, "not_found")


def test_an_expired_hold_says_that_no_payment_came_in_time(api, ann, tier, take_hold):
    held = take_hold(ann, tier, now=timezone.now() - timedelta(hours=1))
    Booking.objects.update(status="FAILED", payment_status="FAILED", failure_reason="EXPIRED")
    response = api.book(tier, key=held.idempotency_key)
    assert problem(response) == (402, "payment_declined")
    assert "No payment came in time" in response.json()["detail"]
    assert response.json()["booking"]["failureReason"] == "EXPIRED"


def test_the_dearest_ticket_can_be_booked_ten_times(api):
    tier = TicketTierFactory(price=MAX_PRICE)
    assert api.book(tier, 10).json()["totalPrice"] == "99999999.90"


# --- What a request may carry -------------------------------------------------------------------


def test_the_key_may_come_as_a_header(api, tier):
    key = str(uuid.uuid4())
    body = {"ticketTierId": str(tier.pk), "quantity": 1}
    assert api.post(body, **{"Idempotency-Key": key}).json()["idempotencyKey"] == key
    both = api.post(body | {"idempotencyKey": key}, **{"Idempotency-Key": key})
    assert both["Idempotent-Replayed"] == "true"
    differ = api.post(body | {"idempotencyKey": str(uuid.uuid4())}, **{"Idempotency-Key": key})
    assert problem(differ) == (400, "invalid")


def test_a_null_key_beside_the_header_counts_as_absent(api, tier):
    key = str(uuid.uuid4())
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": None}
    response = api.post(body, **{"Idempotency-Key": key})
    assert response.status_code == 201
    assert response.json()["idempotencyKey"] == key


def test_a_null_key_is_no_key_of_the_name_none(api, tier):
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": None}
    assert api.post(body, **{"Idempotency-Key": "none"}).status_code == 400
    assert api.post(body).status_code == 400


def test_a_byte_order_mark_is_read_over(api, tier):
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    assert api.post(json.dumps(body).encode("utf-8-sig")).status_code == 201


def test_the_header_may_be_quoted(api, tier):
    key = str(uuid.uuid4())
    body = {"ticketTierId": str(tier.pk), "quantity": 1}
    quoted = {"Idempotency-Key": f'"{key}"'}
    assert api.post(body, **quoted).json()["idempotencyKey"] == key
    assert api.post(body | {"idempotencyKey": key}, **quoted)["Idempotent-Replayed"] == "true"
    for header in ('"', '""', f'"{key}', f"'{key}'"):
        assert problem(api.post(body, **{"Idempotency-Key": header})) == (400, "invalid")


def test_a_key_is_the_same_in_upper_and_lower_case(api, tier):
    key = str(uuid.uuid4())
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": key}
    assert api.post(body, **{"Idempotency-Key": key.upper()}).status_code == 201
    assert api.book(tier, key=key.upper())["Idempotent-Replayed"] == "true"


def test_the_callers_own_user_id_may_be_sent_and_no_other(api, ann, bob, tier, left):
    assert api.book(tier, userId=ann.public_id).status_code == 201
    assert problem(api.book(tier, userId=bob.public_id)) == (403, "permission_denied")
    assert left(tier) == 99


def test_the_content_type_does_not_matter(api, tier):
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    response = api.client.post(URL, json.dumps(body), content_type="text/plain")
    assert response.status_code == 201
