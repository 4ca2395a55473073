"""The page of a booking with its tickets, and of one ticket for whoever has its address."""

import re
import uuid
from datetime import timedelta
from decimal import Decimal
from html import unescape
from io import BytesIO

import pytest
import zxingcpp
from django.test import Client
from django.utils import timezone
from PIL import Image

from accounts import throttle
from bookings import refunding
from bookings.cancelling import cancel, return_tickets
from bookings.models import Booking, Return
from bookings.tests.pages import checked, drawn, page_of
from bookings.tests.test_constraints import run
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from mail.composing import compose
from mail.models import Mail
from tickets import qr
from tickets.models import Ticket

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


@pytest.fixture
def booking(ann, tier, book, every_payment_succeeds):
    """Four tickets at 10.00."""
    return book(ann, tier, 4)


@pytest.fixture
def tickets(as_ann, booking):
    page_of(as_ann, booking)
    return list(Ticket.objects.with_details().order_by("number"))


def address(ticket):
    return f"/tickets/{ticket.token}/"


def says(response):
    return unescape(response.content.decode())


# --- The page of a booking --------------------------------------------------------------------------


def test_it_shows_each_ticket_with_its_code_and_qr_code(as_ann, booking, tickets):
    html = page_of(as_ann, booking)
    assert re.findall(r"Ticket \d of \d", html) == [f"Ticket {n} of 4" for n in (1, 2, 3, 4)]
    for ticket in tickets:
        assert ticket.code in html
        assert qr.svg(ticket.token, f"QR code of ticket {ticket.number}") in html
        assert f'href="{address(ticket)}"' in html


def test_a_ticket_that_was_returned_has_no_qr_code_there(as_ann, booking, tickets):
    return_tickets(booking, 1, numbers=[2], key=uuid.uuid4(), now=timezone.now())
    html = page_of(as_ann, booking)
    assert html.count("<svg role") == 3
    assert "This ticket was returned." in html
    assert tickets[1].token not in html
    assert tickets[1].code not in html


def test_a_booking_that_is_not_confirmed_shows_no_tickets(as_ann, booking, tickets):
    cancel(booking, now=timezone.now())
    html = page_of(as_ann, booking)
    assert "<svg role" not in html
    assert not any(ticket.code in html for ticket in tickets)


@pytest.mark.parametrize(("path", "kind"), [("tickets.pdf", b"%PDF"), ("calendar.ics", b"BEGIN:V")])
def test_its_files_are_there_for_ann_alone(as_ann, bob, booking, path, kind):
    url = f"/bookings/{booking.pk}/{path}"
    answer = as_ann.get(url)
    assert answer.content.startswith(kind)
    assert answer["Cache-Control"] == "no-store"
    assert Client().get(url).status_code == 302
    stranger = Client()
    stranger.force_login(bob)
    assert stranger.get(url).status_code == 404
    cancel(booking, now=timezone.now())
    assert as_ann.get(url).status_code == 303


# --- Who comes --------------------------------------------------------------------------------------


def test_a_name_is_saved_without_scripts(as_ann, booking, tickets):
    sent = as_ann.post(f"/bookings/{booking.pk}/tickets/2/", {"name": "<b>Bob</b>"})
    assert (sent.status_code, sent.url) == (303, f"/bookings/{booking.pk}/#ticket-2")
    assert Ticket.objects.get(number=2).holder_name == "<b>Bob</b>"
    html = page_of(as_ann, booking)
    assert "<b>Bob</b>" not in html
    assert 'value="&lt;b&gt;Bob&lt;/b&gt;"' in html


@pytest.mark.parametrize("name", ["x" * 151, "Bob\u202e", "a\nb", "\u2800"])
def test_a_name_that_is_none_comes_back_with_the_reason(as_ann, booking, tickets, name):
    sent = as_ann.post(f"/bookings/{booking.pk}/tickets/2/", {"name": name})
    assert sent.status_code == 400
    html = says(sent)
    assert html.count('class="errorlist"') == 1
    assert html.count('aria-invalid="true"') == 1
    assert not Ticket.objects.exclude(holder_name="").exists()


