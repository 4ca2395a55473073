"""Fixtures of other apps that the demo's tests need, and a merchant of the payment page."""

from uuid import uuid4

import pytest

from bookings.tests.conftest import book, left
from demo.tests.merchant import Merchant
from ticketbook.tests.conftest import open_folder

__all__ = ["book", "left", "open_folder"]


@pytest.fixture
def merchant():
    with Merchant() as merchant:
        yield merchant


@pytest.fixture
def key():
    """Of a payment."""
    return uuid4()
