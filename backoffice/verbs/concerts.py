"""The verbs of a concert: publish and unpublish, duplicate, move, call off."""

from datetime import datetime
from typing import Any

from django import forms
from django.urls import reverse

from accounts.models import User
from backoffice.calling_off import at_stake, holders
from backoffice.verbs.verb import Done, Plan, Verb, VerbForm, WithReason
from bookings.models import RETURN_AFTER_MOVE
from concerts.calling_off import call_off
from concerts.changing import CalledOffBefore
from concerts.checklist import missing, sale_ends, sale_opens
from concerts.duplicating import duplicate
from concerts.models import Concert
from concerts.moving import move, place, seen_as
from concerts.publishing import publish, unpublish, why_not_hidden, why_not_published
from concerts.venue_times import Typed, WallClockField
from ticketbook.plain_text import plain_text
from ticketbook.postgres import clock
from ticketbook.templatetags.money import money
from ticketbook.zones import by_area, in_words


class ConcertVerb(Verb[Concert]):
    model = Concert
    permission = "concerts.change_concert"

    def rows(self) -> Any:
        return Concert.objects.with_tiers()


class Publish(ConcertVerb):
    name = "publish"
    button = "Publish"
    form_class = VerbForm

    def is_offered(self, row: Concert) -> bool:
        return row.status == Concert.Status.DRAFT

    def why_not(self, row: Concert) -> str:
        return str(why_not_published(row, clock.now()) or "")

    def plan(self, row: Concert) -> Plan:
        now = clock.now()
        gaps = [f"{item.name}: {item.words}" for item in missing(row, now)]
        return Plan(
            [
                "Everybody sees the concert from then on, in the list and on its page.",
                f"{sale_opens(row, now)} {sale_ends(row, now)}",
                *(["On its checklist this is open:"] if gaps else ["Its checklist is done."]),
                *gaps,
            ]
        )

    def do(self, row: Concert, *, by: User, **typed: Any) -> str:
        now = clock.ask()
        concert = publish(row.pk, by=by, now=now)
        opens = "It is on sale." if concert.sells_at(now) else sale_opens(concert, now)
        return f"It is published. {opens}"


class Unpublish(ConcertVerb):
    name = "unpublish"
    button = "Unpublish"
    form_class = VerbForm

    def is_offered(self, row: Concert) -> bool:
        return row.status == Concert.Status.PUBLISHED

    def why_not(self, row: Concert) -> str:
        return str(why_not_hidden(row) or "")

    def plan(self, row: Concert) -> Plan:
        return Plan(
            [
                "The concert becomes a draft again: only staff see it, and nothing of it is sold.",
                "Nobody has booked it so far, so nobody misses it. Publish it again at any time.",
            ]
        )

    def do(self, row: Concert, *, by: User, **typed: Any) -> str:
        unpublish(row.pk, by=by)
        return "It is a draft again, and only staff see it."


class WithDate(VerbForm):
    """A form with the date of a concert, by the clock of a venue."""

    date = WallClockField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["date"]
        field.shows(self.initial.get("date"), self.row.time_zone, "Date")

    def read_date(self, zone: str) -> None:
        """Make a moment of the date that was typed, by the clock of this zone."""
        typed, field = self.cleaned_data.get("date"), self.fields["date"]
        if isinstance(typed, Typed) and isinstance(field, WallClockField):
            try:
                self.cleaned_data["date"] = self._unchanged(typed, zone) or field.moment(
                    typed, zone
                )
            except forms.ValidationError as error:
                self.add_error("date", error)

    def _unchanged(self, typed: Typed, zone: str) -> datetime | None:
        # What was not touched stays, to the microsecond.
        shown = self.fields["date"].widget.decompress(self.initial.get("date"))
        if zone != self.row.time_zone or None in shown:
            return None
        is_same = typed.wall == datetime.combine(*shown[:2]) and typed.which in {"", shown[2]}
        return self.initial["date"] if is_same else None


class DuplicateForm(WithDate):
    def clean(self) -> dict[str, Any]:
        self.read_date(self.row.time_zone)
        return self.cleaned_data


