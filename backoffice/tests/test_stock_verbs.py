"""Staff keep tickets back and put them on sale again, with a reason and never below what is sold."""

import uuid

import pytest
from django.contrib.admin.models import LogEntry

from backoffice.verbs.stock import AddTickets, GiveFree, KeepBack
from bookings.audit import audit
from bookings.placing import place
from bookings.tests.wishing import wish
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

ADD, KEEP, FREE = AddTickets(), KeepBack(), GiveFree()


@pytest.fixture
def tier(admin_user):
    """Of ten tickets four are sold, two are kept back, and four are free."""
    tier = TicketTierFactory(total_quantity=10)
    place(wish(admin_user, tier, 4))
    TicketTier.objects.update(kept_back=2, available_quantity=4)
    return tier


def typed(tickets, **more):
    return {"once": uuid.uuid4(), "tickets": tickets, "reason": "For the band"} | more


def counters(tier):
    tier.refresh_from_db()
    return tier.total_quantity, tier.kept_back, tier.available_quantity


@pytest.mark.parametrize(
    ("verb", "tickets", "after", "said", "history"),
    [
        (KEEP, 4, (10, 6, 0), "2 tickets were kept back, and 6 are now. 0 are free.", "2 → 6"),
        (FREE, 2, (10, 0, 6), "2 tickets were kept back, and 0 are now. 6 are free.", "2 → 0"),
        (ADD, -4, (6, 2, 0), "The tier had 10 tickets, and has 6 now.", "10 → 6"),
    ],
    ids=["keep back", "put on sale", "remove"],
)
def test_all_that_is_there_can_be_moved_and_the_history_says_why(
    admin_client, tier, verb, tickets, after, said, history
):
    page = admin_client.get(verb.address(tier)).content.decode()
    assert "4 are free, 2 are kept back, and 4 are sold or held" in page
    answer = admin_client.post(verb.address(tier), typed(tickets), follow=True)
    assert said in answer.content.decode()
    assert counters(tier) == after
    assert audit() == []
    change = LogEntry.objects.get(content_type__model="tickettier").change_message
    assert f"{history}: For the band" in change


@pytest.mark.parametrize(
    ("verb", "tickets", "sentence"),
    [
        (KEEP, 5, "That many tickets are not free. Only 4 are free now."),
        (FREE, 3, "That many tickets are not kept back. Only 2 are kept back now."),
        (ADD, -5, "Only 4 are free now."),
        *[
            (verb, tickets, sentence)
            for verb in (KEEP, FREE)
            for tickets, sentence in [
                ("0", "greater than or equal to 1"),
                ("-2", "greater than or equal to 1"),
                ("1.5", "Enter a whole number."),
                ("99999999999999999999", "less than or equal to 1000000"),
                ("", "This field is required."),
            ]
        ],
        (ADD, "-99999999999999999999", "greater than or equal to -1000000"),
    ],
    ids=str,
)
def test_what_is_refused_gets_a_sentence_and_changes_nothing(
    admin_client, tier, verb, tickets, sentence
):
    answer = admin_client.post(verb.address(tier), typed(tickets))
    assert answer.status_code == 409
    assert sentence in answer.content.decode()
    assert counters(tier) == (10, 2, 4)
    assert not LogEntry.objects.filter(content_type__model="tickettier").exists()


def test_a_refusal_names_one_ticket_and_none(admin_client, tier):
    TicketTier.objects.update(kept_back=1, available_quantity=1, total_quantity=6)
    for verb in (KEEP, FREE):
        page = admin_client.post(verb.address(tier), typed(2)).content.decode()
        assert "Only 1 is" in page
    TicketTier.objects.update(kept_back=0, available_quantity=0, total_quantity=4)
    assert "None are free now." in admin_client.post(ADD.address(tier), typed(-1)).content.decode()


@pytest.mark.parametrize("verb", [KEEP, FREE], ids=str)
def test_where_there_is_nothing_to_move_there_is_no_button(admin_client, tier, verb):
    TicketTier.objects.update(total_quantity=4, kept_back=0, available_quantity=0)
    page = admin_client.get(f"/admin/concerts/tickettier/{tier.pk}/change/").content.decode()
    assert verb.button not in page
    answer = admin_client.post(verb.address(tier), typed(1))
    assert answer.status_code == 409
    assert "No ticket of this tier is" in answer.content.decode()
