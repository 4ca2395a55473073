"""Staff find a ticket in the back office by what somebody reads out to them."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bookings.cancelling import cancel
from ticketbook.postgres import clock
from tickets.fulfilment import fulfil

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


def test_a_ticket_is_found_by_its_code_as_people_say_it(admin_client, ann, bob, tier, book):
    hers = fulfil(book(ann, tier), now=clock.now())[0]
    his = fulfil(book(bob, tier), now=clock.now())[0]
    heard = hers.code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    for said in (heard, hers.code.replace("-", ""), f" {ann.email.upper()} "):
        found = admin_client.get("/admin/tickets/ticket/", {"q": said}).content.decode()
        assert hers.code in found
        assert his.code not in found


def test_the_search_reads_no_other_tickets(admin_client, ann, tier, book):
    code = fulfil(book(ann, tier), now=clock.now())[0].code
    for said in (code, ann.email):
        with CaptureQueriesContext(connection) as queries:
            admin_client.get("/admin/tickets/ticket/", {"q": said})
        of_tickets = [query["sql"] for query in queries if 'FROM "tickets_ticket"' in query["sql"]]
        assert of_tickets
        # Compared with what an index holds; UPPER(…) would be asked of each ticket.
        assert not any("UPPER(" in sql for sql in of_tickets)


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