def test_nobody_names_the_tickets_of_others_or_those_that_are_not_there(
    as_ann, bob, tier, book, booking, tickets
):
    url = f"/bookings/{booking.pk}/tickets/"
    assert as_ann.post(f"{url}5/", {"name": "Bob"}).status_code == 404
    assert as_ann.post(f"{url}{'9' * 30}/", {"name": "Bob"}).status_code == 404
    assert (
        as_ann.post(f"/bookings/{book(bob, tier).pk}/tickets/1/", {"name": "x"}).status_code == 404
    )
    assert Client().post(f"{url}1/", {"name": "Bob"}).status_code == 302
    assert not Ticket.objects.exclude(holder_name="").exists()


def test_after_the_concert_has_begun_a_name_stays(as_ann, booking, tickets):
    Concert.objects.update(date=timezone.now() - timedelta(seconds=1))
    sent = as_ann.post(f"/bookings/{booking.pk}/tickets/1/", {"name": "Bob"}, follow=True)
    assert "The concert has begun" in says(sent)
    assert 'name="name"' not in says(sent)
    assert not Ticket.objects.exclude(holder_name="").exists()


@pytest.mark.parametrize("form", ["tickets/1/", "tickets/again/"])
def test_whoever_has_to_log_in_before_a_form_is_sent_comes_to_the_page_of_the_booking(
    client, ann, booking, form
):
    to_log_in = client.post(f"/bookings/{booking.pk}/{form}", {"name": "Bob"})
    assert to_log_in.url == f"/accounts/login/?next=/bookings/{booking.pk}/{form}"
    client.force_login(ann)
    answer = client.get(to_log_in.url, follow=True)
    assert answer.redirect_chain[-1][0] == f"/bookings/{booking.pk}/"
    assert answer.status_code == 200


# --- A ticket's own page ------------------------------------------------------------------------------


def test_whoever_has_its_address_sees_the_ticket_and_nothing_of_the_buyer(ann, booking, tickets):
    Ticket.objects.filter(number=2).update(holder_name="Bob")
    stranger = Client()
    answer = stranger.get(address(tickets[1]))
    html = says(answer)
    assert answer.status_code == 200
    for shown in ["Ticket 2 of 4", tickets[1].code, "Bob", booking.ticket_tier.concert.name]:
        assert shown in html
    assert html.count("<svg role") == 1
    hidden = [ann.email, ann.name, str(booking.pk), "10.00"]
    hidden += [ticket.code for ticket in tickets if ticket.number != 2]
    assert [text for text in hidden if text in html] == []
    assert not stranger.cookies


def test_nobody_keeps_it_or_learns_its_address(tickets):
    answer = Client().get(address(tickets[0]))
    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "same-origin"  # so no other site
    assert "noindex" in answer["X-Robots-Tag"]


@pytest.mark.parametrize("end", ["returned", "cancelled", "called off"])
def test_it_says_plainly_that_it_is_void_and_shows_no_codes(booking, tickets, staff, end):
    if end == "returned":
        return_tickets(booking, 1, numbers=[1], key=uuid.uuid4(), now=timezone.now())
    elif end == "cancelled":
        cancel(booking, now=timezone.now())
    else:
        Booking.objects.update(status="CANCELLED", returned_quantity=4, called_off=True)
    answer = Client().get(address(tickets[0]))
    assert answer.status_code == 200
    assert "This ticket is not valid any more." in says(answer)
    assert "<svg role" not in says(answer)
    assert tickets[0].code not in says(answer)


def test_a_forged_address_is_not_there(tickets):
    token = tickets[0].token
    other = "A" if token[-1] != "A" else "B"
    for forged in [
        token[:-1] + other,
        token[:-1],
        token + "A",
        "x",
        str(tickets[0].pk),
        tickets[0].code,
    ]:
        assert Client().get(f"/tickets/{forged}/").status_code == 404


def test_a_signed_token_of_a_ticket_that_is_not_there_is_not_there(tickets):
    url = address(tickets[3])
    run("DELETE FROM tickets_ticket WHERE number = 4")
    assert Client().get(url).status_code == 404


