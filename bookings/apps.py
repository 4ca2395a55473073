from django.apps import AppConfig

from bookings.gateways import named
from ticketbook.copies.responses import differs_between_visitors


class BookingsConfig(AppConfig):
    name = "bookings"

    def ready(self) -> None:
        from bookings.forms import new_key

        differs_between_visitors("idempotency_key", new_key)
        named.check()