class Duplicate(ConcertVerb):
    name = "duplicate"
    button = "Duplicate"
    permission = "concerts.add_concert"
    form_class = DuplicateForm

    def plan(self, row: Concert) -> Plan:
        tiers = row.ticket_tiers.all()
        tickets = sum(tier.total_quantity for tier in tiers)
        sentences = [
            "A new draft is made with the same texts, at another date. This concert stays as it is.",
            f"It gets the same {len(tiers)} tiers with {tickets:,} tickets, none of them sold or kept back.",
        ]
        if row.sales_open_at or row.sales_close_at:
            sentences.append(
                "Its sales open and close as many days before it as those of this one, at the same time."
            )
        return Plan(sentences)

    def do(self, row: Concert, *, by: User, **typed: Any) -> Done:
        copy = duplicate(row.pk, by=by, now=clock.ask(), **typed)
        day = in_words(copy.date, copy.time_zone)
        said = f"This is the new draft, on {day}. Look through it, and publish it."
        return Done(said, reverse("admin:concerts_concert_change", args=[copy.pk]))


class MoveForm(WithReason, WithDate):
    time_zone = forms.ChoiceField(
        help_text="Of the venue. The date is read by the clock there.", choices=by_area
    )
    venue = forms.CharField(max_length=200, validators=[plain_text])
    field_order = ["date", "time_zone", "venue", "reason"]

    def clean(self) -> dict[str, Any]:
        self.read_date(self.cleaned_data.get("time_zone", self.row.time_zone))
        return self.cleaned_data


class Move(ConcertVerb):
    name = "move"
    button = "Move"
    form_class = MoveForm

    def is_offered(self, row: Concert) -> bool:
        return row.status == Concert.Status.PUBLISHED

    def why_not(self, row: Concert) -> str:
        if row.status == Concert.Status.DRAFT:
            return "This is a draft, and nobody has tickets. Change its date and venue in its form."
        return "" if row.status == Concert.Status.PUBLISHED else str(CalledOffBefore())

    def initial(self, row: Concert) -> dict[str, Any]:
        return {"date": row.date, "time_zone": row.time_zone, "venue": row.venue}

    def plan(self, row: Concert) -> Plan:
        now, number = clock.now(), holders(row)
        return Plan(
            [
                f"It is {place(row)}.",
                _told(number),
                "They may give their tickets back until it begins, and for "
                f"{RETURN_AFTER_MOVE.days} days also if it begins earlier than they knew.",
                f"The times of the sale stay. {sale_opens(row, now)} {sale_ends(row, now)}",
            ],
            seen=seen_as(row),
        )

    def do(self, row: Concert, *, by: User, **typed: Any) -> str:
        moved = move(row.pk, by=by, now=clock.ask(), **typed)
        return f"It is {place(moved)} now. {_told(holders(moved))}"


def _told(number: int) -> str:
    if not number:
        return "Nobody has tickets, so nobody is told."
    return f"{_customers(number)} tickets, and each is told by mail."


def _customers(number: int) -> str:
    return "1 customer has" if number == 1 else f"{number:,} customers have"


class CallOff(ConcertVerb):
    name = "call-off"
    button = "Call off"
    form_class = WithReason
    cannot_be_undone = True

    def is_offered(self, row: Concert) -> bool:
        return row.status == Concert.Status.PUBLISHED

    def why_not(self, row: Concert) -> str:
        return str(CalledOffBefore()) if row.status == Concert.Status.CANCELLED else ""

    def plan(self, row: Concert) -> Plan:
        stake = at_stake(row)
        bookings = "1 booking" if stake.bookings == 1 else f"{stake.bookings:,} bookings"
        tickets = "1 ticket" if stake.tickets == 1 else f"{stake.tickets:,} tickets"
        sentences = [
            f"{bookings} with {tickets} will be cancelled, and {money(stake.money)} goes back to their "
            "customers. Each of them who has an address is told by mail.",
            "No more tickets are sold. Its page says that the concert does not take place.",
            "This is for good. A concert that takes place on another day is moved instead.",
        ]
        if stake.cash:
            sentences.insert(
                1,
                f"{money(stake.cash)} more was paid in cash. Nobody sends that: hand it over yourselves.",
            )
        if stake.holds:
            holds = "1 booking waits" if stake.holds == 1 else f"{stake.holds:,} bookings wait"
            sentences.insert(1, f"{holds} for a payment. If it comes, it goes back too.")
        return Plan(sentences)

    def do(self, row: Concert, *, by: User, **typed: Any) -> Done:
        said = call_off(row.pk, by=by, note=typed["reason"], once=True, now=clock.ask())
        page = reverse("admin:calling_off", args=[row.pk])
        return Done(" ".join(["The concert is called off.", *said]), page)
