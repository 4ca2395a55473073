"""A first visit transfers at most 60 kB: the page as it is, and its files as they are compressed."""

import gzip
import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db

LONGEST_PAGE = 25  # more than there are on a page of concerts or of bookings
FILE = re.compile(r'(?:src|href)="/static/([^"]+)"')


def weight(client, path):
    html = client.get(path).content
    files = [Path(finders.find(file)) for file in set(FILE.findall(html.decode()))]
    assert {file.suffix for file in files} <= {".css", ".js", ".svg"}
    assert not [file for file in files if file.suffix == ".css" and "url(" in file.read_text()]
    return len(html) + sum(len(gzip.compress(file.read_bytes())) for file in files)


def test_a_first_visit_weighs_at_most_60_kilobytes(as_ann, ann, book, every_payment_succeeds):
    for _ in range(LONGEST_PAGE):
        tier = TicketTierFactory(concert__description="Doors at seven. " * 50)
        for kind in (TicketTier.Type.VIP, TicketTier.Type.FRONT_ROW):
            TicketTierFactory(concert=tier.concert, tier_type=kind)
        booking = book(ann, tier, 10)
    paths = {
        "the list": "/",
        "a concert": f"/concerts/{tier.concert_id}/",
        "a booking of ten tickets": f"/bookings/{booking.pk}/",
        "my bookings": "/bookings/",
    }
    weights = {page: weight(as_ann, path) for page, path in paths.items()}
    assert {page: bytes for page, bytes in weights.items() if bytes > 60_000} == {}
