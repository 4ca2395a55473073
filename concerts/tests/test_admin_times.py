"""Staff see and type times by the clock of the venue, and are asked when it means no moment, or two."""

import html
import re
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission

from accounts.tests.factories import UserFactory
from concerts.models import Concert
from concerts.tests.factories import ConcertFactory
from concerts.tests.visiting import soon

pytestmark = pytest.mark.django_db

URL = "/admin/concerts/concert/"
NEW_YORK = "America/New_York"
NO_TIERS = {
    "ticket_tiers-TOTAL_FORMS": "0",
    "ticket_tiers-INITIAL_FORMS": "0",
}
# In New York the clocks go back at 02:00 on 1 November 2026, and forward at 02:00 on 8 March 2026.
FIRST = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
SECOND = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


@pytest.fixture
def post(admin_client):
    """Save the form of a new concert, with changes; returns the concert, or the page with the errors."""

    def post(**changes):
        form = {
            "name": "Bridge Songs", "artist": "The Testers", "venue": "Pier", "status": "DRAFT",
            "description": "", "time_zone": NEW_YORK, "date_0": "2026-12-10", "date_1": "19:30",
            "sales_open_at_0": "", "sales_open_at_1": "", "sales_close_at_0": "",
            "sales_close_at_1": "",
        }  # fmt: skip
        response = admin_client.post(f"{URL}add/", NO_TIERS | form | changes)
        return saved(response) or Concert.objects.latest("id")

    return post


