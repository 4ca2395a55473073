"""Failpoints: processes die in the middle of verbs, and no promise is broken. Off, they are not there."""

import http.client
import time
import uuid
from importlib import import_module

import pytest
from django.core.exceptions import ImproperlyConfigured

from bookings.audit import audit
from bookings.failpoints import PLACES, parse
from bookings.models import Booking
from bookings.tests.site import tokens


def function_at(place):
    module, _, path = place.function.partition(":")
    owner = import_module(module)
    for name in path.split("."):
        owner = getattr(owner, name)
    return owner


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_without_the_setting_no_function_is_wrapped(place):
    assert not hasattr(function_at(place), "__wrapped__")


def test_an_entry_says_where_what_and_how_often():
    kill, wait = parse("settle.written=kill@once, charge.answered=delay 2.5@0.1,")
    assert (kill.name, kill.action, kill.chance, kill.most) == ("settle.written", "kill", 1, 1)
    assert (wait.action, wait.seconds, wait.chance, wait.most) == ("delay", 2.5, 0.1, None)
    always, twenty = parse("lane.locked=raise,lane.locked=kill@0.3x20")
    assert (always.chance, always.most) == (1, None)
    assert (twenty.chance, twenty.most) == (0.3, 20)


def test_a_failpoint_is_hit_so_many_times_among_all_processes(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    failpoint, other = parse("lane.locked=raise@1x3,lane.locked=delay 0@1x2")
    same_in_another_process, _ = parse("lane.locked=raise@1x3,lane.locked=delay 0@1x2")
    hits = [failpoint.is_hit(), same_in_another_process.is_hit(), failpoint.is_hit()]
    assert [*hits, failpoint.is_hit()] == [True, True, True, False]
    assert not same_in_another_process.is_hit()
    assert other.is_hit()


@pytest.mark.parametrize(
    "entry",
    [
        "nowhere=kill",
        "lane.locked",
        "lane.locked=sleep",
        "lane.locked=delay",
        "=kill",
        "lane.locked=kill@oncex2",
        "lane.locked=kill@0.5x",
    ],
)
def test_what_is_no_failpoint_is_refused_with_the_way_to_write_it(entry):
    with pytest.raises(ImproperlyConfigured, match="FAILPOINTS has the entry"):
        parse(entry)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("place", "first_is_charged"),
    [("hold.committed", False), ("charge.answered", True), ("settle.committed", True)],
)
def test_a_web_process_that_dies_on_purpose_loses_nothing(
    ledger, ann, tier, start, tmp_path, place, first_is_charged
):
    (tmp_path / "data").mkdir()
    site = start(
        FAILPOINTS=f"{place}=kill@once", DATA_DIR=str(tmp_path / "data"), HOLD_SECONDS="1.5"
    )
    [token], key = tokens([ann]), uuid.uuid4()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        site.book(token, tier, key, 2)
    assert (tmp_path / "data" / "failpoints" / f"{place}.kill.1").exists()
    booking = Booking.objects.get()
    assert booking.status == ("CONFIRMED" if place == "settle.committed" else "PENDING")

    status = 0
    deadline = time.monotonic() + 30
    while status not in {201, 402} and time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            status, *_ = site.book(token, tier, key, 2)
        except (OSError, http.client.HTTPException):
            continue
    booking.refresh_from_db()
    assert (status, booking.status) == ((201, "CONFIRMED") if first_is_charged else (402, "FAILED"))
    assert len(ledger.kept()) == first_is_charged
    assert audit() == []
