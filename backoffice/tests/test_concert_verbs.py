"""What staff do to a concert: publish and unpublish it, duplicate it, move it, call it off."""

import html
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import UserFactory
from backoffice.verbs import concerts
from bookings.cancelling import cancel
from bookings.models import Booking, Refund
from bookings.tests.racing import race
from concerts.models import Concert, Move, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory, sell
from concerts.tests.moves import move
from mail.models import Mail
from ticketbook.tests.forms import form_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

PUBLISH, UNPUBLISH = concerts.Publish(), concerts.Unpublish()
DUPLICATE, MOVE, CALL_OFF = concerts.Duplicate(), concerts.Move(), concerts.CallOff()
NEW_YORK = "America/New_York"
LISTED = "/admin/concerts/concert/"


def page_of(concert):
    return f"{LISTED}{concert.pk}/change/"


def text(response, status=200):
    assert response.status_code == status
    return html.unescape(response.content.decode())


@pytest.fixture
def send(admin_client):
    """Send the form of a verb; returns the page after it."""

    def send(verb, concert, *, once=None, **typed):
        sent = {"once": once or uuid.uuid4(), **typed}
        return text(admin_client.post(verb.address(concert), sent, follow=True), status=send.status)

    send.status = 200
    return send


@pytest.fixture
def refused(send):
    """As `send`, for what is refused."""

    def refused(*args, **typed):
        send.status = 409
        page = send(*args, **typed)
        send.status = 200
        return page

    return refused


def draft(**more):
    return TicketTierFactory(concert__status="DRAFT", **more).concert


def status(concert):
    concert.refresh_from_db()
    return concert.status


def buttons(client, concert):
    page = text(client.get(page_of(concert)))
    every = (PUBLISH, UNPUBLISH, MOVE, DUPLICATE, CALL_OFF)
    return {verb.name for verb in every if f'href="{verb.address(concert)}"' in page}


def test_a_concert_has_the_buttons_of_what_can_be_done_to_it(admin_client):
    assert buttons(admin_client, draft()) == {"publish", "duplicate"}
    published = TicketTierFactory().concert
    assert buttons(admin_client, published) == {"unpublish", "move", "duplicate", "call-off"}
    assert buttons(admin_client, ConcertFactory(status="CANCELLED")) == {"duplicate"}


def test_the_verbs_need_the_permission_to_change_concerts(staff_who_may):
    concert = TicketTierFactory().concert
    client = staff_who_may("view_concert", "view_tickettier", "view_booking")
    for verb in (PUBLISH, UNPUBLISH, MOVE, DUPLICATE, CALL_OFF):
        assert client.get(verb.address(concert)).status_code == 403
        assert client.post(verb.address(concert), {"once": uuid.uuid4()}).status_code == 403
    assert (status(concert), Concert.objects.count()) == ("PUBLISHED", 1)


# --- Publish and unpublish ----------------------------------------------------------------------


def test_the_page_of_publish_says_when_the_sale_opens_and_what_is_missing(admin_client):
    opens = datetime(2031, 5, 2, 8, tzinfo=UTC)
    begins = {"concert__date": datetime(2031, 6, 1, 18, tzinfo=UTC)}
    concert = draft(concert__sales_open_at=opens, **begins)
    page = text(admin_client.get(PUBLISH.address(concert)))
    assert "Sales open on Fri 2 May 2031, 08:00 UTC." in page
    assert "They end when the concert begins, on Sun 1 Jun 2031, 18:00 UTC." in page
    assert "Description: Say what people are going to hear." in page
    Concert.objects.update(description="Loud.")
    assert "Its checklist is done." in text(admin_client.get(PUBLISH.address(concert)))


def test_publish_shows_a_draft_to_customers_and_unpublish_hides_it_again(send, client):
    concert = draft()
    visitor = Client()
    assert visitor.get(f"/concerts/{concert.pk}/").status_code == 404
    assert "It is published. It is on sale." in send(PUBLISH, concert)
    assert visitor.get(f"/concerts/{concert.pk}/").status_code == 200
    assert "It is a draft again, and only staff see it." in send(UNPUBLISH, concert)
    assert visitor.get(f"/concerts/{concert.pk}/").status_code == 404
    said = list(LogEntry.objects.order_by("id").values_list("change_message", flat=True))
    assert said == ["Published.", "Hidden from customers: a draft again."]


