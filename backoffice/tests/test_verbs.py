"""Each verb has a page that says what it will do, and does it once."""

import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.http import HttpResponseRedirect
from django.test import Client

from accounts.tests.factories import UserFactory
from backoffice.models import SentForm
from backoffice.tests.conftest import somebody_else_has_locked
from backoffice.verbs import every, stock
from bookings.tests.racing import race
from concerts.tests.factories import TicketTierFactory, sell

pytestmark = pytest.mark.django_db
ADD = stock.AddTickets()


@pytest.fixture
def tier():
    tier = TicketTierFactory(total_quantity=10)
    sell(tier, 4)
    tier.refresh_from_db()
    return tier


def typed(tickets, **more):
    return {"once": uuid.uuid4(), "tickets": tickets, "reason": "A larger hall"} | more


def capacity(tier):
    tier.refresh_from_db()
    return tier.total_quantity


def test_the_page_of_a_row_has_the_buttons_of_its_verbs(admin_client, tier):
    page = admin_client.get(f"/admin/concerts/tickettier/{tier.pk}/change/").content.decode()
    assert f'<a href="{ADD.address(tier)}">{ADD.button}</a>' in page


def test_a_verb_says_what_it_will_do_and_does_it(admin_client, tier):
    page = admin_client.get(ADD.address(tier)).content.decode()
    assert "6 are free, 0 are kept back, and 4 are sold or held" in page
    answer = admin_client.post(ADD.address(tier), typed(5), follow=True)
    assert "The tier had 10 tickets, and has 15 now." in answer.content.decode()
    assert capacity(tier) == 15
    assert "A larger hall" in LogEntry.objects.get().change_message


def test_a_form_that_is_sent_twice_does_its_work_once(admin_client, tier):
    form = typed(5)
    admin_client.post(ADD.address(tier), form)
    again = admin_client.post(ADD.address(tier), form, follow=True)
    assert "was sent before" in again.content.decode()
    assert capacity(tier) == 15


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_eight_times_at_once_does_its_work_once(admin_user, tier):
    form = typed(5)

    def send(runner):
        client = Client()
        client.force_login(admin_user)
        return client.post(ADD.address(tier), form)

    assert race(send, 8) == {HttpResponseRedirect: 8}
    assert capacity(tier) == 15


@pytest.mark.parametrize(
    ("tickets", "sentence"),
    [
        ("-7", "More tickets than that are sold, held or kept back already."),
        ("0", "0 changes nothing"),
        ("1.5", "Enter a whole number."),
        ("many", "Enter a whole number."),
        ("1000001", "less than or equal to 1000000"),
        ("", "This field is required."),
    ],
)
def test_what_is_refused_stays_in_the_form_with_a_sentence(admin_client, tier, tickets, sentence):
    form = typed(tickets)
    answer = admin_client.post(ADD.address(tier), form)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert sentence in page
    assert "A larger hall" in page
    assert capacity(tier) == 10
    # The same form is good when it is sent again with another number.
    admin_client.post(ADD.address(tier), form | {"tickets": 1})
    assert capacity(tier) == 11


def test_a_reason_is_asked_for(admin_client, tier):
    answer = admin_client.post(ADD.address(tier), typed(5, reason=" "))
    assert "This field is required." in answer.content.decode()
    assert capacity(tier) == 10


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_locked_for_too_long_is_refused_and_the_form_can_be_sent_again(
    admin_client, tier
):
    form = typed(5)
    with somebody_else_has_locked(tier):
        refused = admin_client.post(ADD.address(tier), form)
    assert "Somebody else is changing this at the moment" in refused.content.decode()
    assert capacity(tier) == 10
    admin_client.post(ADD.address(tier), form)
    assert capacity(tier) == 15


def test_whoever_may_not_change_a_row_gets_neither_buttons_nor_pages(staff_who_may, tier):
    client = staff_who_may("view_tickettier", "view_concert")
    page = client.get(f"/admin/concerts/tickettier/{tier.pk}/change/").content.decode()
    assert ADD.button not in page
    assert client.get(ADD.address(tier)).status_code == 403
    assert client.post(ADD.address(tier), typed(5)).status_code == 403
    assert capacity(tier) == 10


def test_customers_are_asked_to_log_in_as_staff(client, tier):
    client.force_login(UserFactory())
    for verb in every.EVERY:
        assert client.post(verb.address(tier), typed(5)).status_code == 302
    assert capacity(tier) == 10
    assert not SentForm.objects.exists()


def test_a_verb_for_a_row_that_is_not_there_is_not_found(admin_client):
    tier = TicketTierFactory.build(pk=uuid.uuid4())
    assert admin_client.get(ADD.address(tier)).status_code == 404
    assert admin_client.post(ADD.address(tier), typed(5)).status_code == 404


def test_every_verb_has_a_name_of_its_own():
    names = [verb.url_name for verb in every.EVERY]
    assert len(set(names)) == len(names)
