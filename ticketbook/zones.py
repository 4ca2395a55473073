"""Time zones of venues: which there are, what the clock shows at a moment, and which moment it means."""

from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils.dateformat import format as date_format

WHICH = "Choose the time zone of the venue by its area and city, like Europe/Berlin, or UTC."
SETTING = "Set it to an area and city, like Europe/Berlin, or to UTC."
WORDS = "D j M Y, H:i"


@cache
def names() -> tuple[str, ...]:
    """The zones that a person would pick: UTC, and one name for each, like America/New_York.

    They are those of the time zone database's own list for people to choose from, zone.tab. The hundreds of
    other names are aliases, or no places.
    """
    lines = (files("tzdata.zoneinfo") / "zone.tab").read_text(encoding="utf-8").splitlines()
    listed = {line.split("\t")[2] for line in lines if not line.startswith("#")}
    return "UTC", *sorted(listed)


def known_zone(name: str) -> None:
    """A validator of a model's field."""
    if name not in names():
        raise ValidationError(WHICH, code="unknown_zone")


def by_area() -> list[tuple[str, list[tuple[str, str]]]]:
    """The zones as the choices of a form: area by area, each with the names of its cities."""
    areas: dict[str, list[tuple[str, str]]] = {}
    for name in names():
        area, _, city = name.partition("/")
        areas.setdefault(area, []).append((name, city.replace("_", " ") or name))
    return list(areas.items())


def in_words(at: datetime, zone: str, form: str = WORDS) -> str:
    """A moment as a clock at the venue shows it: Thu 10 Dec 2026, 19:30 (New York time).

    `form` is a format of Django's template filter `date`. When a clock there shows this time twice, the
    difference from UTC is told as well.
    """
    there = local(at, zone)
    return f"{date_format(there, form)} {_called(there)}"


def _called(there: datetime) -> str:
    zone = str(there.tzinfo)
    if zone == "UTC":
        return zone
    twice = len(moments(there.replace(tzinfo=None), zone)) > 1
    return f"({city_time(zone)}, {offset(there)})" if twice else f"({city_time(zone)})"


def city_time(zone: str) -> str:
    return "UTC" if zone == "UTC" else f"{zone.rpartition('/')[2].replace('_', ' ')} time"


def offset(there: datetime) -> str:
    sign, hours, minutes = (
        there.strftime("%z")[0],
        there.strftime("%z")[1:3],
        there.strftime("%z")[3:5],
    )
    shown = f"{int(hours)}" if minutes == "00" else f"{int(hours)}:{minutes}"
    return f"UTC{sign.replace('-', '−')}{shown}"


def local(at: datetime, zone: str) -> datetime:
    """The moment by the venue's clock; by UTC if it is too close to the first or the last year."""
    try:
        return at.astimezone(_zone(zone))
    except (OverflowError, ValueError):
        return at.astimezone(UTC_ZONE)


UTC_ZONE = ZoneInfo("UTC")


def _zone(name: str) -> ZoneInfo:
    # The database may know a zone that this machine does not. Then its concerts are shown in UTC.
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC_ZONE


def moments(wall: datetime, zone: str) -> list[datetime]:
    """When a clock of this zone shows `wall`, a time without a zone; in UTC, the earlier one first.

    Usually that is one moment. It is none while clocks go forward, and two while they go back.
    """
    found = {at for at in _read(wall, zone) if local(at, zone).replace(tzinfo=None) == wall}
    return sorted(found)


def around_gap(wall: datetime, zone: str) -> list[datetime]:
    """What the clocks show before and after a gap that has `wall` in it, by as much as clocks go forward."""
    return sorted(local(at, zone) for at in _read(wall, zone))


def _read(wall: datetime, zone: str) -> list[datetime]:
    # Both ways to read it: by the difference from UTC before a change of clocks, and after it.
    try:
        return [wall.replace(tzinfo=_zone(zone), fold=fold).astimezone(UTC) for fold in (0, 1)]
    except OverflowError:
        return [wall.replace(tzinfo=UTC)]