def test_what_has_begun_or_was_called_off_is_not_published(refused):
    past = draft(concert__date=timezone.now() - timedelta(hours=1))
    assert "has begun already" in refused(PUBLISH, past)
    assert "was called off before" in refused(PUBLISH, ConcertFactory(status="CANCELLED"))
    assert "is published already" in refused(PUBLISH, ConcertFactory())
    assert status(past) == "DRAFT"


def test_what_was_ever_booked_is_not_hidden(admin_client, refused, book, ann):
    tier = TicketTierFactory()
    booking = book(ann, tier)
    said = "Tickets of this concert were booked, so it cannot be hidden"
    assert said in refused(UNPUBLISH, tier.concert)
    cancel(booking, now=timezone.now())
    assert said in text(admin_client.get(UNPUBLISH.address(tier.concert)), status=409)
    assert status(tier.concert) == "PUBLISHED"
    held = TicketTierFactory()
    sell(held, 1)
    assert said in refused(UNPUBLISH, held.concert)


# --- Duplicate ----------------------------------------------------------------------------------


def test_a_duplicate_is_a_draft_with_full_stock_and_sales_times_as_long_before(send):
    date = datetime(2031, 3, 1, 1, tzinfo=UTC)  # 20:00 the evening before in New York
    tier = TicketTierFactory(
        concert__date=date,
        concert__time_zone=NEW_YORK,
        concert__sales_open_at=datetime(2031, 2, 1, 15, tzinfo=UTC),  # 10:00 there
        concert__sales_close_at=date - timedelta(hours=1),
        concert__description="Loud.",
        max_per_customer=4,
    )
    sell(tier, 60)
    TicketTier.objects.update(kept_back=10)
    page = send(DUPLICATE, tier.concert, date_0="2031-03-28", date_1="20:00:00")
    assert "This is the new draft, on Fri 28 Mar 2031, 20:00 (New York time)." in page
    copy = Concert.objects.exclude(pk=tier.concert_id).get()
    assert (copy.status, copy.description, copy.venue) == ("DRAFT", "Loud.", tier.concert.venue)
    assert copy.date == datetime(2031, 3, 29, 0, tzinfo=UTC)
    # The clocks went forward in between. Sales open at ten again, and close an hour before it again.
    assert copy.sales_open_at == datetime(2031, 3, 1, 15, tzinfo=UTC)
    assert copy.sales_close_at == datetime(2031, 3, 28, 23, tzinfo=UTC)
    made = copy.ticket_tiers.get()
    assert (made.price, made.total_quantity, made.max_per_customer) == (tier.price, 100, 4)
    assert (made.available_quantity, made.kept_back) == (100, 0)
    assert LogEntry.objects.get(object_id=copy.pk).change_message.startswith("Duplicated from")


@pytest.mark.parametrize(
    ("date", "sentence"),
    [
        (("2020-05-01", "20:00"), "That date is in the past."),
        (("2031-03-09", "02:30"), "does not exist in New York time"),
        (("2031-11-02", "01:30"), "comes twice in New York time"),
        (("2031-02-30", "20:00"), "Enter a valid date."),
        (("", ""), "This field is required."),
        (("9999-01-01", "20:00"), "Give a year from 2 to 9998."),
    ],
)
def test_a_date_that_there_is_not_is_refused_and_nothing_is_made(refused, date, sentence):
    tier = TicketTierFactory(concert__time_zone=NEW_YORK)
    assert sentence in refused(DUPLICATE, tier.concert, date_0=date[0], date_1=date[1])
    assert (Concert.objects.count(), TicketTier.objects.count()) == (1, 1)


