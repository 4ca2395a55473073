"""Times in the admin's form, shown and typed by the clock of the concert's venue.

What is typed is a wall clock's time. Which moment it means depends on the zone that is chosen in the same
form. While clocks go forward it may mean none, and while they go back two. Then the form asks.
"""

from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import ValidationError
from django.utils.dateformat import format as date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ticketbook.admin_forms import MergingForm
from ticketbook.shown import spelled
from ticketbook.zones import WHICH, around_gap, by_area, city_time, in_words, local, moments, offset

FIRST, SECOND = "first", "second"
CLOCK = "H:i"


class Typed(NamedTuple):
    wall: datetime  # without a zone
    which: str  # FIRST or SECOND, if the clock shows it twice; else empty


class WallClock(AdminSplitDateTime):
    """Date, time, and which of two moments if the clock shows them twice."""

    zone = "UTC"  # of what is shown
    says = ""  # whose clock it is
    twice: tuple[datetime, ...] = ()  # the two moments to choose from

    def __init__(self, attrs: Any = None) -> None:
        forms.MultiWidget.__init__(
            self,
            # The browser's own. The admin's would offer "Now" by the clock of the server.
            [
                forms.DateInput({"type": "date"}, "%Y-%m-%d"),
                forms.TimeInput({"type": "time", "step": 1}, "%H:%M:%S"),
                forms.HiddenInput,
            ],
            attrs,
        )

    def decompress(self, value: Any) -> Any:
        if not isinstance(value, datetime):
            return [None, None, ""]
        there = local(value, self.zone)
        twice = len(moments(there.replace(tzinfo=None), self.zone)) > 1
        which = (SECOND if there.fold else FIRST) if twice else ""
        return [there.date(), there.time().replace(microsecond=0), which]

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        shown = value if isinstance(value, list) else self.decompress(value)
        # A browser that shows seconds wants them typed too.
        has_seconds = str(shown[1] or "").count(":") == 2 and not str(shown[1]).endswith(":00")
        self.widgets[1].attrs["step"] = 1 if has_seconds else 60
        both = super().render(name, value, attrs, renderer)
        chosen = shown[2:]
        which = self._which(name, *chosen)
        return format_html('<div>{}<div class="quiet">{}</div>{}</div>', both, self.says, which)

    def _which(self, name: str, chosen: str | None = "") -> SafeString | str:
        if not self.twice:
            return ""
        labels = [("", "Choose"), *zip((FIRST, SECOND), map(_nth, self.twice, "12"), strict=True)]
        options = format_html_join(
            "",
            '<option value="{}"{}>{}</option>',
            ((value, SELECTED if value == chosen else "", label) for value, label in labels),
        )
        return format_html(
            '<p>The clock shows this time twice: <select name="{}_2" aria-label="Which one?">{}</select></p>',
            name,
            options,
        )


SELECTED = SafeString(" selected")


def _nth(at: datetime, number: str) -> str:
    when = {"1": "the first time, before the clocks go back", "2": "the second time, after that"}
    return f"{when[number]} ({offset(at)})"


class WallClockField(forms.SplitDateTimeField):
    """Its cleaned value is a Typed; `VenueTimesForm` makes it a moment."""

    widget: Any = WallClock

    def clean(self, value: Any) -> Any:
        wall = super().clean(list(value or [])[:2])
        return None if wall is None else Typed(wall, (*value, "")[2] or "")

    def compress(self, data_list: Any) -> datetime | None:
        if not data_list:
            return None
        for part, error in zip(data_list, ("invalid_date", "invalid_time"), strict=True):
            if part in self.empty_values:
                raise ValidationError(self.error_messages[error], code=error)
        wall = datetime.combine(*data_list)
        if not 1 < wall.year < 9999:  # some clock would show a year that there is not
            raise ValidationError("Give a year from 2 to 9998.", code="invalid_date")
        return wall

    def moment(self, typed: Typed, zone: str) -> datetime:
        """When the clocks of this zone show what was typed.

        Raises ValidationError if they never do, or if they do twice; then the widget asks which one is meant.
        """
        found = moments(typed.wall, zone)
        self.widget.says = f"By the clock of the venue: {city_time(zone)}."
        self.widget.twice = _both(found, zone)
        if not found:
            raise ValidationError(_no_such_time(typed.wall, zone), code="gap")
        if len(found) > 1 and typed.which not in {FIRST, SECOND}:
            raise ValidationError(_comes_twice(typed.wall, zone), code="overlap")
        return found[-1 if typed.which == SECOND else 0]

    def shows(self, at: datetime | None, zone: str, label: str) -> None:
        """Let the widget show this moment by the clocks of the zone, and say whose time it is."""
        for part, of in zip(self.widget.widgets, ("date", "time"), strict=False):
            part.attrs["aria-label"] = f"{label}, {of}"
        self.widget.zone = zone
        self.widget.says = f"By the clock of the venue: {city_time(zone)}."
        if at is not None:
            wall = local(at, zone).replace(tzinfo=None)
            self.widget.twice = _both(moments(wall, zone), zone)

    def spelled(self, value: Any) -> list[str]:
        day, clock, which = value if isinstance(value, list) else self.widget.decompress(value)
        return [
            *(spelled(*pair) for pair in zip(self.fields, (day, clock), strict=True)),
            which or "",
        ]

    def has_changed(self, initial: Any, data: Any) -> bool:
        shown, sent = self.widget.decompress(initial), list(data or [])
        which = (*sent, "", "", "")[2] or shown[2]
        return which != shown[2] or bool(super().has_changed(shown[:2], sent[:2]))


