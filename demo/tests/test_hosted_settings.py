"""Bookings outlive settings: another gateway for new bookings, and a gateway that is taken away."""

import subprocess
import sys
from decimal import Decimal

import pytest
from django.conf import settings as our_settings
from django.utils import timezone

from bookings.cancelling import cancel
from bookings.models import Booking
from bookings.resolving import resolve_expired
from demo.tests.hosted_site import HostedSite, database_url
from demo.tests.test_hosted_flow import (
    CONFIRMED,
    EXPIRED,
    REFUNDED,
    after_its_time,
    becomes,
    state,
)
from ticketbook.tests.running import environment, free_port, manage

pytestmark = pytest.mark.django_db(transaction=True)


def test_bookings_stay_with_their_gateway_when_the_default_changes(site, ann, tier, book, settings):
    paid, url = site.begin(ann, tier)
    open_, _ = site.begin(ann, tier)
    back_by_webhook, other_url = site.begin(ann, tier)
    site.press(url, "pay")
    becomes(paid, CONFIRMED)

    settings.PAYMENT_DEFAULT, settings.PAYMENT_SUCCESS_RATE = "simulated", 1
    assert book(ann, tier).gateway == "simulated"
    site.press(other_url, "pay")
    becomes(back_by_webhook, CONFIRMED)
    resolve_expired(now=after_its_time())
    assert state(open_) == EXPIRED
    assert site.ledger().states()[open_] == "cancelled"
    cancel(Booking.objects.get(pk=paid), now=timezone.now())
    assert state(paid) == ("CANCELLED", "REFUNDED", "")
    assert site.ledger().refunds() == {paid: Decimal("10.00")}


def test_a_site_with_another_default_still_takes_webhooks_of_the_old_one(site, ann, tier):
    """A second site on the same database, whose new bookings are paid at once."""
    pk, url = site.begin(ann, tier)
    other = HostedSite(
        site.folder,
        PAYMENT_DEFAULT="simulated",
        PAYMENT_SUCCESS_RATE="1",
        HOSTED_PORT=str(site.page.port),
    )
    try:
        other.wait_until_ready()
        with site.wire.loses_everything():
            site.press(url, "pay")
            body, headers = site.wire.wait_for(pk, "payment.succeeded")
        assert other.tell(body, headers)[0] == 200
        assert state(pk) == CONFIRMED
    finally:
        other.stop()


@pytest.mark.timeout(120)
def test_the_real_worker_ends_what_nobody_pays_and_sends_late_money_back(
    ann, bob, tier, left, tmp_path, settings, transactional_db
):
    site = HostedSite(tmp_path, HOSTED_HOLD_SECONDS="2")
    with site.running(), site.worker():
        abandoned, page = site.begin(ann, tier)
        late, slow_page = site.begin(bob, tier, 2)
        site.press(slow_page, "slow")
        becomes(abandoned, EXPIRED, seconds=30)
        becomes(late, REFUNDED, seconds=30)
        assert "cancelled" in site.press(page, "pay").text
        assert site.ledger().captures() == {late: Decimal("20.00")} == site.ledger().refunds()
    assert left(tier) == 100


# --- A gateway that the settings do not name any more -------------------------------------------------


@pytest.fixture
def of_a_lost_gateway(ann, tier, book, settings):
    settings.PAYMENT_SUCCESS_RATE = 1
    booking = book(ann, tier)
    Booking.objects.filter(pk=booking.pk).update(gateway="oldbank")
    return booking


SENTENCE = (
    "There are bookings that were paid by the gateway 'oldbank', which the settings do not name. "
    "Put it back into PAYMENT_GATEWAYS, as oldbank=dotted.path."
)


def names():
    return {
        "DATABASE_URL": database_url(),
        "SECRET_KEY": our_settings.SECRET_KEY,
        "PORT": str(free_port()),
        "WEB_CONCURRENCY": "2",
    }


def test_gunicorn_refuses_to_start(of_a_lost_gateway):
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "ticketbook.asgi"],
        env=environment(**names()),
        cwd=our_settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stderr.count(SENTENCE) == 1
    assert "Traceback" not in done.stderr


def test_the_worker_refuses_to_start(of_a_lost_gateway):
    done = manage("procrastinate", "worker", **names())
    assert (done.returncode, done.stderr) == (1, SENTENCE + "\n")


def test_the_check_says_so(of_a_lost_gateway):
    done = manage("check", "--database", "default", **names())
    assert done.returncode == 1
    assert SENTENCE in done.stderr
    assert "Traceback" not in done.stderr


def test_with_the_name_put_back_all_is_well(of_a_lost_gateway):
    back = {"PAYMENT_GATEWAYS": "oldbank=bookings.gateways.simulated.SimulatedGateway"}
    assert manage("check", "--database", "default", **names() | back).returncode == 0