def test_which_of_two_moments_is_meant_can_be_chosen(send):
    tier = TicketTierFactory(concert__time_zone=NEW_YORK)
    send(DUPLICATE, tier.concert, date_0="2031-11-02", date_1="01:30", date_2="second")
    copy = Concert.objects.exclude(pk=tier.concert_id).get()
    assert copy.date == datetime(2031, 11, 2, 6, 30, tzinfo=UTC)


def test_a_duplicate_that_is_sent_twice_is_made_once(send):
    concert, once = TicketTierFactory().concert, uuid.uuid4()
    typed = {"once": once, "date_0": "2031-05-01", "date_1": "20:00"}
    send(DUPLICATE, concert, **typed)
    assert "was sent before" in send(DUPLICATE, concert, **typed)
    assert Concert.objects.count() == 2


# --- Move ---------------------------------------------------------------------------------------


def form_of_move(client, concert, **changes):
    """What a browser sends if nobody touches the form but for these changes."""
    form = client.get(MOVE.address(concert)).context["form"]
    day, clock, which = form.fields["date"].widget.decompress(form["date"].value())
    shown = {"date_0": day, "date_1": clock, "date_2": which}
    shown |= {name: form[name].value() for name in ("time_zone", "venue")}
    shown["seen"] = form.fields["seen"].widget.now
    return shown | {"reason": "The hall burnt down."} | changes


def test_a_move_says_how_many_holders_there_are_and_tells_them_once(
    admin_client,
    send,
    book,
    ann,
    bob,
):
    tier = TicketTierFactory(concert__time_zone=NEW_YORK, concert__venue="Pier")
    book(ann, tier), book(ann, tier, 2), book(bob, tier)
    page = text(admin_client.get(MOVE.address(tier.concert)))
    assert "2 customers have tickets, and each is told by mail." in page
    assert "for 14 days" in page
    date = tier.concert.date
    said = send(MOVE, tier.concert, **form_of_move(admin_client, tier.concert, venue="Arena"))
    assert "at Arena now. 2 customers have tickets" in said
    tier.concert.refresh_from_db()
    assert (tier.concert.venue, tier.concert.date) == ("Arena", date)
    assert Mail.objects.filter(kind="moved").count() == 2
    assert Move.objects.get().venue == "Pier"
    logged = LogEntry.objects.get().change_message
    assert "Moved. It was on" in logged
    assert "at Pier. The hall burnt down." in logged


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "as before, so there is nothing to move"),
        ({"date_0": "2020-05-01"}, "That date is in the past."),
        ({"date_0": "2031-03-09", "date_1": "02:30"}, "does not exist in New York time"),
        ({"time_zone": "Mars/Olympus"}, "Select a valid choice."),
        ({"venue": ""}, "This field is required."),
        ({"venue": "x" * 201}, "at most 200 characters"),
        ({"date_0": "2031-05-01", "seen": ""}, "has changed since the page was drawn"),
    ],
)
def test_a_move_that_cannot_be_is_refused_and_nobody_is_told(
    admin_client,
    refused,
    book,
    ann,
    changes,
    sentence,
):
    tier = TicketTierFactory(concert__time_zone=NEW_YORK)
    book(ann, tier)
    sent = form_of_move(admin_client, tier.concert, **changes)
    assert sentence in refused(MOVE, tier.concert, **sent)
    assert not Move.objects.exists()
    assert not Mail.objects.filter(kind="moved").exists()


def test_a_concert_does_not_move_to_before_its_sales_open(admin_client, refused):
    opens = timezone.now() + timedelta(days=20)
    concert = ConcertFactory(sales_open_at=opens)
    day = (timezone.now() + timedelta(days=5)).date()
    sent = form_of_move(admin_client, concert, date_0=day)
    assert "Sales must open before the concert begins." in refused(MOVE, concert, **sent)


def test_whoever_moves_a_concert_that_was_moved_meanwhile_is_told_where_it_is(
    admin_client, send, refused
):
    concert = ConcertFactory()
    sent = form_of_move(admin_client, concert, venue="Arena")
    move(concert, venue="Stadium")
    page = refused(MOVE, concert, once=(once := uuid.uuid4()), **sent)
    assert "Nothing was done. This has changed since the page was drawn." in page
    assert "at Stadium" in page
    seen = form_of_move(admin_client, concert)["seen"]
    assert f'value="{seen}"' in page  # so the form that came back may be sent again
    assert "at Arena now" in send(MOVE, concert, once=once, **sent | {"seen": seen})


