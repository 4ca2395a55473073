"""The addresses whose responses are copied."""

import re

import pytest

API = "/api/v1/concerts"
KINDS = ["list", "detail", "availability", "home", "page", "concert page"]


def address(kind, concert):
    return {
        "list": API,
        "detail": f"{API}/{concert.pk}",
        "availability": f"{API}/{concert.pk}/availability",
        "home": "/",
        "page": "/concerts/",
        "left": f"/concerts/{concert.pk}/left/",
        "concert page": f"/concerts/{concert.pk}/",
    }[kind]


# Marks that run a test with the fixture `url` at each address. The page of a concert differs between
# visitors, so `same_for_all` leaves it out.
every_address = pytest.mark.parametrize("url", KINDS, indirect=True)
same_for_all = pytest.mark.parametrize("url", KINDS[:-1], indirect=True)


def without_own_fields(response):
    """The body without the form fields that are new each time a page is drawn."""
    return re.sub(
        rb'name="(csrfmiddlewaretoken|idempotency_key)" value="[\w-]+"', b"", response.content
    )
