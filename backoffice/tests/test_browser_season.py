"""Staff go through a season in a real Chromium, as docs/staff.md tells it, which shows pictures of it."""

import uuid

import pytest
from django.core import mail as outbox

from backoffice.tests.pictures import take
from bookings.audit import audit
from bookings.models import Booking
from bookings.tasks import send_refunds_of_concert
from concerts.models import Concert
from mail.sending import send_due
from ticketbook.postgres import clock
from ticketbook.tests.browser import DESKTOP, PASSWORD, browser_test
from tickets.fulfilment import fulfil_waiting
from tickets.messages import write_some

pytestmark = browser_test


@pytest.fixture
def staff(as_staff):
    """The back office in a window, logged in."""
    return as_staff("/admin/", viewport=DESKTOP)


def say(page, text):
    page.get_by_role("main").get_by_text(text).first.wait_for()


def press(page, name):
    page.get_by_role("main").get_by_role("button", name=name, exact=True).first.click()


def follow(page, name):
    page.get_by_role("main").get_by_role("link", name=name, exact=True).first.click()


def type_in(page, **typed):
    for label, value in typed.items():
        page.get_by_label(f"{label}:", exact=True).fill(value)


def work():
    """Do what the worker would do within seconds."""
    now = clock.ask()
    fulfil_waiting(now=now)
    while write_some(now=now) or send_due(now=clock.ask()):
        pass


def buy(page, email, name, tier, quantity):
    """Somebody signs up and books by the API."""
    api = page.context.request
    account = {"email": email, "password": PASSWORD, "name": name}
    assert api.post("/api/v1/users", data=account).status == 201
    del account["name"]
    token = api.post("/api/v1/auth/token", data=account).json()["token"]
    sent = {"ticketTierId": str(tier.pk), "quantity": quantity, "idempotencyKey": str(uuid.uuid4())}
    answer = api.post("/api/v1/bookings", data=sent, headers={"Authorization": f"Token {token}"})
    assert answer.status == 201, answer.text()
    return Booking.objects.get(pk=answer.json()["id"])


def of(page, concert):
    page.goto(f"/admin/concerts/concert/{concert.pk}/change/")


def plan(page):
    page.goto("/admin/concerts/concert/add/")
    type_in(page, Name="Northern Lights", Artist="The Testers", Venue="Town Hall")
    page.get_by_label("Date, date").fill("2031-05-01")
    page.get_by_label("Date, time").fill("20:00")
    page.get_by_label("Time zone:").select_option("Europe/Berlin")
    for number, (kind, price, tickets) in enumerate([("GA", "45", "100"), ("VIP", "160", "20")]):
        page.locator(".add-row a").click()
        line = f"#id_ticket_tiers-{number}"
        page.locator(f"{line}-tier_type").select_option(kind)
        page.locator(f"{line}-price").fill(price)
        page.locator(f"{line}-total_quantity").fill(tickets)
    take(page, "plan")
    press(page, "Save and continue editing")
    say(page, "Before it is published")
    follow(page, "Description")
    type_in(page, Description="Songs about long nights. Doors open at seven.")
    press(page, "Save and continue editing")
    say(page, "It says what people are going to hear.")
    take(page, "checklist", upto=".checklist")


def publish(page):
    follow(page, "Publish")
    say(page, "Everybody sees the concert from then on")
    take(page, "publish")
    press(page, "Publish")
    say(page, "It is published. It is on sale.")


def add_and_keep_back(page, tier):
    page.goto(f"/admin/concerts/tickettier/{tier.pk}/change/")
    take(page, "tier")
    follow(page, "Add or remove tickets")
    type_in(page, Tickets="20", Reason="The balcony is open after all.")
    take(page, "add-tickets")
    press(page, "Add or remove tickets")
    say(page, "The tier had 100 tickets, and has 120 now.")
    follow(page, "Keep tickets back")
    type_in(page, Tickets="10", Reason="For the band")
    press(page, "Keep tickets back")
    say(page, "0 tickets were kept back, and 10 are now.")


