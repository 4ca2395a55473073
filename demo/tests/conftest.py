from bookings.tests.conftest import book, gateway_process, left, ledger

__all__ = ["book", "gateway_process", "ledger", "left"]
