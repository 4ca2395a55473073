"""Nobody keeps what is somebody's own; the page that books is kept for the Back button."""

import pytest

from bookings.tests.api_client import token_of
from bookings.tests.pages import choice

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


def kept_by_nobody(response):
    return response.headers.get("Cache-Control") == "no-store"


@pytest.mark.parametrize("path", ["/bookings/", "/bookings/{}/", "/bookings/{}/cancellation/"])
def test_pages_of_ones_own_are_kept_by_nobody(as_ann, ann, tier, book, path):
    response = as_ann.get(path.format(book(ann, tier).pk))
    assert response.status_code == 200
    assert kept_by_nobody(response)


@pytest.mark.parametrize("path", ["", "/{ann}", "/{booking}"])
def test_bookings_in_the_api_are_kept_by_nobody(client, ann, tier, book, path):
    booking = book(ann, tier)
    path = path.format(ann=ann.public_id, booking=booking.pk)
    headers = {"Authorization": f"Token {token_of(ann)}"}
    response = client.get(f"/api/v1/bookings{path}", headers=headers)
    assert response.status_code == 200
    assert kept_by_nobody(response)
    assert kept_by_nobody(client.post(f"/api/v1/bookings/{booking.pk}/cancellation"))
    assert kept_by_nobody(client.post("/api/v1/auth/token"))


@pytest.mark.parametrize("path", ["/", "/concerts/", "/concerts/{}/", "/nothing/"])
def test_a_page_that_may_be_kept_does_not_say_whose_it_is(as_ann, ann, tier, path):
    page = as_ann.get(path.format(tier.concert_id)).content.decode()
    assert "Log out" in page
    assert ann.email not in page
    assert ann.name not in page


def test_a_form_with_an_address_that_was_typed_is_kept_by_nobody(client):
    for door, field in (("/accounts/signup/", "email"), ("/accounts/login/", "username")):
        response = client.post(door, {field: "typed@example.com"})
        assert "typed@example.com" in response.content.decode()
        assert kept_by_nobody(response)


def test_the_page_of_a_concert_is_kept_for_the_back_button(as_ann, tier):
    assert not kept_by_nobody(as_ann.get(f"/concerts/{tier.concert_id}/"))
    refused = as_ann.post("/bookings/", choice(tier, 10**6))
    assert refused.status_code >= 400
    assert not kept_by_nobody(refused)
    assert not kept_by_nobody(as_ann.get("/api/v1/concerts"))
