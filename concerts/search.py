"""The catalogue's filters, shared by the API and the page."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

from django.utils.dateparse import parse_date, parse_datetime

from concerts.models import Concert, ConcertQuerySet
from ticketbook.errors import BadParameter
from ticketbook.pagination import in_utc


def search(query: Mapping[str, str], *, now: datetime) -> ConcertQuerySet:
    """Published concerts, soonest first, that match q, artist, venue, dateFrom, dateTo and available.

    A date without a time means that day by the calendar of each concert's venue. A time without an offset is
    in UTC. What is available can be bought at `now`. Raises BadParameter.
    """
    concerts = Concert.objects.published().soonest_first()
    if q := text(query, "q"):
        concerts = concerts.matching(q)
    for field in ("artist", "venue"):
        if part := text(query, field):
            concerts = concerts.with_text_in(field, part)
    start, end = bound(query, "dateFrom"), bound(query, "dateTo")
    if start is not None and end is not None and _is_after(start, end):
        raise BadParameter("dateFrom", "This is after the end. Give an earlier date.")
    if isinstance(start, datetime):
        concerts = concerts.filter(date__gte=start)
    elif start is not None:
        concerts = concerts.from_day(start)
    if isinstance(end, datetime):
        concerts = concerts.filter(date__lte=end)
    elif end is not None:
        concerts = concerts.to_day(end)
    if _flag(query, "available"):
        concerts = concerts.on_sale(now)
    return concerts


def text(query: Mapping[str, str], field: str) -> str:
    value = query.get(field, "").strip()
    if "\x00" in value:
        raise BadParameter(field, "Null characters are not allowed.")
    return value


def _flag(query: Mapping[str, str], field: str) -> bool:
    value = query.get(field, "")
    if value not in {"", "true", "false"}:
        raise BadParameter(field, "Say true or false.")
    return value == "true"


def bound(query: Mapping[str, str], field: str) -> date | datetime | None:
    """A day of the venue's calendar (a date), or an instant in UTC (a datetime)."""
    value = query.get(field, "").strip()
    if not value:
        return None
    try:
        if (day := parse_date(value)) is not None:
            return day
        # In a query string a bare "+" of an offset arrives as a space.
        if (exact := parse_datetime(value.replace(" ", "+"))) is not None:
            return _in_utc(exact if exact.tzinfo else exact.replace(tzinfo=UTC))
    except ValueError:
        pass
    raise BadParameter(field, "Give a date like 2030-06-30 or a time like 2030-06-30T20:00:00Z.")


def _in_utc(at: datetime) -> datetime:
    try:
        return in_utc(at)
    except OverflowError:  # before the first moment that UTC can tell, or after the last one
        return (datetime.min if at.year == 1 else datetime.max).replace(tzinfo=UTC)


def _is_after(start: date | datetime, end: date | datetime) -> bool:
    if isinstance(start, datetime) is isinstance(end, datetime):
        return start > end
    # Which instants a day has depends on the venue, but no clock is a day from UTC.
    return start.toordinal() > end.toordinal() + 1
