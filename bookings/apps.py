from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ticketbook.copies.responses import differs_between_visitors


class BookingsConfig(AppConfig):
    name = "bookings"

    def ready(self) -> None:
        from bookings.forms import new_key

        differs_between_visitors("idempotency_key", new_key)
        # A gateway that is missing must stop the start, not fail the first customer.
        try:
            import_string(settings.PAYMENT_GATEWAY)
        except ImportError as exc:
            raise ImproperlyConfigured(
                f"PAYMENT_GATEWAY={settings.PAYMENT_GATEWAY!r} cannot be used: {exc}. Set it to the "
                "dotted path of a class like bookings.gateways.simulated.SimulatedGateway."
            ) from exc