def test_the_form_of_a_concert_that_sells_says_that_a_change_moves_it_and_whom_it_told(
    admin_client, book, ann
):
    tier = TicketTierFactory()
    book(ann, tier)
    url = f"{LISTED}{tier.concert_id}/change/"
    page = admin_client.get(url)
    assert text(page).count("everybody who has tickets is told by mail at once") == 3
    sent = form_of(page, "concert_form") | {"venue": "Arena", "_save": "Save"}
    said = text(admin_client.post(url, sent, follow=True))
    assert "The concert has moved, and 1 customer who has tickets will hear of it by mail." in said
    assert Mail.objects.filter(kind="moved").count() == 1


def test_a_draft_is_moved_in_its_form_and_what_was_called_off_is_not_moved(admin_client):
    assert "This is a draft" in text(admin_client.get(MOVE.address(draft())), status=409)
    gone = ConcertFactory(status="CANCELLED")
    assert "was called off before" in text(admin_client.get(MOVE.address(gone)), status=409)


# --- Call off -----------------------------------------------------------------------------------


def test_call_off_says_what_it_costs_and_leads_to_its_progress(
    admin_client,
    send,
    book,
    ann,
    bob,
    take_hold,
):
    tier = TicketTierFactory()
    book(ann, tier, 3), book(bob, tier, 1), take_hold(ann, tier, 2)
    page = text(admin_client.get(CALL_OFF.address(tier.concert)))
    assert "2 bookings with 4 tickets will be cancelled, and $40.00 goes back" in page
    assert "1 booking waits for a payment. If it comes, it goes back too." in page
    said = send(CALL_OFF, tier.concert, reason="The singer is ill.")
    assert "The concert is called off. 2 bookings were cancelled, and $40.00 is on its way" in said
    assert "2 bookings are cancelled." in said
    assert "0 of 2 refunds sent: $0.00 of $40.00. 2 due: $40.00." in said
    assert "0 of 2 mails sent. 2 wait." in said
    assert "1 more waits for a payment." in said
    assert "The singer is ill." in LogEntry.objects.get().change_message


def test_cash_is_said_to_be_handed_over_and_not_to_be_sent(admin_client, send, book, ann):
    tier = TicketTierFactory()
    book(ann, tier, 3)
    Booking.objects.create(
        user=UserFactory(),
        ticket_tier=tier,
        quantity=2,
        unit_price=10,
        total_price=20,
        status="CONFIRMED",
        payment_status="SUCCESS",
        gateway="cash",
        source="DOOR",
        idempotency_key=uuid.uuid4(),
        hold_expires_at=timezone.now(),
    )
    sell(tier, 5)
    page = text(admin_client.get(CALL_OFF.address(tier.concert)))
    assert "2 bookings with 5 tickets will be cancelled, and $30.00 goes back" in page
    assert "$20.00 more was paid in cash. Nobody sends that: hand it over yourselves." in page
    said = send(CALL_OFF, tier.concert, reason="The singer is ill.")
    assert "$30.00 is on its way back. $20.00 was paid in cash: hand it over." in said
    assert "0 of 1 refunds sent: $0.00 of $30.00." in said
    assert "<strong>$20.00 was paid in cash.</strong> Nobody sends it" in said


def test_calling_off_twice_gets_a_sentence(send, refused, book, ann):
    tier = TicketTierFactory()
    book(ann, tier)
    once = uuid.uuid4()
    send(CALL_OFF, tier.concert, once=once, reason="ill")
    assert "was called off before" in refused(CALL_OFF, tier.concert, reason="ill")
    assert "was sent before" in send(CALL_OFF, tier.concert, once=once, reason="ill")
    assert LogEntry.objects.count() == Refund.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_who_call_off_at_once_one_gets_the_sentence(admin_user, book, ann):
    tier = TicketTierFactory()
    book(ann, tier)

    def call_off(runner):
        client = Client()
        client.force_login(admin_user)
        sent = {"once": uuid.uuid4(), "reason": "ill"}
        return {302: True, 409: 0}[client.post(CALL_OFF.address(tier.concert), sent).status_code]

    assert race(call_off, 2) == {bool: 1, int: 1}
    assert LogEntry.objects.count() == Refund.objects.count() == 1
    assert Mail.objects.filter(kind="called_off").count() == 1