def saved(response):
    """None if the form was saved, else its page as text."""
    if response.status_code == 302:
        return None
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def as_shown(client, concert):
    """What a browser would send if nobody touched the form of this concert."""
    form = client.get(f"{URL}{concert.pk}/change/").context["adminform"].form
    page = client.get(f"{URL}{concert.pk}/change/").content.decode()
    sent = dict(NO_TIERS)
    for name, attributes in re.findall(r'<input[^>]*? name="([^"]+)"([^>]*)', page):
        if value := re.search(r'value="([^"]*)"', attributes):
            sent[name] = html.unescape(value[1])
        elif name in form.fields or name[:-2] in form.fields:
            sent[name] = ""
    for name, options in re.findall(r'<select name="([^"]+)".*?>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        sent[name] = html.unescape(chosen[1]) if chosen else ""
    return sent | {"description": concert.description}


@pytest.fixture
def change(admin_client):
    """Save the form of a concert as it is shown, but for these changes; returns the page with errors."""

    def change(concert, **changes):
        sent = as_shown(admin_client, concert) | changes
        page = saved(admin_client.post(f"{URL}{concert.pk}/change/", sent))
        concert.refresh_from_db()
        return page

    return change


def test_what_is_typed_is_read_by_the_clock_of_the_venue(post):
    concert = post(sales_open_at_0="2026-11-01", sales_open_at_1="10:00")
    assert concert.date == datetime(2026, 12, 11, 0, 30, tzinfo=UTC)
    assert concert.sales_open_at == datetime(2026, 11, 1, 15, 0, tzinfo=UTC)
    assert concert.time_zone == NEW_YORK


def test_staff_have_to_choose_a_zone(admin_client, post):
    page = admin_client.get(f"{URL}add/").content.decode()
    assert '<option value="" selected>Choose</option>' in page
    assert "Choose the time zone of the venue" in post(time_zone="")
    assert "Choose the time zone of the venue" in post(time_zone="US/Eastern")
    assert "cannot be null" not in post(time_zone="nonsense")


def test_the_zone_of_the_house_is_offered_first(admin_client, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    page = admin_client.get(f"{URL}add/").content.decode()
    assert '<option value="Europe/Berlin" selected>Berlin</option>' in page


def test_the_form_and_the_list_show_the_clock_of_the_venue(admin_client):
    concert = ConcertFactory(date=datetime(2026, 12, 11, 0, 30, tzinfo=UTC), time_zone=NEW_YORK)
    page = admin_client.get(f"{URL}{concert.pk}/change/").content.decode()
    assert 'name="date_0" value="2026-12-10"' in page
    assert 'name="date_1" value="19:30:00"' in page
    assert "By the clock of the venue: New York time." in page
    assert "Thu 10 Dec 2026, 19:30 (New York time)" in admin_client.get(URL).content.decode()


def test_whoever_may_only_look_sees_the_clock_of_the_venue(client):
    concert = ConcertFactory(
        date=datetime(2026, 12, 11, 0, 30, tzinfo=UTC),
        sales_open_at=datetime(2026, 11, 30, 15, tzinfo=UTC),
        time_zone=NEW_YORK,
    )
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_concert"))
    client.force_login(user)
    page = client.get(f"{URL}{concert.pk}/change/").content.decode()
    assert "Thu 10 Dec 2026, 19:30 (New York time)" in page
    assert "Mon 30 Nov 2026, 10:00 (New York time)" in page


@pytest.mark.parametrize(
    "at",
    [
        FIRST,
        SECOND,
        datetime(2026, 12, 11, 0, 30, 15, 123456, tzinfo=UTC),
        SECOND.replace(second=7, microsecond=999_999),
    ],
)
@pytest.mark.parametrize("zone", [NEW_YORK, "UTC", "Asia/Kathmandu", "Europe/Berlin"])
def test_a_form_that_nobody_touched_moves_no_moment(change, at, zone):
    opens = at.replace(year=2025)
    concert = ConcertFactory(date=at, sales_open_at=opens, sales_close_at=at, time_zone=zone)
    assert change(concert, name="another name") is None
    assert (concert.name, concert.date) == ("another name", at)
    assert (concert.sales_open_at, concert.sales_close_at) == (opens, at)


def test_the_second_half_past_one_stays_even_if_the_choice_is_not_sent(admin_client):
    concert = ConcertFactory(date=SECOND, time_zone=NEW_YORK)
    sent = as_shown(admin_client, concert)
    assert sent.pop("date_2") == "second"
    assert saved(admin_client.post(f"{URL}{concert.pk}/change/", sent)) is None
    concert.refresh_from_db()
    assert concert.date == SECOND


@pytest.mark.parametrize("field", ["date", "sales_open_at", "sales_close_at"])
def test_a_time_that_the_clocks_leave_out_is_asked_about(post, field):
    late = {"date_0": "2026-12-10"} if field != "date" else {}
    page = post(**late | {f"{field}_0": "2026-03-08", f"{field}_1": "02:30"})
    assert "02:30 does not exist in New York time" in page
    assert "8 Mar 2026, 01:30 or 8 Mar 2026, 03:30" in page
    assert not Concert.objects.exists()


@pytest.mark.parametrize("field", ["date", "sales_open_at", "sales_close_at"])
@pytest.mark.parametrize(("which", "at"), [("first", FIRST), ("second", SECOND)])
def test_a_time_that_comes_twice_is_asked_about(post, field, which, at):
    typed = {f"{field}_0": "2026-11-01", f"{field}_1": "01:30"}
    page = post(**typed)
    assert "01:30 comes twice in New York time" in page
    assert re.search(rf'<select name="{field}_2"[^>]*>.*UTC−4.*UTC−5', page)
    assert getattr(post(**typed | {f"{field}_2": which}), field) == at


def test_the_choice_between_the_two_is_kept_when_something_else_is_wrong(post):
    page = post(date_0="2026-11-01", date_1="01:30", date_2="second", name="")
    assert '<option value="second" selected>' in page


def test_the_other_of_the_two_can_be_chosen_later(change):
    concert = ConcertFactory(date=SECOND, time_zone=NEW_YORK)
    assert change(concert, date_2="first") is None
    assert concert.date == FIRST


def test_another_zone_reads_the_same_clock_times_there(change):
    concert = ConcertFactory(
        date=datetime(2026, 12, 11, 0, 30, 0, 5, tzinfo=UTC),
        sales_open_at=datetime(2026, 12, 1, 15, tzinfo=UTC),
        time_zone=NEW_YORK,
    )
    assert change(concert, time_zone="Europe/Berlin") is None
    assert concert.date == datetime(2026, 12, 10, 18, 30, 0, 5, tzinfo=UTC)
    assert concert.sales_open_at == datetime(2026, 12, 1, 9, tzinfo=UTC)


def test_another_zone_asks_about_times_that_are_none_or_two_there(change):
    concert = ConcertFactory(date=datetime(2026, 10, 25, 2, 30, tzinfo=UTC), time_zone="UTC")
    page = change(concert, time_zone="Europe/Berlin")
    assert "02:30 comes twice in Berlin time" in page
    assert concert.time_zone == "UTC"


def test_a_form_without_the_zone_keeps_it(admin_client):
    concert = ConcertFactory(date=SECOND, time_zone=NEW_YORK)
    sent = as_shown(admin_client, concert)
    del sent["time_zone"]
    assert saved(admin_client.post(f"{URL}{concert.pk}/change/", sent)) is None
    concert.refresh_from_db()
    assert (concert.date, concert.time_zone) == (SECOND, NEW_YORK)


@pytest.mark.parametrize("typed", ["9999-12-31", "0001-01-01"])
def test_a_year_at_the_end_of_time_is_refused(post, typed):
    assert "Give a year from 2 to 9998." in post(date_0=typed)


@pytest.mark.parametrize("query", ["?date=x", "?date=2026-01-01&time_zone=x", "?day=x", "?day=%00"])
def test_a_made_up_address_breaks_nothing(admin_client, query):
    for path in ("", "add/"):
        assert admin_client.get(f"{URL}{path}{query}").status_code in {200, 302}


def test_the_filter_by_day_goes_by_the_calendar_of_the_venue(admin_client):
    # Kiritimati is 25 hours ahead of Pago Pago, so "today" is two days at once.
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        ConcertFactory(name=f"now in {zone}", date=soon(), time_zone=zone)
        ConcertFactory(name=f"later in {zone}", date=soon(days=5), time_zone=zone)
        ConcertFactory(name=f"long ago in {zone}", date=soon(days=-2), time_zone=zone)

    def listed(day):
        rows = admin_client.get(URL, {"day": day}).context["cl"].queryset
        return sorted(concert.name.partition(" in ")[0] for concert in rows)

    assert listed("today") == ["now", "now"]
    assert listed("week") == listed("month") == ["later", "later", "now", "now"]
    assert listed("past") == ["long ago", "long ago"]


# --- Two members of staff, and a zone that one of them corrects -----------------------------------


def test_another_zone_moves_the_times_that_nobody_typed(change):
    """The clock time stays what the form shows, and is read by the clock there."""
    concert = ConcertFactory(date=datetime(2026, 12, 11, 0, 30, tzinfo=UTC), time_zone=NEW_YORK)
    assert change(concert, time_zone="Europe/Berlin") is None
    assert concert.date == datetime(2026, 12, 10, 18, 30, tzinfo=UTC)  # 19:30 in Berlin


def test_a_time_is_not_read_by_a_clock_that_the_form_did_not_show(admin_client, change):
    """The sales times were empty, so only the zone says that this form is out of date."""
    concert = ConcertFactory(date=datetime(2026, 12, 11, 0, 30, tzinfo=UTC), time_zone=NEW_YORK)
    old_form = as_shown(admin_client, concert)
    assert change(concert, time_zone="Europe/Berlin") is None

    typed = {"sales_open_at_0": "2026-12-01", "sales_open_at_1": "10:00"}
    page = saved(admin_client.post(f"{URL}{concert.pk}/change/", old_form | typed))
    assert "The time zone was changed to Berlin time while your form was open." in page
    concert.refresh_from_db()
    assert (concert.sales_open_at, concert.time_zone) == (None, "Europe/Berlin")
