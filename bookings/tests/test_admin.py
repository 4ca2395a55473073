"""The back office shows bookings and changes none."""

import pytest

from bookings.models import Booking

pytestmark = pytest.mark.django_db

URL = "/admin/bookings/booking/"


@pytest.fixture
def booking(settings, ann, tier, book):
    settings.PAYMENT_SUCCESS_RATE = 1
    return book(ann, tier)


def test_staff_find_a_booking(admin_client, ann, booking):
    for query in ("", f"?q={ann.email}", f"?q={booking.pk}", "?status=CONFIRMED"):
        assert str(booking.pk) in admin_client.get(URL + query).content.decode()
    assert admin_client.get(f"{URL}{booking.pk}/change/").status_code == 200


def test_staff_change_nothing_about_money_or_stock(admin_client, booking):
    assert admin_client.get(f"{URL}add/").status_code == 403
    assert admin_client.post(f"{URL}{booking.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{URL}{booking.pk}/change/", {"status": "FAILED"}).status_code == 403
    booking.refresh_from_db()
    assert booking.status == Booking.Status.CONFIRMED
