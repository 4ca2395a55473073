"""HostedGateway for a thread."""

from decimal import Decimal

from django.utils import timezone

from bookings.gateways.hosted import HostedGateway
from ticketbook import event_loop

PRICE = Decimal("45.50")
BOOKING = "http://shop.example/bookings/1"  # where the customer returns to


class Merchant:
    def __init__(self):
        self.gateway = HostedGateway()

    def begin(self, key, amount=PRICE, **changes):
        payment = {"description": "2 × Northern Lights", "return_url": BOOKING} | changes
        now = timezone.now()
        return event_loop.run(
            self.gateway.begin(key=key, amount=amount, created_at=now, time_limit=5, **payment)
        )

    def look_up(self, key, time_limit=5):
        return event_loop.run(self.gateway.look_up(key=key, reference="", time_limit=time_limit))

    def cancel(self, key):
        return event_loop.run(self.gateway.cancel(key=key, reference="", time_limit=5))

    def refund(self, key, charge_key, amount):
        names = {"key": key, "charge_key": charge_key, "reference": ""}
        event_loop.run(self.gateway.refund(amount=amount, time_limit=5, **names))

    def read_event(self, headers, body):
        return event_loop.run(self.gateway.read_event(body=body, headers=headers, time_limit=5))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        event_loop.run(self.gateway.close())
