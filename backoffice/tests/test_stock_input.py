"""Nonsense about a tier gets a sentence in whichever form it is typed, and nothing changes."""

import pytest

from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from ticketbook.tests.forms import form_of

pytestmark = pytest.mark.django_db

GOOD = {"tier_type": "VIP", "price": "80.00", "total_quantity": "50", "max_per_customer": "4"}
WRONG = [
    ({"price": "80.005"}, "no more than 2 decimal places"),
    ({"price": "-0.01"}, "greater than or equal to 0"),
    ({"price": "10000000"}, "less than or equal to 9999999.99"),
    ({"price": "9" * 40}, "no more than 10 digits"),
    ({"price": "1e400"}, "no more than"),
    ({"price": "NaN"}, "Enter a number."),
    ({"price": "cheap"}, "Enter a number."),
    ({"total_quantity": "-1"}, "greater than or equal to 0"),
    ({"total_quantity": "2147483648"}, "less than or equal to 2147483647"),
    ({"total_quantity": "9" * 5000}, "Enter a whole number."),
    ({"total_quantity": "1.5"}, "Enter a whole number."),
    ({"max_per_customer": "0"}, "greater than or equal to 1"),
    ({"max_per_customer": "-3"}, "greater than or equal to 1"),
    ({"max_per_customer": "40000"}, "less than or equal to 32767"),
    ({"tier_type": "ROYAL"}, "Select a valid choice"),
    ({"tier_type": "GA"}, "has a tier of this type already"),
]


@pytest.fixture
def concert():
    """With a tier GA."""
    return TicketTierFactory().concert


def by_tier_form(client, concert, typed):
    url = "/admin/concerts/tickettier/add/"
    return client.post(
        url, form_of(client.get(url), "tickettier_form") | typed | {"concert": concert.pk}
    )


def by_concert_form(client, concert, typed):
    url = f"/admin/concerts/concert/{concert.pk}/change/"
    fields = form_of(client.get(url), "concert_form")
    line = fields["ticket_tiers-TOTAL_FORMS"][0]
    new = {f"ticket_tiers-{line}-{name}": value for name, value in typed.items()}
    return client.post(url, fields | new | {"ticket_tiers-TOTAL_FORMS": str(int(line) + 1)})


def by_form_of_a_new_concert(client, concert, typed):
    """The form of a new concert, with the tier in its first line. A second line has the type GA."""
    url = "/admin/concerts/concert/add/"
    fields = form_of(client.get(url), "concert_form")
    about = {"name": "Spring", "artist": "The Testers", "venue": "Hall"}
    about |= {"date_0": "2030-03-01", "date_1": "20:00:00", "time_zone": "UTC", "status": "DRAFT"}
    lines = [typed, GOOD | {"tier_type": "GA"}]
    new = {
        f"ticket_tiers-{n}-{name}": value
        for n, line in enumerate(lines)
        for name, value in line.items()
    }
    return client.post(url, fields | about | new | {"ticket_tiers-TOTAL_FORMS": "2"})


DOORS = [by_tier_form, by_concert_form, by_form_of_a_new_concert]
# All doors have the same form for a tier, so the others are tried with one wrong value of each column.
FIRST_OF_EACH = [*{next(iter(each[0])): each for each in reversed(WRONG)}.values()]
TRIED = [(by_tier_form, *each) for each in WRONG] + [
    (door, *each) for door in DOORS[1:] for each in FIRST_OF_EACH
]


@pytest.mark.parametrize(
    ("door", "wrong", "sentence"), TRIED, ids=[f"{d.__name__} {str(w)[:40]}" for d, w, _ in TRIED]
)
def test_a_wrong_tier_is_refused_with_a_sentence(admin_client, concert, door, wrong, sentence):
    answer = door(admin_client, concert, GOOD | wrong)
    assert answer.status_code == 200
    page = answer.content.decode()
    assert sentence in page
    assert (Concert.objects.count(), TicketTier.objects.count()) == (1, 1)


@pytest.mark.parametrize("door", DOORS[1:])
def test_a_second_tier_of_a_type_is_refused_with_a_sentence(admin_client, concert, door):
    page = door(admin_client, concert, GOOD | {"tier_type": "GA"}).content.decode()
    assert "has a tier of this type already" in page or "correct the duplicate data" in page
    assert (Concert.objects.count(), TicketTier.objects.count()) == (1, 1)


@pytest.mark.parametrize("door", DOORS)
def test_control_a_good_tier_is_taken(admin_client, concert, door):
    answer = door(admin_client, concert, GOOD)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    made = TicketTier.objects.get(tier_type="VIP")
    assert (made.total_quantity, made.available_quantity, made.kept_back) == (50, 50, 0)


@pytest.mark.parametrize(
    ("wrong", "sentence"), [each for each in WRONG if "max_per_customer" in each[0]], ids=str
)
def test_the_limit_of_a_tier_that_sells_is_refused_alike(admin_client, concert, wrong, sentence):
    tier = TicketTier.objects.get()
    url = f"/admin/concerts/tickettier/{tier.pk}/change/"
    fields = form_of(admin_client.get(url), "tickettier_form")
    answer = admin_client.post(url, fields | wrong)
    assert sentence in answer.content.decode()
    tier.refresh_from_db()
    assert tier.max_per_customer is None


def test_a_second_tier_of_a_type_is_refused_also_when_two_are_made_at_once(
    admin_client, monkeypatch
):
    """The form of the second one found none, and the database refuses it with the same sentence."""
    concert = ConcertFactory()
    monkeypatch.setattr(TicketTier, "validate_constraints", lambda *args, **kwargs: None)
    assert by_tier_form(admin_client, concert, GOOD).status_code == 302
    answer = by_tier_form(admin_client, concert, GOOD)
    assert "The concert has a tier of this type already." in answer.content.decode()
    assert TicketTier.objects.count() == 1
