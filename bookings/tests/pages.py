"""The booking form and the pages of bookings, as a browser sends and gets them."""

import re
import uuid
from html import unescape


def choice(tier, quantity=2, key=None):
    """The fields of the booking form."""
    return {
        "tier": str(tier.pk),
        "quantity": str(quantity),
        "idempotency_key": str(key or uuid.uuid4()),
        "concert": str(tier.concert_id),
    }


def post(client, fields):
    return client.post("/bookings/", fields)


def drawn(response, name):
    """The value of a hidden field of the page."""
    return re.search(rf'name="{name}" value="([^"]*)"', response.content.decode())[1]


def drawn_key(response):
    return drawn(response, "idempotency_key")


def page_of(client, booking):
    response = client.get(f"/bookings/{booking.pk}/")
    assert response.status_code == 200
    return response.content.decode()


def form_of(client, tier, quantity=2):
    """The fields of the booking form as the concert's page draws it now, with this choice."""
    html = client.get(f"/concerts/{tier.concert_id}/").content.decode()
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html)
    hidden = {name: unescape(value) for name, value in fields}
    return {**hidden, "tier": str(tier.pk), "quantity": str(quantity)}


def checked(html):
    """The numbers of the tickets whose boxes are checked on the page that cancels a booking."""
    return re.findall(r'type="checkbox" name="number" value="(\d+)" checked', html)