def comp(page):
    follow(page, "Book for somebody")
    type_in(page, Tickets="2", Name="Gwen Lee", Reason="The band’s guest list")
    page.get_by_label("E-mail address").fill("gwen@example.com")
    page.get_by_label("Counted as").select_option("Artist")
    page.get_by_label("Price").select_option("Free")
    page.get_by_label("Take tickets that are kept back").check()
    take(page, "book-for")
    press(page, "Book for somebody")
    say(page, "2 tickets are booked.")


def find(page, booking):
    page.goto("/admin/bookings/booking/")
    page.get_by_label("Search", exact=False).first.fill("ann hill")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=booking.number).wait_for()
    take(page, "find")
    follow(page, booking.number)
    say(page, "What has happened")


def return_some(page):
    follow(page, "Return some tickets")
    page.get_by_label("Ticket 4,").check()
    type_in(page, Reason="One friend is ill.")
    take(page, "return-tickets")
    press(page, "Return some tickets")
    say(page, "1 ticket went back on sale, and the booking keeps 3.")
    take(page, "booking", upto=".timeline")


def give_money_back(page):
    follow(page, "Give money back")
    page.get_by_label("Amount").fill("10")
    type_in(page, Reason="A cold evening")
    press(page, "Give money back")
    say(page, "$10.00 was sent back.")


def change_address(page):
    follow(page, "Change the address")
    page.get_by_label("New e-mail address").fill("ann.hill@example.com")
    type_in(page, Reason="The address was mistyped.")
    take(page, "change-address")
    press(page, "Change the address")
    say(page, "The booking belongs to ann.hill@example.com now")


def cancel(page, booking):
    page.goto(f"/admin/bookings/booking/{booking.pk}/change/")
    follow(page, "Cancel and refund")
    type_in(page, Reason="They asked for it.")
    take(page, "cancel")
    press(page, "Cancel and refund")
    say(page, "The booking is cancelled")


def move(page, concert):
    of(page, concert)
    follow(page, "Move")
    page.get_by_label("Date, date").fill("2031-05-02")
    type_in(page, Reason="The singer asked for a day more.")
    take(page, "move")
    press(page, "Move")
    say(page, "customers have tickets, and each is told by mail.")


def message(page, concert, people):
    of(page, concert)
    follow(page, "Message holders")
    type_in(page, Subject="Doors open at six")
    type_in(page, Text="The doors open an hour earlier, at six.\n\nPlease come in time.")
    press(page, "Look at the mail")
    say(page, "The mail, with an invented booking")
    take(page, "message", upto=".letter iframe")
    press(page, "Send it to me as a test")
    say(page, "Nobody else gets it.")
    press(page, f"Send to {people} people")
    say(page, f"The message goes to {people} people.")
    work()
    page.reload()
    told = [each for each in outbox.outbox if each.subject == "Doors open at six"]
    assert len(told) == people
    page.goto("/admin/tickets/holdermessage/")
    take(page, "messages")


def story(page, booking):
    page.goto(f"/admin/bookings/booking/{booking.pk}/change/")
    say(page, "Message to holders: Doors open at six")


def call_off(page, concert):
    of(page, concert)
    follow(page, "Call off")
    say(page, "will be cancelled")
    type_in(page, Reason="The singer is ill.")
    take(page, "call-off")
    press(page, "Call off")
    say(page, "refunds sent")
    send_refunds_of_concert(concert_id=str(concert.pk))
    work()
    say(page, "All is done that happens by itself.")
    take(page, "called-off")


@pytest.mark.timeout(300)
def test_a_season(staff):
    plan(staff)
    publish(staff)
    concert = Concert.objects.get()
    standing, vip = concert.ticket_tiers.order_by("price")
    ann = buy(staff, "ann@example.com", "Ann Hill", standing, 4)
    bob = buy(staff, "bob@example.com", "Bob Marsh", vip, 2)
    eve = buy(staff, "eve@example.com", "Eve Stone", vip, 1)
    work()
    add_and_keep_back(staff, standing)
    comp(staff)
    staff.goto("/admin/")
    take(staff, "first-page")
    work()
    find(staff, ann)
    return_some(staff)
    give_money_back(staff)
    change_address(staff)
    cancel(staff, eve)
    move(staff, concert)
    message(staff, concert, people=3)
    story(staff, bob)
    call_off(staff, concert)
    assert audit() == []
