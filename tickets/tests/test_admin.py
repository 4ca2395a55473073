"""Staff find a ticket in the back office by what somebody reads out to them."""

import re

import pytest

from bookings.cancelling import cancel
from ticketbook.postgres import clock
from tickets.fulfilment import fulfil

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


def test_a_ticket_is_found_by_its_code_as_people_say_it(admin_client, ann, bob, tier, book):
    hers = fulfil(book(ann, tier), now=clock.now())[0]
    his = fulfil(book(bob, tier), now=clock.now())[0]
    heard = hers.code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    for said in (heard, ann.email):
        found = admin_client.get("/admin/tickets/ticket/", {"q": said}).content.decode()
        assert hers.code in found
        assert his.code not in found


def test_nobody_changes_a_ticket_there(admin_client, ann, tier, book):
    ticket = fulfil(book(ann, tier), now=clock.now())[0]
    page = f"/admin/tickets/ticket/{ticket.pk}/change/"
    assert ticket.code in admin_client.get(page).content.decode()
    assert admin_client.post(page, {"holder_name": "Bob"}).status_code == 403
    assert admin_client.get("/admin/tickets/ticket/add/").status_code == 403


def test_the_list_says_in_words_whether_a_ticket_is_valid(admin_client, ann, tier, book):
    kept, returned = book(ann, tier), book(ann, tier)
    for booking in (kept, returned):
        fulfil(booking, now=clock.now())
    cancel(returned, now=clock.now())
    shown = admin_client.get("/admin/tickets/ticket/").content.decode()
    assert re.findall(r'field-validity">(\w+)<', shown) == ["Void", "Valid"]
