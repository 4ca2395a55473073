"""Tickets that staff give away or sell for cash: to somebody with an address, or at the door."""

from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.forms import address_field, name_field
from accounts.models import User
from backoffice.verbs.verb import Done, Plan, Shown, Verb, VerbForm, WithReason
from bookings import desk
from bookings.desk import Order
from bookings.errors import RequestInProgress
from bookings.gateways.named import CASH, FREE
from bookings.models import MAX_QUANTITY, Booking
from bookings.placing import Placed
from bookings.wishes import StaffDecision
from concerts.models import Concert, TicketTier
from ticketbook.errors import Refusal
from ticketbook.postgres import clock
from ticketbook.templatetags.money import money

WAIVERS = desk.Waivers()
CHOOSE = ("", "Choose")  # so that nobody gives tickets away because that comes first


class SourceField(forms.ChoiceField):
    def __init__(self) -> None:
        of_staff = [each for each in Booking.Source.choices if each[0] != Booking.Source.ONLINE]
        super().__init__(
            choices=[CHOOSE, *of_staff],
            label="Counted as",
            help_text="All figures count it apart. Door: for somebody who stands before you.",
        )


class DeskForm(WithReason):
    """What staff decide about bookings that they make. `key` makes a form that is sent again book once."""

    source = SourceField()
    paid = forms.ChoiceField(
        label="Price",
        choices=[CHOOSE, (FREE, "Free"), (CASH, "The price of the tier, in cash")],
    )
    from_kept_back = forms.BooleanField(
        required=False, label="Take tickets that are kept back", help_text="Otherwise free ones."
    )
    waives_sales_times = forms.BooleanField(required=False, label="Also outside of the sales times")
    waives_limit = forms.BooleanField(required=False, label="Also above the limit for one customer")

    @property
    def typed(self) -> dict[str, Any]:
        return super().typed | {"key": self.cleaned_data["once"]}


DECISIONS = ["source", "paid", "from_kept_back", "waives_sales_times", "waives_limit", "reason"]


class QuantityField(forms.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=MAX_QUANTITY, **options)


class BookForForm(DeskForm):
    quantity = QuantityField(label="Tickets", initial=1)
    name = name_field()
    email = address_field("E-mail address", "off")
    field_order = ["quantity", "name", "email", *DECISIONS]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name, email = self.fields["name"], self.fields["email"]
        name.label, name.required, email.required = "Name", False, False
        name.widget.attrs["autocomplete"] = "off"
        email.help_text = (
            "The tickets are mailed there. At the door it may be empty, and so may the name."
        )

    def clean(self) -> None:
        super().clean()
        if self.cleaned_data.get("source") == Booking.Source.DOOR:
            return
        for name in ("name", "email"):
            if name not in self.errors and not self.cleaned_data.get(name):
                self.add_error(name, "Only a sale at the door goes without it.")


class OfDesk(Verb[TicketTier]):
    """A verb that books tickets of a tier. Its work has a key for each booking."""

    model = TicketTier
    permission = "bookings.add_booking"
    goes_on_when_sent_again = True

    def why_not(self, row: TicketTier) -> str:
        off = row.concert.status == Concert.Status.CANCELLED
        return "The concert was called off." if off else ""

    def plan(self, row: TicketTier) -> Plan:
        return Plan(
            [
                f"One ticket costs {money(row.price)}. {row.available_quantity:,} are free, and "
                f"{row.kept_back:,} are kept back.",
                "It is booked as customers book: never more than there is. The tickets go out by mail.",
            ]
        )


def decision_of(typed: dict[str, Any], *, by: User) -> StaffDecision:
    return StaffDecision(
        by=by,
        source=Booking.Source(typed["source"]),
        gateway=typed["paid"],
        note=typed["reason"],
        from_kept_back=typed["from_kept_back"],
        waives_sales_times=typed["waives_sales_times"],
        waives_limit=typed["waives_limit"],
    )


class BookFor(OfDesk):
    name = "book-for"
    button = "Book for somebody"
    form_class: ClassVar[type[VerbForm]] = BookForForm
    prefilled = ["source", "paid", "reason", "quantity"]

    def do(self, row: TicketTier, *, by: User, **typed: Any) -> Done | Shown:
        person = {name: typed[name] for name in ("quantity", "name", "email", "key")}
        order = Order(tier_id=row.pk, decision=decision_of(typed, by=by), **person)
        try:
            said = said_of(book(order))
        except NotKnownYet as exc:
            return Shown(str(exc))
        # The next one at the door is served on the same page, with the same choices. Without a number of
        # tickets, so that a second press sells nothing.
        again = {name: typed[name] for name in ("source", "paid", "reason")} | {"quantity": ""}
        return Done(said, f"{self.address(row)}?{urlencode(again)}")


class NotBooked(Refusal):
    """Nothing was booked."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__()
        self.args = (sentence or self.__doc__,)


class NotKnownYet(NotBooked):
    """It is not known yet whether this is booked. Press the button again in a minute: it is booked once."""


BROKE_OFF = (
    "The sale broke off before it was booked, and its tickets are free again. Take no money for it. To book "
    "it after all, begin with a new form."
)


def book(order: Order) -> Placed:
    """Raises NotBooked with a sentence, NotKnownYet, and what the database raises if it is busy."""
    try:
        placed = desk.book(order, now=clock.ask())
    except RequestInProgress as refusal:  # the same form was sent a moment ago
        raise NotKnownYet from refusal
    except Refusal as refusal:
        raise NotBooked(desk.why_not(refusal, order, WAIVERS)) from refusal
    if placed.booking.status == Booking.Status.PENDING:
        raise NotKnownYet
    if placed.booking.status == Booking.Status.FAILED:
        raise NotBooked(BROKE_OFF)
    return placed


def said_of(placed: Placed) -> SafeString:
    """What came of it, with links for staff."""
    booking = placed.booking
    if booking.status == Booking.Status.CANCELLED:
        return format_html("It was booked before, and was {} since.", link_to(booking, "cancelled"))
    one = booking.quantity == 1
    was = ("was" if one else "were") if placed.replayed else ("is" if one else "are")
    return format_html(
        '{} {} {} booked{}.{} <a href="{}">Print {}</a> or look at {}.',
        booking.quantity,
        "ticket" if one else "tickets",
        was,
        " before" if placed.replayed else "",
        f" Cash: {money(booking.total_price)}." if booking.gateway == CASH else "",
        reverse("admin:print_tickets", args=[booking.pk]),
        "it" if one else "them",
        link_to(booking, "the booking"),
    )


def link_to(booking: Booking, words: str) -> SafeString:
    page = reverse("admin:bookings_booking_change", args=[booking.pk])
    return format_html('<a href="{}">{}</a>', page, words)
