from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.http import HttpRequest

from bookings.models import MAX_QUANTITY, Booking
from concerts.sales import Sale

OUT_OF_DATE = "This page was out of date and has been renewed. Press the button once more."
KEY_REUSED = (
    "You have already made another booking from this page; it is among your bookings. "
    "If you want these tickets as well, press the button once more."
)


def new_key(request: HttpRequest) -> UUID:
    return uuid4()


class BookingForm(forms.Form):
    """What a customer chooses on a concert's page.

    The key is made when the page is drawn. So reload, back and a double click book only once.
    """

    tier = forms.UUIDField(
        error_messages={
            "required": "Choose a kind of ticket.",
            "invalid": "Choose a kind of ticket from the list.",
        }
    )
    quantity = forms.IntegerField(
        min_value=1,
        max_value=MAX_QUANTITY,
        error_messages=dict.fromkeys(
            ["required", "invalid", "min_value", "max_value"],
            f"Choose 1 to {MAX_QUANTITY} tickets.",
        ),
    )
    idempotency_key = forms.UUIDField(
        error_messages={"required": OUT_OF_DATE, "invalid": OUT_OF_DATE}
    )
    # The page to show again if no tier was chosen.
    concert = forms.UUIDField(required=False)

    quantities = range(1, MAX_QUANTITY + 1)

    @property
    def key(self) -> object:
        # The key that the next press of the button sends: a new one, unless the last one can be used.
        usable = self.is_bound and "idempotency_key" not in self.errors
        return self["idempotency_key"].value() if usable else uuid4()


def new_form(sale: Sale, *, chosen: Mapping[str, str]) -> BookingForm:
    """A new form. `chosen` may hold tier and quantity, from before a log-in or from a declined booking."""
    left = [tier.pk for tier in sale.tiers if tier.available_quantity]
    only = left[0] if len(left) == 1 else ""
    return BookingForm(
        initial={"tier": chosen.get("tier", only), "quantity": chosen.get("quantity", 1)}
    )


class CancellationForm(forms.Form):
    """How many tickets of a booking go back. Without a number, all of them do."""

    quantity = forms.IntegerField(required=False, min_value=1)
    idempotency_key = forms.UUIDField(required=False, error_messages={"invalid": OUT_OF_DATE})

    def __init__(self, booking: Booking, data: Any = None) -> None:
        super().__init__(data)
        self.quantities = range(1, booking.kept_quantity + 1)
        says = f"Choose 1 to {booking.kept_quantity} tickets."
        self.fields["quantity"].error_messages |= {"invalid": says, "min_value": says}
        self.fields["quantity"].initial = booking.kept_quantity

    @property
    def key(self) -> object:
        usable = self.is_bound and "idempotency_key" not in self.errors
        return self["idempotency_key"].value() if usable else uuid4()
