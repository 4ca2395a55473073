from bookings.tests.conftest import book, gateway_process, ledger, left

__all__ = ["book", "gateway_process", "ledger", "left"]
