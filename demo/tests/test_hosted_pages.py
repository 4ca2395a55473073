"""What a browser gets: the way to the payment page, and the address to which that page sends it back."""

import re
import uuid

import pytest

from bookings.models import Booking
from bookings.tests.pages import choice
from demo.tests.test_hosted_flow import CONFIRMED, WAITING, becomes, state

pytestmark = pytest.mark.django_db(transaction=True)


def without_token(text):
    """The page without what is new on every visit, such as the id of the request on an error page."""
    return re.sub('name="csrfmiddlewaretoken" value="[^"]*"|<code>[0-9a-f]{16}</code>', "", text)


def test_the_form_leads_to_the_payment_page_and_back(site, ann, tier):
    status, url, _ = site.browse(ann, "/bookings/", choice(tier))
    assert status == 303
    assert url.startswith(f"http://127.0.0.1:{site.page.port}/pay/")
    pk = str(Booking.objects.get().pk)
    back = site.press(url, "pay").location
    assert back == f"http://127.0.0.1:{site.port}/bookings/{pk}/payment/"
    assert site.browse(ann, f"/bookings/{pk}/payment/")[:2] == (303, f"/bookings/{pk}/")
    assert "Your tickets are booked" in site.browse(ann, f"/bookings/{pk}/")[2]


def test_the_form_sent_twice_leads_to_the_same_payment(site, ann, tier):
    fields = choice(tier, key=uuid.uuid4())
    first, again = (site.browse(ann, "/bookings/", fields)[1] for _ in range(2))
    assert first == again
    assert Booking.objects.count() == 1


def test_coming_back_without_paying_changes_nothing(site, ann, tier):
    pk, url = site.begin(ann, tier)
    for _ in range(2):
        assert site.browse(ann, f"/bookings/{pk}/payment/")[:2] == (303, f"/bookings/{pk}/")
    assert state(pk) == WAITING
    assert url in site.browse(ann, f"/bookings/{pk}/")[2]


def test_coming_back_twice_after_paying_is_harmless(site, ann, tier, left):
    pk, url = site.begin(ann, tier)
    site.press(url, "pay")
    becomes(pk, CONFIRMED)
    for _ in range(2):
        assert site.browse(ann, f"/bookings/{pk}/payment/")[:2] == (303, f"/bookings/{pk}/")
    assert state(pk) == CONFIRMED
    assert left(tier) == 99


def test_the_address_is_of_no_use_to_anybody_else(site, ann, bob, tier):
    pk, url = site.begin(ann, tier)
    with site.wire.loses_everything():
        site.press(url, "pay")
        site.wire.wait_for(pk, "payment.succeeded")
    path = f"/bookings/{pk}/payment/"
    status, _, text = site.browse(bob, path)
    assert status == 404
    _, _, unknown = site.browse(bob, f"/bookings/{uuid.uuid4()}/payment/")
    assert without_token(text) == without_token(unknown)
    status, location, _ = site.browse(None, path)
    assert (status, location) == (302, f"/accounts/login/?next={path}")
    assert state(pk) == WAITING  # nobody has asked the gateway


def test_the_address_takes_no_form(site, ann, tier):
    pk, _ = site.begin(ann, tier)
    assert site.browse(ann, f"/bookings/{pk}/payment/", {"paid": "yes"})[0] == 405
