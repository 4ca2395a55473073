"""Lists and figures of the back office are read from the replica, if nothing has just been changed."""

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from accounts.tests.factories import UserFactory
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from ticketbook.replica import reading
from ticketbook.tests.running import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
LISTS = [
    *("concerts/concert", "concerts/tickettier", "bookings/booking", "bookings/refund"),
    *("bookings/paymentevent", "tickets/ticket", "mail/mail", "backoffice/audit"),
]


@pytest.fixture
def tier():
    return TicketTierFactory(concert__name="Old name")


@pytest.fixture
def desk(client, tier, replica):
    """A member of staff, whose pages are read from the replica."""
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    replica.catch_up()
    wait_until(lambda: asked_of_the_replica(client, "/admin/concerts/concert/"))
    return client


def asked_of_the_replica(client, url):
    with CaptureQueriesContext(connections["replica"]) as queries:
        assert client.get(url).status_code == 200
    return [query["sql"] for query in queries]


def names(client):
    rows = client.get("/admin/concerts/concert/").context["cl"].result_list
    return [concert.name for concert in rows]


def test_lists_and_figures_are_read_from_the_replica(desk):
    for name in LISTS:
        assert asked_of_the_replica(desk, f"/admin/{name}/"), name
    first_page = asked_of_the_replica(desk, "/admin/")
    tables = ["bookings_booking", "bookings_refund", "backoffice_closedday", "concerts_concert"]
    assert [table for table in tables if not any(table in sql for sql in first_page)] == []
    assert asked_of_the_replica(desk, "/admin/sells-now/")


def test_people_and_what_they_may_do_are_read_from_the_primary(desk):
    for url in (
        *("/admin/accounts/user/", "/admin/auth/group/", "/admin/accounts/session/"),
        *("/admin/admin/logentry/", "/admin/procrastinate/procrastinatejob/"),
    ):
        assert asked_of_the_replica(desk, url) == [], url


def test_the_form_of_a_row_is_read_from_the_primary(desk, tier):
    for url in ("/admin/concerts/concert/%s/change/", "/admin/concerts/concert/%s/history/"):
        assert asked_of_the_replica(desk, url % tier.concert_id) == []
    assert asked_of_the_replica(desk, "/admin/concerts/concert/add/") == []


def test_staff_see_what_they_did_in_the_list_they_are_led_to(desk, tier, replica, settings):
    replica.hold()
    Concert.objects.update(name="New name")
    assert names(desk) == ["Old name"]
    answer = desk.post(f"/admin/concerts/concert/{tier.concert_id}/change/", {})
    cookie = answer.cookies[reading.COOKIE]
    assert settings.REPLICA_MAX_LAG < cookie["max-age"] <= settings.REPLICA_MAX_LAG + 2
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/", True, "Lax")
    assert names(desk) == ["New name"]
    del desk.cookies[reading.COOKIE]  # as browsers do by themselves
    assert names(desk) == ["Old name"]


def test_a_replica_that_dies_costs_staff_no_page(desk, replica):
    replica.stop()
    Concert.objects.update(name="New name")
    assert names(desk) == ["New name"]
    assert desk.get("/admin/").status_code == 200


def test_without_a_replica_no_cookie_is_set(client, tier):
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    answer = client.post(f"/admin/concerts/concert/{tier.concert_id}/change/", {})
    assert reading.COOKIE not in answer.cookies
