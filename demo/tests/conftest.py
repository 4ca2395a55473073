"""Fixtures of other apps that the demo's tests need."""

from bookings.tests.conftest import book, left
from ticketbook.tests.conftest import open_folder

__all__ = ["book", "left", "open_folder"]
