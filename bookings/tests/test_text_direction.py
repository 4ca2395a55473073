"""Wherever people's own text is shown, a page lets the text decide in which direction it is drawn."""

import re
from html.parser import HTMLParser

import pytest

from accounts.models import User
from bookings.placing import place
from bookings.tests.wishing import wish
from concerts.tests.factories import TicketTierFactory
from demo.payment_page import pages as payment_page
from demo.payment_page.ledger import Payment

pytestmark = pytest.mark.django_db

HEBREW = "שלום עולם"
VOID = {"meta", "link", "input", "br", "path", "img", "hr"}


class Directions(HTMLParser):
    """Collects each Hebrew text, and each field to write in, that does not decide its own direction."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.wrong = [], 0, []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        decides = tag == "bdi" or attrs.get("dir") == "auto"
        if tag == "input" and attrs.get("type") in {"text", "search", "email"} and not decides:
            self.wrong.append(attrs)
        if tag not in VOID:
            self.open.append((tag, decides))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        # A title is drawn by the browser's own window.
        if re.search("[\u0590-\u05ff]", data) and self.open[-1][0] != "title":
            self.texts += 1
            if not any(decides for _, decides in self.open):
                self.wrong.append(data)


@pytest.fixture
def tier():
    texts = dict.fromkeys(["name", "artist", "venue", "description"], HEBREW)
    return TicketTierFactory(**{f"concert__{name}": text for name, text in texts.items()})


def test_every_text_of_people_decides_its_own_direction(client, tier, settings):
    settings.PAYMENT_SUCCESS_RATE = 1
    ann = User.objects.create_user("ann@example.com", "correct horse", name=HEBREW)
    booking = place(wish(ann, tier, 2)).booking
    concert = f"/concerts/{tier.concert_id}/"
    pages = [(path, client.get(path)) for path in ["/", "/?q=" + HEBREW, concert]]
    for path in ["signup", "login"]:
        pages.append((path, client.post(f"/accounts/{path}/", {"name": HEBREW})))
    client.force_login(ann)
    for path in ["", f"{booking.pk}/", f"{booking.pk}/cancellation/"]:
        pages.append((path, client.get(f"/bookings/{path}")))
    pages.append(("the form again", client.post("/bookings/", {"concert": tier.concert_id})))
    found = {}
    for name, response in pages:
        page = Directions(response.content.decode())
        assert page.wrong == [], name
        found[name] = page.texts
    # Name, artist and venue; a page of one concert has its description, too.
    assert list(found.values()) == [3, 3, 4, 0, 0, 3, 3, 3, 4]


def test_the_payment_page_names_the_concert_in_its_own_direction():
    payment = Payment("k", "r", "open", 100, "USD", f"2 × VIP, {HEBREW}", "/", False)
    page = Directions(payment_page._page(("Your payment", ""), payment, buttons=True).text)
    assert (page.texts, page.wrong) == (1, [])


def test_the_back_office_draws_each_text_in_its_own_direction(client, tier, settings):
    client.force_login(User.objects.create_superuser("staff@example.com", "correct horse"))
    html = client.get(f"/admin/concerts/concert/{tier.concert_id}/change/").content.decode()
    assert "/static/css/back-office.css" in html
    assert (
        "unicode-bidi: plaintext" in (settings.BASE_DIR / "static/css/back-office.css").read_text()
    )
