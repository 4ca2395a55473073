from collections.abc import Collection
from typing import Any
from uuid import uuid4

from django import forms

from accounts.email_field import EmailAddressFormField
from bookings.forms import OUT_OF_DATE
from bookings.models import MAX_QUANTITY, Booking
from ticketbook.plain_text import plain_text
from tickets.models import Ticket


class HolderForm(forms.Form):
    """Who comes with a ticket."""

    name = forms.CharField(
        label="Who comes? (optional)",
        required=False,
        max_length=150,
        validators=[plain_text],
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "auto"}),
    )

    def __init__(self, ticket: Ticket, data: Any = None) -> None:
        of_ticket = f"holder-{ticket.number}-%s"  # a page has several of these forms
        super().__init__(data, initial={"name": ticket.holder_name}, auto_id=of_ticket)


class AgainForm(forms.Form):
    """To have the tickets mailed again. The key is drawn with the page, so a double click sends one mail."""

    key = forms.UUIDField()


class LostMailForm(forms.Form):
    email = EmailAddressFormField(
        label="E-mail address",
        max_length=254,
        validators=[plain_text],
        widget=forms.EmailInput(attrs={"autocomplete": "email", "dir": "auto"}),
    )


class CancellationForm(forms.Form):
    """Which tickets of a booking go back, by their numbers, or how many. Without either, all of them do."""

    number = forms.TypedMultipleChoiceField(
        required=False,
        coerce=int,
        choices=[(number, number) for number in range(1, MAX_QUANTITY + 1)],
        error_messages={"invalid_choice": "Choose from these tickets."},
    )
    quantity = forms.IntegerField(required=False, min_value=1)
    # The page had check boxes. If none is checked, no ticket was chosen.
    choose = forms.BooleanField(required=False)
    idempotency_key = forms.UUIDField(required=False, error_messages={"invalid": OUT_OF_DATE})
    # What would come back for all tickets, as the page showed it.
    seen_refund = forms.DecimalField(required=False, min_value=0, max_digits=10, decimal_places=2)

    def __init__(self, booking: Booking, data: Any = None, *, chosen: Collection[int] = ()) -> None:
        super().__init__(data)
        self.kept = booking.kept_numbers
        says = f"Choose 1 to {booking.kept_quantity} tickets."
        self.fields["quantity"].error_messages |= {"invalid": says, "min_value": says}
        self.fields["number"].initial = chosen

    def clean(self) -> None:
        if "seen_refund" in self.errors and "idempotency_key" not in self.errors:
            self.add_error("idempotency_key", OUT_OF_DATE)
        nothing = not self.cleaned_data.get("number") and not self.cleaned_data.get("quantity")
        if self.cleaned_data.get("choose") and nothing and "number" not in self.errors:
            self.add_error("number", "Choose the tickets that you give back.")

    @property
    def chosen(self) -> set[int]:
        """The numbers whose boxes are to be checked when the page is drawn."""
        if self.is_bound and (quantity := self.cleaned_data.get("quantity")):
            return set(self.kept[-quantity:])
        return {int(number) for number in self["number"].value() or [] if str(number).isdecimal()}

    @property
    def key(self) -> object:
        usable = self.is_bound and "idempotency_key" not in self.errors
        return self["idempotency_key"].value() if usable else uuid4()
