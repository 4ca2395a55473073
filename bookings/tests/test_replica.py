"""Pages for strangers are read from a replica that is not too far behind, and otherwise from the primary."""

import re
import time

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bookings.tests.addresses import address
from bookings.tests.site import tokens
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from ticketbook.copies import store
from ticketbook.replica import reading
from ticketbook.tests.running import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
KINDS = ["list", "detail", "availability", "home", "page", "left", "concert page"]
BOUND = 1.0  # seconds


@pytest.fixture
def concert(standby, monkeypatch):
    monkeypatch.setattr(store, "QUIET", 10**9)  # no copies, which would be older than what is read
    tier = TicketTierFactory(concert__name="Old name", total_quantity=50)
    standby.catch_up()
    return tier.concert


def rename(concert, name="New name"):
    Concert.objects.filter(pk=concert.pk).update(name=name)
    return time.monotonic()


def asked_of_the_replica(ask):
    """How many statements went to the replica; and the answer."""
    with CaptureQueriesContext(connections["replica"]) as queries:
        answer = ask()
    assert answer.status_code == 200
    return len(queries), answer.content.decode()


def shown(client, url):
    response = client.get(url)
    assert response.status_code == 200
    (name,) = set(re.findall("Old name|New name", response.content.decode()))
    return name


def is_read_again(client, url):
    return asked_of_the_replica(lambda: client.get(url))[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_strangers_are_answered_by_the_replica(client, replica, concert, kind):
    url = address(kind, concert)
    wait_until(lambda: is_read_again(client, url))


def hold(replica, client, concert):
    """The replica is well, and says the old name from here on, which may be shown."""
    wait_until(lambda: is_read_again(client, address("detail", concert)))
    replica.hold()
    rename(concert)
    assert shown(client, address("detail", concert)) == "Old name"


def test_what_comes_from_the_replica_is_what_it_has(client, replica, concert):
    hold(replica, client, concert)


@pytest.mark.parametrize("kind", ["detail", "concert page"])
@pytest.mark.parametrize("held", ["hold", "5 s behind"])
def test_nobody_sees_more_of_the_past_than_the_bound(
    client, standby, use_replica, concert, held, kind
):
    use_replica(standby.port, most=BOUND)
    url = address(kind, concert)
    wait_until(lambda: is_read_again(client, url))
    if held == "hold":
        standby.hold()
    else:
        standby.stay_behind(5)
    committed = rename(concert)
    while True:
        asked = time.monotonic()
        if shown(client, url) == "New name":
            break
        assert asked < committed + BOUND
    standby.stay_behind(0)
    standby.let_go()
    wait_until(lambda: is_read_again(client, url))
    assert shown(client, url) == "New name"


def test_a_replica_that_is_gone_costs_nobody_an_answer(client, replica, concert, caplog):
    url = address("list", concert)
    wait_until(lambda: is_read_again(client, url))
    replica.stop()
    rename(concert)
    for _ in range(5):
        assert shown(client, url) == "New name"
    said = [line.message for line in caplog.records]
    assert len(said) == 1
    assert said[0].startswith("The replica fails (")
    replica.start()
    well = "The replica is read again."
    wait_until(lambda: is_read_again(client, url) and caplog.records[-1].message == well)


def test_a_replica_that_stands_still_is_waited_for_once(client, replica, concert, caplog):
    url = address("detail", concert)
    wait_until(lambda: is_read_again(client, url))
    with replica.frozen():
        rename(concert)
        assert shown(client, url) == "New name"
        assert connections["replica"].connection is None
        assert len(caplog.records) == 1
    wait_until(lambda: is_read_again(client, url))


def test_a_replica_that_was_cut_off_from_its_primary_does_not_look_fresh(
    client, standby, use_replica, concert
):
    # It has replayed all that it got, so by itself it cannot know.
    use_replica(standby.port, most=BOUND)
    url = address("detail", concert)
    wait_until(lambda: is_read_again(client, url))
    conninfo = standby.ask("SHOW primary_conninfo")
    try:
        standby.change("ALTER SYSTEM SET primary_conninfo = ''")
        wait_until(lambda: not standby.ask("SELECT count(*) FROM pg_stat_wal_receiver"))
        rename(concert)
        wait_until(lambda: shown(client, url) == "New name", limit=BOUND * 10)
        assert not is_read_again(client, url)
    finally:
        standby.change(f"ALTER SYSTEM SET primary_conninfo = $${conninfo}$$")


def test_an_idle_primary_makes_no_replica_look_late(client, standby, use_replica, concert):
    use_replica(standby.port, most=0.2)
    url = address("detail", concert)
    wait_until(lambda: is_read_again(client, url))
    time.sleep(0.5)  # longer than the bound, and nothing is written
    wait_until(lambda: is_read_again(client, url))


def test_what_staff_change_is_seen_at_once_in_this_process(client, replica, concert):
    hold(replica, client, concert)
    store.forget()
    assert shown(client, address("detail", concert)) == "New name"


def test_who_has_changed_something_reads_the_primary(client, replica, concert):
    hold(replica, client, concert)
    client.cookies[reading.COOKIE] = "1"
    assert shown(client, address("detail", concert)) == "New name"


def test_who_is_logged_in_sees_a_concert_of_the_primary(client, replica, concert, ann):
    hold(replica, client, concert)
    client.force_login(ann)
    assert shown(client, address("concert page", concert)) == "New name"
    assert shown(Client(), address("concert page", concert)) == "Old name"


def test_copies_are_made_of_what_the_replica_says(client, replica, concert, busy, clock):
    hold(replica, client, concert)
    url = address("availability", concert)
    assert shown(client, url) == shown(client, url) == "Old name"
    assert client.get(url, headers={"If-None-Match": client.get(url)["ETag"]}).status_code == 304


def test_a_site_of_several_processes_reads_there_and_sells(start, replica, concert, ann):
    params = connection.get_connection_params()
    url = "postgres://{user}:{password}@{host}:".format(**params)
    site = start(REPLICA_URL=f"{url}{replica.port}/{params['dbname']}", REPLICA_MAX_LAG="60")
    here = f"/api/v1/concerts/{concert.pk}"

    def readers():
        return replica.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ticketbook reading'"
        )

    wait_until(lambda: site.request("GET", here)[0] == 200 and readers())
    (token,) = tokens([ann])
    assert site.book(token, concert.ticket_tiers.get())[0] == 201
    with replica.frozen():
        rename(concert)
        assert site.request("GET", here)[2]["name"] == "New name"
        assert site.book(token, concert.ticket_tiers.get())[0] == 201
    replica.stop()
    assert site.request("GET", here)[2]["name"] == "New name"
