"""A verb for many bookings: the page that asks says what will happen to each, and the last one what did."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.http import HttpResponse, HttpResponseRedirect
from django.test import Client
from django.utils import timezone

from accounts.models import User
from backoffice.tests.conftest import somebody_else_has_locked
from backoffice.verbs import bulk
from bookings.audit import audit
from bookings.cancelling import return_tickets
from bookings.models import Booking, Refund
from bookings.placing import place
from bookings.tests.racing import race
from bookings.tests.wishing import wish
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

LIST = "/admin/bookings/booking/"
CANCEL = f"{LIST}many/cancel/"


@pytest.fixture
def tier():
    return TicketTierFactory(price=10, concert__date=timezone.now() + timedelta(days=30))


@pytest.fixture
def bookings(tier):
    ann = User.objects.create_user("ann@example.com", name="Ann")
    return [place(wish(ann, tier, quantity)).booking for quantity in (1, 2, 3)]


def choose(client, rows, action="cancel", **more):
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(LIST, chosen | more, follow=True)


def sent_by(page, **typed):
    """What the form of the page sends."""
    sent = {"reason": "storm", "once": page.context["form"]["once"].value()} | typed
    sent["row"] = [str(line.key) for line in page.context["lines"] if line.is_good]
    return sent | {
        f"seen-{line.key}": line.plan.seen for line in page.context["lines"] if line.is_good
    }


def test_the_page_says_what_will_happen_to_each_and_in_all(admin_client, bookings):
    Booking.objects.filter(pk=bookings[0].pk).update(
        status="FAILED", payment_status="FAILED", failure_reason="DECLINED"
    )
    page = choose(admin_client, bookings)
    text = page.content.decode()
    assert "2 of 3 bookings, with 5 tickets in all, and $50.00 that go back" in text
    assert "2 tickets go back on sale, and $20.00 is sent back to ann@example.com" in text
    assert "Only a confirmed booking has tickets. This one is: Failed: payment declined." in text
    assert "Nothing has been done yet." in text
    assert not Refund.objects.exists()


def test_each_is_done_once_with_a_line_of_its_own(admin_client, bookings, tier):
    page = choose(admin_client, bookings)
    form = sent_by(page)
    done = admin_client.post(CANCEL, form).content.decode()
    assert "Done: 3 of 3." in done
    assert "The booking is cancelled, and 3 tickets went back on sale." in done
    assert set(Booking.objects.values_list("status", flat=True)) == {"CANCELLED"}
    assert sum(Refund.objects.values_list("amount", flat=True)) == Decimal(60)
    assert set(Refund.objects.values_list("note", "status")) == {("storm", "DUE")}  # jobs send them
    again = admin_client.post(CANCEL, form, follow=True).content.decode()
    assert "This form was sent before" in again
    assert Refund.objects.count() == Mail.objects.filter(kind="cancelled").count() == 3
    assert audit() == []


def test_what_has_changed_since_the_page_was_drawn_stays_as_it_is(admin_client, bookings):
    page = choose(admin_client, bookings)
    return_tickets(bookings[2], 1, key=uuid.uuid4(), now=timezone.now())
    done = admin_client.post(CANCEL, sent_by(page)).content.decode()
    assert "Done: 2 of 3." in done
    assert "Nothing was done. This has changed since the page was drawn." in done
    bookings[2].refresh_state()
    assert (bookings[2].status, bookings[2].kept_quantity) == ("CONFIRMED", 2)


def test_rows_of_another_list_and_nonsense_are_refused(admin_client, bookings, tier):
    page = choose(admin_client, bookings[:1])
    form = sent_by(page)
    others = [str(tier.pk), str(tier.concert_id), str(uuid.uuid4())]
    done = admin_client.post(CANCEL, form | {"row": [*form["row"], *others, "x", ""]})
    text = done.content.decode()
    assert "Done: 1 of 4." in text
    assert text.count("This is no row of this list.") == 3
    for rows in ([], ["x"], [""]):
        answer = admin_client.post(CANCEL, form | {"row": rows}, follow=True)
        assert "Choose some rows of the list first." in answer.content.decode()
    # A row that the page has not shown has not been seen.
    unseen = form | {"row": [str(bookings[1].pk)], "once": uuid.uuid4()}
    assert "Done: 0 of 1." in admin_client.post(CANCEL, unseen).content.decode()
    assert Booking.objects.filter(status="CANCELLED").count() == 1


def test_a_reason_is_asked_for_and_the_rows_stay_chosen(admin_client, bookings):
    page = choose(admin_client, bookings)
    refused = admin_client.post(CANCEL, sent_by(page, reason=" "))
    assert refused.status_code == 409
    assert "This field is required." in refused.content.decode()
    assert not Refund.objects.exists()
    assert "Done: 3 of 3." in admin_client.post(CANCEL, sent_by(refused)).content.decode()


def test_there_is_a_limit(admin_client, bookings, monkeypatch):
    page = choose(admin_client, bookings)
    monkeypatch.setattr(bulk, "MOST", 2)
    assert bulk.TOO_MANY in choose(admin_client, bookings).content.decode()
    answer = admin_client.post(CANCEL, sent_by(page), follow=True)
    assert bulk.TOO_MANY in answer.content.decode()
    assert not Refund.objects.exists()


def test_tickets_are_sent_again_to_many(admin_client, bookings):
    page = choose(admin_client, bookings, "send_tickets")
    assert "3 of 3 bookings, with 6 tickets in all." in page.content.decode()
    done = admin_client.post(f"{LIST}many/send-tickets/", sent_by(page)).content.decode()
    assert "Done: 3 of 3." in done
    assert Mail.objects.filter(kind="tickets").count() == 3


def test_only_staff_who_may_change_bookings_have_the_actions(staff_who_may, bookings):
    client = staff_who_may("view_booking")
    assert "Cancel and refund…" not in client.get(LIST).content.decode()
    assert "What will happen" not in choose(client, bookings).content.decode()
    assert client.post(CANCEL, {"row": [str(bookings[0].pk)]}).status_code == 403
    assert Booking.objects.filter(status="CONFIRMED").count() == 3


def test_a_page_that_is_read_leads_to_the_list(admin_client):
    assert admin_client.get(CANCEL, follow=True).redirect_chain[0][0] == LIST


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_eight_times_at_once_does_its_work_once(admin_user, bookings):
    client = Client()
    client.force_login(admin_user)
    form = sent_by(choose(client, bookings))

    def send(runner):
        each = Client()
        each.force_login(admin_user)
        return each.post(CANCEL, form)

    assert race(send, 8) == {HttpResponse: 1, HttpResponseRedirect: 7}
    assert Refund.objects.count() == 3
    assert audit() == []


@pytest.mark.django_db(transaction=True)
def test_a_tier_that_is_locked_keeps_no_other_row_from_being_done(admin_client, bookings):
    other = TicketTierFactory(price=10)
    bookings.append(place(wish(bookings[0].user, other, 1)).booking)
    page = choose(admin_client, bookings)
    with somebody_else_has_locked(other):
        done = admin_client.post(CANCEL, sent_by(page)).content.decode()
    assert "Done: 3 of 4." in done
    assert "Somebody else is changing this at the moment" in done
    bookings[3].refresh_state()
    assert bookings[3].status == "CONFIRMED"