def test_a_stranger_to_money_sees_no_progress(staff_who_may):
    concert = ConcertFactory(status="CANCELLED")
    for end in ("calling-off/", "calling-off/progress/"):
        url = f"{LISTED}{concert.pk}/{end}"
        assert staff_who_may("view_concert").get(url).status_code == 403
        assert staff_who_may("view_concert", "view_booking").get(url).status_code == 200
        assert Client().get(url).status_code == 302


def called_off(tier, *, bookings, sent, refused):
    """Rows as they are in the middle of the work, some of them done."""
    now = timezone.now()
    Concert.objects.filter(pk=tier.concert_id).update(status="CANCELLED")
    for n in range(bookings):
        booking = Booking.objects.create(
            user=UserFactory(),
            ticket_tier=tier,
            quantity=1,
            unit_price=10,
            total_price=10,
            status="CANCELLED",
            payment_status="SUCCESS",
            returned_quantity=1,
            refunded_total=10,
            called_off=True,
            idempotency_key=uuid.uuid4(),
            hold_expires_at=now,
        )
        state = "SENT" if n < sent else "FAILED" if n < sent + refused else "DUE"
        times = {"sent_at": now} if state == "SENT" else {}
        reason = Refund.Reason.CALLED_OFF
        Refund.objects.create(booking=booking, amount=10, reason=reason, status=state, **times)
        mail = {"DUE": "WAITING"}.get(state, state)
        Mail.objects.create(
            kind="called_off", about=booking.pk, key=f"called_off:{booking.pk}", status=mail,
            address="a@example.com", message_id=f"<{booking.pk}>", last_error="no mailbox", **times,
        )  # fmt: skip
    return tier.concert


def test_the_progress_is_that_of_the_rows_and_is_sent_again_only_if_it_has_changed(
    admin_client, django_assert_num_queries
):
    concert = called_off(TicketTierFactory(), bookings=8, sent=5, refused=1)
    called_off(TicketTierFactory(), bookings=3, sent=1, refused=1)  # of another concert
    url = f"{LISTED}{concert.pk}/calling-off/progress/"
    admin_client.get(url)
    with django_assert_num_queries(6):  # the session, the user, the concert, and three sums
        first = admin_client.get(url)
    page = text(first)
    assert "8 bookings are cancelled." in page
    assert "5 of 8 refunds sent: $50.00 of $80.00. 2 due: $20.00." in page
    assert "1 refused" in page
    assert "1 failed" in page
    assert "5 of 8 mails sent. 2 wait." in page
    assert "data-at-rest" not in page
    again = admin_client.get(url, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    Refund.objects.filter(status="DUE").update(status="SENT", sent_at=timezone.now())
    Mail.objects.filter(status="WAITING").update(status="SENT", sent_at=timezone.now())
    changed = admin_client.get(url, headers={"If-None-Match": first["ETag"]})
    assert "All is done that happens by itself." in text(changed)
    assert admin_client.post(url).status_code == 405


def test_only_what_was_called_off_has_a_progress(admin_client):
    concert = TicketTierFactory().concert
    assert admin_client.get(f"{LISTED}{concert.pk}/calling-off/").status_code == 404
    assert "calling-off/" not in text(admin_client.get(page_of(concert)))
    Concert.objects.update(status="CANCELLED")
    assert f'href="{LISTED}{concert.pk}/calling-off/"' in text(admin_client.get(page_of(concert)))
    page = text(admin_client.get(f"{LISTED}{concert.pk}/calling-off/"))
    assert "Nobody had booked this concert." in page