class VenueTimesForm(MergingForm):
    """The form of a concert: its times are by the clock of the zone that is chosen in it.

    What was not changed keeps its moment, to the microsecond.
    """

    time_zone = forms.ChoiceField(
        help_text="Of the venue. The times of this form are by its clock; if you choose another zone, what "
        "the form shows is read by the clock there.",
        error_messages={"required": WHICH, "invalid_choice": WHICH},
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.shown_zone: str = self.instance.time_zone
        self._offer_zones()
        for name in self._times:
            field: Any = self.fields[name]
            at = self.initial.get(name)
            field.shows(at if isinstance(at, datetime) else None, self.shown_zone, self[name].label)
            if self.instance._state.adding:  # its zone is still to be chosen
                field.widget.says = "By the clock of the venue."

    def _offer_zones(self) -> None:
        if "time_zone" not in self.fields:  # shown to somebody who may not change it
            return
        # What is not sent at all stays as it is, as with other fields that have a default.
        sent = not self.is_bound or self.add_prefix("time_zone") in self.data
        self.fields["time_zone"].required = sent
        self.fields["time_zone"].choices = [  # type: ignore[attr-defined]
            ("", "Choose"),
            *by_area(),
        ]
        if self.instance._state.adding and self.shown_zone != "UTC":
            # Hardly any venue is in UTC. That is only where TIME_ZONE stands if nobody has set it.
            self.initial.setdefault("time_zone", self.shown_zone)

    @property
    def _times(self) -> list[str]:
        return [n for n, field in self.fields.items() if isinstance(field, WallClockField)]

    def keeps(self, name: str) -> bool:
        moves = name in self._times and self._sent(name) and self._is_moved
        return super().keeps(name) and not moves

    @cached_property
    def _is_moved(self) -> bool:
        # The same clock times are other moments in another zone.
        return "time_zone" in self._row_fields and not super().keeps("time_zone")

    def _sent(self, name: str) -> bool:
        return any(self[name].data or [])

    def _in_words(self, name: str, value: Any) -> str:
        if isinstance(value, datetime):
            return f"“{in_words(value, self.shown_zone)}”"
        return super()._in_words(name, value)

    def clean_time_zone(self) -> str:
        return self.cleaned_data["time_zone"] or self.shown_zone

    def clean(self) -> dict[str, Any]:
        super().clean()
        zone = self.cleaned_data.get("time_zone", self.shown_zone)
        for name in self._times:
            typed = self.cleaned_data.get(name)
            if not isinstance(typed, Typed):
                continue
            try:
                self._check_the_clock_is_the_one_shown(zone)
                self.cleaned_data[name] = self._moment(name, typed, zone)
            except ValidationError as error:
                self.add_error(name, error)
        return self.cleaned_data

    def _check_the_clock_is_the_one_shown(self, zone: str) -> None:
        if self._is_of_a_row and not self._is_moved and self._was_moved_meanwhile:
            raise ValidationError(
                f"The time zone was changed to {city_time(zone)} while your form was open. Give the time by "
                "the clock there. Nothing was saved.",
                code="changed_meanwhile",
            )

    @property
    def _was_moved_meanwhile(self) -> bool:
        return self._shown is not None and self._shown.get("time_zone") != self.now["time_zone"]

    def _moment(self, name: str, typed: Typed, zone: str) -> datetime:
        wall, widget, before = typed.wall, self.fields[name].widget, self.initial.get(name)
        if isinstance(before, datetime):
            day, clock, which = widget.decompress(before)
            if wall == datetime.combine(day, clock):
                if zone == self.shown_zone and typed.which in {"", which}:
                    return before
                wall = local(before, self.shown_zone).replace(tzinfo=None)  # with its microseconds
        return self.fields[name].moment(Typed(wall, typed.which), zone)  # type: ignore[attr-defined,no-any-return]


def _both(found: list[datetime], zone: str) -> tuple[datetime, ...]:
    return tuple(local(at, zone) for at in found) if len(found) > 1 else ()


def _no_such_time(wall: datetime, zone: str) -> str:
    before, after = (date_format(at, "j M Y, H:i") for at in around_gap(wall, zone))
    return (
        f"The clocks go forward then, and {date_format(wall, CLOCK)} does not exist in {city_time(zone)}. "
        f"Give a time before or after that, such as {before} or {after}."
    )


def _comes_twice(wall: datetime, zone: str) -> str:
    return (
        f"The clocks go back then, and {date_format(wall, CLOCK)} comes twice in {city_time(zone)}. "
        "Choose below which of the two it is."
    )
