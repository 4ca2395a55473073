from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, InterfaceError, NotSupportedError

from bookings import failpoints
from bookings.gateways import named
from ticketbook.copies.responses import differs_between_visitors
from ticketbook.page_security import forms_may_lead_to


class BookingsConfig(AppConfig):
    name = "bookings"

    def ready(self) -> None:
        if settings.FAILPOINTS:  # before anybody keeps a reference to a function that it wraps
            failpoints.install(settings.FAILPOINTS)
        from accounts import own_data as of_persons
        from bookings import mails, own_data
        from bookings.calling_off import cancel_all, has_bookings
        from bookings.forms import new_key
        from bookings.on_offer import held
        from concerts.calling_off import called_off, ever_sold
        from concerts.moving import moved
        from concerts.sales import held_of

        differs_between_visitors("idempotency_key", new_key)
        called_off.connect(cancel_all)
        ever_sold.connect(has_bookings)
        moved.connect(mails.tell_moved)
        held_of.append(held)
        mails.register_kinds()
        of_persons.parts.append(own_data.PART)
        named.check()
        forms_may_lead_to(named.page_origins)
        checks.register(_every_gateway_is_known, checks.Tags.database)


def _every_gateway_is_known(**kwargs: Any) -> list[checks.CheckMessage]:
    # Bookings keep the name of their gateway, and their refunds go there.
    from bookings.models import Booking

    known = named.paths()
    unknown = (
        Booking.objects.exclude(gateway__in=known).order_by().values_list("gateway").distinct()
    )
    try:
        missing = sorted(name for (name,) in unknown)
    except NotSupportedError:  # the server is too old, and nobody asks its version again
        raise
    except (DatabaseError, InterfaceError):  # it is not there yet, or not migrated: /readyz says so
        return []
    return [
        checks.Error(
            f"There are bookings that were paid by the gateway {name!r}, which the settings do not name. "
            f"Put it back into PAYMENT_GATEWAYS, as {name}=dotted.path.",
            id="bookings.E001",
        )
        for name in missing
    ]
