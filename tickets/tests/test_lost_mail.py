"""'I lost my mail': the links to upcoming bookings reach their customer, and nobody else learns anything."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import on_request
from bookings.cancelling import cancel, return_tickets
from bookings.guests import enter
from bookings.tests.racing import race
from bookings.views import SeeOther
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from mail.composing import compose
from mail.models import Mail
from mail.sending import send_due
from tickets import lost_mail
from tickets.models import Ticket
from tickets.tests.test_pages import says

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

PAGE = "/lost-mail/"
STRANGER = "nobody@example.com"


def ask(email, client=None, follow=True):
    return (client or Client()).post(PAGE, {"email": email}, follow=follow)


def waiting():
    return Mail.objects.filter(kind="my_bookings")


def the_mail():
    return compose(waiting().get())


def test_the_mail_leads_to_the_bookings_and_their_tickets(ann, tier, book, settings):
    confirmed = book(ann, tier, 3)
    return_tickets(confirmed, 1, numbers=[2], key=confirmed.pk, now=timezone.now())
    ask(ann.email)
    message = the_mail()
    assert message.subject.startswith(f"Your booking: {tier.concert.name}, ")
    page = f"{settings.SITE_URL}/bookings/{confirmed.pk}/"
    html, _ = message.alternatives[0]
    kept = [t for t in Ticket.objects.with_details().order_by("number") if t.is_valid]
    assert [ticket.number for ticket in kept] == [1, 3]
    links = [page, *(f"{settings.SITE_URL}/tickets/{ticket.token}/" for ticket in kept)]
    assert re.findall(r"https?://\S*/(?:bookings|tickets)/\S+/", message.body) == links
    assert all(f'href="{link}"' in html for link in links)
    assert not message.attachments


def test_somebody_who_is_not_logged_in_can_use_its_links(ann, tier, book):
    booking = book(ann, tier)
    ask(ann.email)
    links = re.findall(r"https?://[^/]+(/(?:bookings|tickets)/\S+/)", the_mail().body)
    page, ticket = links
    assert Client().get(ticket).status_code == 200
    asked = Client().get(page)
    assert (asked.status_code, asked.url) == (302, f"/accounts/login/?next={page}")
    customer = Client()
    customer.force_login(ann)
    assert customer.get(page).context["booking"] == booking


def test_it_names_what_is_to_come_soonest_first(ann, bob, tier, book, take_hold):
    def at(days):
        return TicketTierFactory(concert__date=timezone.now() + timedelta(days=days))

    later, sooner = book(ann, at(20)), book(ann, at(10))
    held = take_hold(ann, at(15))
    gone, running, called_off = book(ann, at(5)), book(ann, at(6)), book(ann, at(7))
    for booking, hours in ((gone, 24), (running, 1)):
        began = timezone.now() - timedelta(hours=hours)
        Concert.objects.filter(pk=booking.ticket_tier.concert_id).update(date=began)
    Concert.objects.filter(pk=called_off.ticket_tier.concert_id).update(status="CANCELLED")
    cancel(book(ann, at(1)), now=timezone.now())
    book(bob, tier)
    ask(ann.email)
    message = the_mail()
    assert message.subject.startswith("Your upcoming bookings, the next one: ")
    named = re.findall(r"/bookings/([0-9a-f-]{36})/", message.body)
    assert named == [str(each.pk) for each in (running, sooner, held, later)]
    assert message.body.count("/tickets/") == 3  # the hold has none yet


def test_a_customer_with_very_many_bookings_gets_the_next_ones(ann, tier, book, monkeypatch):
    monkeypatch.setattr("tickets.mails.LISTED", 2)
    for _ in range(3):
        book(ann, tier)
    ask(ann.email)
    body = the_mail().body
    assert body.count("Booking: ") == 2
    assert "These are the next 2 bookings." in body


# --- Who asks learns nothing --------------------------------------------------------------------------


@pytest.fixture
def known(ann, bob, tier, book):
    """The address of a customer with a booking; Bob has none."""
    book(ann, tier)
    return ann.email


def told(email):
    """What the visitor is told, and every statement that was made for it."""
    client = Client()
    with CaptureQueriesContext(
        connection,
    ) as asked:
        answer = ask(email, client, follow=False)
    statements = [re.sub(r"'[^']*'|s\d+_x\d+", "?", each["sql"]) for each in asked]
    page = says(client.get(answer.url)).replace(email, "…")
    page = re.sub(r'(name="csrfmiddlewaretoken" value=")\w+', r"\1", page)
    return answer.status_code, answer.url, page, statements


def test_the_answer_and_the_work_are_the_same_for_every_address(known, bob):
    ask("warm@example.com")
    has_bookings, has_none, unknown = told(known), told(bob.email), told(STRANGER)
    assert has_bookings == has_none == unknown
    again = told(known), told(STRANGER)
    assert again[0] == again[1]
    assert again[0][:3] == unknown[:3]


def test_only_the_customer_is_mailed(known, bob, settings, tmp_path):
    settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH = "mail.files.Files", tmp_path
    Mail.objects.all().delete()
    for email in (known, bob.email, STRANGER):
        ask(email)
    send_due(now=timezone.now() + timedelta(seconds=1))
    outcome = dict(waiting().values_list("address", "status"))
    assert outcome == {known: "SENT", bob.email: "SKIPPED", STRANGER: "SKIPPED"}
    assert len(list(tmp_path.glob("*.eml"))) == 1


def test_addresses_of_strangers_are_forgotten(known):
    for email in (known, STRANGER):
        ask(email)
    waiting().filter(address=STRANGER).update(status="SKIPPED")
    lost_mail.forget_strangers(now=timezone.now())
    assert waiting().count() == 2
    lost_mail.forget_strangers(now=timezone.now() + timedelta(days=1, minutes=1))
    assert waiting().get().address == known


# --- Not too often ------------------------------------------------------------------------------------


def test_however_often_it_is_pressed_one_mail_goes(known):
    answers = {says(ask(spelled)).count("is on its way") for spelled in [known, known.upper()] * 3}
    assert answers == {1}
    assert waiting().count() == 1


def waited(seconds):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_attempts SET free_at = free_at - make_interval(secs => %s), "
            "forgotten_at = forgotten_at - make_interval(secs => %s)",
            [seconds, seconds],
        )


def test_later_it_can_be_asked_for_again_and_the_waits_grow(known):
    sent = []
    for _ in range(12):
        ask(known)
        sent.append(waiting().count())
        waited(on_request.FIRST_WAIT + 1)
    assert sent[:4] == [1, 2, 2, 3]
    assert sent[-1] <= 5


def test_one_client_cannot_ask_for_many_addresses(monkeypatch):
    monkeypatch.setattr(lost_mail, "PER_MINUTE", 3)
    client = Client()
    answers = [ask(f"{n}@example.com", client, follow=False) for n in range(5)]
    assert [answer.status_code for answer in answers] == [303, 303, 303, 429, 429]
    assert "There were too many attempts." in says(answers[-1])
    assert 'value="4@example.com"' in says(answers[-1])
    assert int(answers[-1]["Retry-After"]) > 0
    assert waiting().count() == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("counted", "mails"), [(True, 1), (False, 8)], ids=["counted", "control"])
def test_eight_windows_at_once_send_one_mail(monkeypatch, counted, mails):
    if not counted:
        monkeypatch.setattr(lost_mail.throttle, "count", lambda *attempt: None)
    got = race(lambda _: ask(STRANGER, follow=False), 8)
    assert got == {SeeOther: 8}
    assert waiting().count() == mails


# --- The page -----------------------------------------------------------------------------------------


def test_pages_link_to_it(as_ann):
    for client, path in ((Client(), "/accounts/login/"), (as_ann, "/bookings/")):
        main = says(client.get(path)).partition("<footer")[0]
        assert f'href="{PAGE}"' in main, path
    assert f'href="{PAGE}"' in says(Client().get("/"))


def test_whoever_is_logged_in_finds_the_address_typed_in(as_ann, ann):
    assert f'value="{ann.email}"' in says(as_ann.get(PAGE))


@pytest.mark.parametrize(
    "typed", ["", "ann", "a\x00@example.com", "a@b.c\nBcc: x@y.z", "x" * 250 + "@a.com"]
)
def test_what_is_no_address_is_refused(typed):
    answer = ask(typed)
    assert answer.status_code == 200
    assert 'class="errorlist"' in says(answer)
    assert not waiting().exists()


def test_a_page_that_was_out_of_date_keeps_the_address():
    client = Client(enforce_csrf_checks=True)
    client.get(PAGE)
    fields = {"email": STRANGER, "csrfmiddlewaretoken": "x" * 64}
    html = says(client.post(PAGE, fields))
    assert "out of date" in html
    assert f'value="{STRANGER}"' in html
    assert not waiting().exists()


def test_a_guests_links_open_without_logging_in_and_an_accounts_do_not(ann, tier, book):
    guest = enter(email=ann.email, name="Gwen", key=uuid4())
    theirs, of_account = book(guest, tier), book(ann, tier)
    ask(ann.email)
    text = the_mail().body
    assert f"/bookings/{of_account.pk}/" in text
    assert f"/bookings/{theirs.pk}/" not in text
    link = re.search(r"http://127.0.0.1:\d+(/b/\S+)", text)[1]
    assert Client().get(link, follow=True).request["PATH_INFO"] == f"/bookings/{theirs.pk}/"
    assert "in your account asks you to log in" in text


def test_a_mail_to_a_guest_names_no_list_that_needs_an_account(tier, book):
    key = uuid4()
    book(enter(email="gwen@example.com", name="Gwen", key=key), tier, key=key)
    ask("Gwen@Example.com")
    text = the_mail().body
    assert "Hello Gwen," in text
    assert "without a password" in text
    assert "My bookings" not in text
