"""Fixtures of other apps that the demo's tests need."""

from bookings.tests.conftest import book, gateway_process, ledger, left
from ticketbook.tests.conftest import open_folder

__all__ = ["book", "gateway_process", "ledger", "left", "open_folder"]
