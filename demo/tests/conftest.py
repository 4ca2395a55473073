"""Fixtures of other apps that the demo's tests need, a merchant of the payment page, and a hosted site."""

from uuid import uuid4

import pytest
from django.db import connection

from bookings import payments
from bookings.tests.conftest import ann, bob, book, left, tier
from demo.tests.hosted_site import HostedSite
from demo.tests.merchant import Merchant
from ticketbook import event_loop
from ticketbook.tests.conftest import open_folder

__all__ = ["ann", "bob", "book", "left", "open_folder", "tier"]


@pytest.fixture
def merchant():
    with Merchant() as merchant:
        yield merchant


@pytest.fixture
def key():
    """Of a payment."""
    return uuid4()


@pytest.fixture(scope="module")
def hosted_process(django_db_setup, tmp_path_factory):
    site = HostedSite(tmp_path_factory.mktemp("hosted"), PAYMENT_TIME_LIMIT_MS="700")
    with site.running():
        yield site


@pytest.fixture
def site(hosted_process, settings, transactional_db):
    """A site whose customers pay at the payment page; what this process does itself goes there too."""
    settings.PAYMENT_DEFAULT = "hosted"
    settings.HOSTED_PORT = hosted_process.page.port
    settings.PAYMENT_TIME_LIMIT_MS = 700
    settings.MAX_UNPAID_HOLDS = 10
    hosted_process.wire.seen.clear()
    # Django does not flush procrastinate's tables, because it does not manage them.
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")
    yield hosted_process
    event_loop.run(payments.close())