# --- Send the tickets again ---------------------------------------------------------------------------


def send(client, booking, key):
    return client.post(f"/bookings/{booking.pk}/tickets/again/", {"key": str(key)}, follow=True)


def test_the_tickets_are_mailed_again_once_for_each_press(as_ann, ann, booking, tickets):
    key = drawn(as_ann.get(f"/bookings/{booking.pk}/"), "key")
    assert f"on their way to {ann.email}" in says(send(as_ann, booking, key))
    send(as_ann, booking, key)  # a double click
    first, second = Mail.objects.filter(kind="tickets").order_by("id")
    assert first.address == second.address == ann.email
    assert first.message_id != second.message_id


def test_so_many_in_an_hour_and_no_more(as_ann, booking, tickets):
    answers = [says(send(as_ann, booking, uuid.uuid4())) for _ in range(throttle.MAILS_TO_ONE + 2)]
    refused = ["There were too many attempts. Try again in 60 minutes." in html for html in answers]
    assert refused == [False] * throttle.MAILS_TO_ONE + [True, True]
    assert Mail.objects.filter(kind="tickets").count() == 1 + throttle.MAILS_TO_ONE


def test_a_double_click_counts_once(as_ann, booking, tickets):
    for key in [uuid.uuid4() for _ in range(throttle.MAILS_TO_ONE)]:
        for _ in range(2):
            assert "on their way" in says(send(as_ann, booking, key))
    assert Mail.objects.filter(kind="tickets").count() == 1 + throttle.MAILS_TO_ONE


def test_no_tickets_are_mailed_of_a_booking_that_has_none(
    as_ann, bob, tier, book, booking, tickets
):
    cancel(booking, now=timezone.now())
    assert "Only a confirmed booking" in says(send(as_ann, booking, uuid.uuid4()))
    assert send(as_ann, book(bob, tier), uuid.uuid4()).status_code == 404
    assert Mail.objects.filter(kind="tickets").count() == 1


# --- The mail -------------------------------------------------------------------------------------------


def test_the_mail_has_the_codes_the_pdf_and_the_calendar(booking, tickets):
    return_tickets(booking, 1, numbers=[2], key=uuid.uuid4(), now=timezone.now())
    message = compose(Mail.objects.get(kind="tickets"))
    assert message.subject.startswith(f"Your tickets: {booking.ticket_tier.concert.name}")
    html, _ = message.alternatives[0]
    for ticket in tickets:
        assert (ticket.code in message.body) == (ticket.code in html) == (ticket.number != 2)
    files = [(name, kind) for name, _, kind in message.attachments]
    assert files == [("tickets.pdf", "application/pdf"), ("concert.ics", "text/calendar")]


def test_the_mail_shows_a_qr_code_of_each_ticket(booking, tickets):
    return_tickets(booking, 1, numbers=[2], key=uuid.uuid4(), now=timezone.now())
    message = compose(Mail.objects.get(kind="tickets")).message()
    pictures = [part for part in message.walk() if part.get_content_type() == "image/png"]
    read = [
        zxingcpp.read_barcodes(Image.open(BytesIO(p.get_payload(decode=True)))) for p in pictures
    ]
    kept = [ticket for ticket in tickets if ticket.number != 2]
    assert [code.text for [code] in read] == [ticket.token for ticket in kept]


def test_the_mail_of_a_booking_that_was_cancelled_meanwhile_is_not_sent(booking, tickets):
    cancel(booking, now=timezone.now())
    assert compose(Mail.objects.get(kind="tickets")) is None


# --- Giving some of them back ----------------------------------------------------------------------------


def cancellation(client, booking):
    return client.get(f"/bookings/{booking.pk}/cancellation/")


def give(client, booking, **fields):
    shown = cancellation(client, booking)
    hidden = {name: drawn(shown, name) for name in ("idempotency_key", "seen_refund", "choose")}
    return client.post(f"/bookings/{booking.pk}/cancellation/", hidden | fields)


