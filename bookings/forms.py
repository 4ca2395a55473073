from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.forms import address_field, name_field
from bookings.models import MAX_QUANTITY
from bookings.seen import Seen
from concerts.models import Concert, TicketTier
from concerts.sales import Sale
from ticketbook.zones import known_zone

OUT_OF_DATE = "This page was out of date and has been renewed. Press the button once more."
KEY_REUSED = (
    "You have already made another booking from this page; it is among your bookings. "
    "If you want these tickets as well, press the button once more."
)


def new_key(request: HttpRequest) -> UUID:
    return uuid4()


class InstantField(forms.Field):
    """A time as this site writes it into its forms: ISO 8601 with an offset. Returns it in UTC."""

    def to_python(self, value: Any) -> datetime:
        try:
            at = datetime.fromisoformat(value)
            if at.utcoffset() is None:
                raise ValueError("no offset")
            at = at.astimezone(UTC)
            # Any place on earth can show it.
            at - timedelta(days=1), at + timedelta(days=1)
        except (ValueError, OverflowError):
            raise ValidationError(OUT_OF_DATE) from None
        return at


# How the hidden fields of what was shown are read. Their names on the page begin with "seen_".
_text = forms.CharField(max_length=1000, strip=False)
_money = forms.DecimalField(min_value=0, max_digits=10, decimal_places=2)
_kind = forms.ChoiceField(choices=TicketTier.Type.choices)
SEEN: dict[str, forms.Field] = {
    "kind": _kind,
    "price": _money,
    "date": InstantField(),
    "zone": forms.CharField(max_length=64, validators=[known_zone]),
    "venue": _text,
    "name": _text,
    "artist": _text,
}


def read_seen(texts: Mapping[str, str | None]) -> Seen:
    """What a page had shown. Empty texts count as not shown. Raises ValidationError for nonsense."""
    return Seen(**{name: SEEN[name].clean(text) for name, text in texts.items() if text})


class BookingForm(forms.Form):
    """What a customer chooses on a concert's page.

    The key is made when the page is drawn. So reload, back and a double click book only once. `seen` is what
    the page showed of the chosen ticket; a form without these hidden fields has shown nothing.
    """

    seen = Seen()
    is_guest = False

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
    # The booking that failed, if this form tries it once more (bookings/trying_again.py).
    again = forms.UUIDField(required=False)

    quantities = range(1, MAX_QUANTITY + 1)

    def clean(self) -> None:
        shown = {
            name: self.data.get(f"seen_{name}")
            for name in ("date", "zone", "venue", "name", "artist")
        }
        if tier := self.cleaned_data.get("tier"):
            shown["kind"] = self.data.get(f"seen_kind_{tier.hex}")
            shown["price"] = self.data.get(f"seen_price_{tier.hex}")
        try:
            self.seen = read_seen(shown)
        except ValidationError:
            self._say_out_of_date()
        if "again" in self.errors:
            self._say_out_of_date()

    def _say_out_of_date(self) -> None:
        if "idempotency_key" not in self.errors:
            self.add_error("idempotency_key", OUT_OF_DATE)

    @property
    def tries(self) -> dict[str, UUID]:
        """What makes this form try a failed booking again, even if something else is chosen; else nothing."""
        of, key = self.cleaned_data.get("again"), self.cleaned_data.get("idempotency_key")
        return {"again": of, "idempotency_key": key} if of and key else {}

    @property
    def key(self) -> object:
        # The key that the next press of the button sends: a new one, unless the last one can be used.
        if self.is_bound and "idempotency_key" in self.errors:
            return uuid4()
        return self["idempotency_key"].value() or uuid4()


class GuestBookingForm(BookingForm):
    """The same for somebody without an account."""

    is_guest = True

    name = name_field()
    email = address_field(label="E-mail address", autocomplete="email")


def form_class(request: HttpRequest) -> type[BookingForm]:
    return BookingForm if request.user.is_authenticated else GuestBookingForm


def tier_chosen(concert: Concert, tier_id: object, seen: Seen) -> TicketTier | None:
    """The chosen tier; if it has gone, the one that is now sold in its place; None if there is none."""
    tiers = list(concert.ticket_tiers.all())
    same = [tier for tier in tiers if str(tier.pk) == str(tier_id)]
    alike = [tier for tier in tiers if tier.tier_type == seen.kind]
    return next(iter(same + alike), None)


TYPED = ("name", "email")  # by a guest


def new_form(
    sale: Sale,
    *,
    chosen: Mapping[str, str],
    cls: type[BookingForm] = BookingForm,
    typed: Mapping[str, str] | None = None,
    tries: Mapping[str, UUID] | None = None,
) -> BookingForm:
    """A new form. `chosen` may hold tier and quantity, from before a log-in or from a declined booking.

    `typed` may hold what a guest has typed before, and `tries` what a form has that tries again.
    """
    left = [str(offer.tier.pk) for offer in sale.offers if not offer.is_gone]
    only = left[0] if len(left) == 1 else ""
    initial: dict[str, object] = {
        "tier": chosen.get("tier", only),
        "quantity": chosen.get("quantity", 1),
    }
    initial |= {name: (typed or {}).get(name, "") for name in TYPED} | dict(tries or {})
    return cls(initial=initial)