def test_ann_checks_the_tickets_that_she_gives_back(as_ann, booking, tickets):
    Ticket.objects.filter(number=3).update(holder_name="Bob")
    html = says(cancellation(as_ann, booking))
    assert checked(html) == []
    assert "Bob" in html
    assert all(ticket.code in html for ticket in tickets)

    assert give(as_ann, booking, number=["1", "3"]).status_code == 303
    assert Return.objects.get().numbers == [1, 3]
    assert re.findall(r'name="number" value="(\d)"', says(cancellation(as_ann, booking))) == [
        "2",
        "4",
    ]


def test_one_link_chooses_all_without_scripts(as_ann, booking, tickets):
    path = f"/bookings/{booking.pk}/cancellation/"
    assert 'href="?all=1"' in says(as_ann.get(path))
    assert checked(says(as_ann.get(f"{path}?all=1"))) == ["1", "2", "3", "4"]


def sentences(client, booking):
    """What the page says about the money, and its sentence for each number of chosen tickets."""
    text = says(cancellation(client, booking))
    of_sums = re.search(r"data-sums>(.*?)</div>", text, re.DOTALL)
    lead = re.search(r"</h1>\s*<p>(.*?)</p>", text, re.DOTALL)[1]
    return lead.strip(), re.findall(r"<p>(.*?)</p>", of_sums[1]) if of_sums else []


def test_the_page_says_exactly_what_comes_back(as_ann, ann, booking, tickets):
    lead, sums = sentences(as_ann, booking)
    assert "Each brings back $10.00, and all 4 together $40.00." in lead
    assert sums[0] == "No ticket is chosen."
    assert sums[2] == "2 of 4 tickets: $20.00 of $40.00 goes back to you."
    give(as_ann, booking, number=["1"])
    lead, sums = sentences(as_ann, booking)
    assert "all 3 together $30.00" in lead
    assert sums[1:] == [
        f"{n} of 3 tickets: ${n}0.00 of $40.00 goes back to you." for n in (1, 2, 3)
    ]
    give(as_ann, booking, number=["2", "3"])
    lead, sums = sentences(as_ann, booking)
    assert "$10.00 of $40.00 is sent back to you, the way you paid." in lead
    assert sums == []


def test_what_was_given_back_as_goodwill_does_not_come_back_twice(
    as_ann, staff, booking, tickets, every_payment_succeeds
):
    refunding.give_money_back(booking, Decimal(15), by=staff, note="late", now=timezone.now())
    lead, sums = sentences(as_ann, booking)
    assert "So 1 ticket brings back $10.00, 2 together $20.00, 3 together $25.00" in lead
    assert "4 together $25.00" in lead
    assert [sum.partition(": ")[2] for sum in sums[3:]] == [
        "$25.00 of $40.00 goes back to you."
    ] * 2
    give(as_ann, booking, number=["1", "2", "3"])
    assert booking.refunds.latest("id").amount == 25


def test_no_money_is_promised_for_free_tickets(as_ann, ann, book):
    booking = book(ann, TicketTierFactory(price=0), 3)
    lead, sums = sentences(as_ann, booking)
    assert "$" not in lead + "".join(sums)
    assert sums[2] == "2 of 3 tickets."


def test_none_checked_is_not_all(as_ann, booking, tickets):
    asked = give(as_ann, booking)
    assert asked.status_code == 400
    assert "Choose the tickets that you give back." in says(asked)
    assert checked(says(asked)) == []
    assert not Return.objects.exists()


@pytest.mark.parametrize("number", ["0", "11", "x", "9" * 5000, "-1", "\x00"])
def test_a_box_that_is_not_there_is_refused(as_ann, booking, number):
    assert give(as_ann, booking, number=[number]).status_code == 400
    assert not Return.objects.exists()


def test_a_ticket_that_went_back_in_another_window_does_not_go_back_twice(as_ann, booking, tickets):
    shown = cancellation(as_ann, booking)
    fields = {name: drawn(shown, name) for name in ("idempotency_key", "choose")}
    give(as_ann, booking, number=["1"])
    sent = as_ann.post(
        f"/bookings/{booking.pk}/cancellation/", fields | {"number": ["1", "2"]}, follow=True
    )
    assert "went back before" in says(sent)
    assert Return.objects.count() == 1
