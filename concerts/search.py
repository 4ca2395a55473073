"""The catalogue's filters, shared by the API and the page."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from concerts.models import Concert, ConcertQuerySet
from ticketbook.errors import BadParameter
from ticketbook.pagination import in_utc


def search(query: Mapping[str, str], *, now: datetime) -> ConcertQuerySet:
    """Published concerts, soonest first, that match q, artist, venue, dateFrom, dateTo and available.

    A date without a time means the whole day in UTC. What is available can be bought at `now`. Raises
    BadParameter.
    """
    concerts = Concert.objects.published().soonest_first()
    if q := text(query, "q"):
        concerts = concerts.matching(q)
    for field in ("artist", "venue"):
        if part := text(query, field):
            concerts = concerts.with_text_in(field, part)
    start, end = moment(query, "dateFrom"), moment(query, "dateTo")
    if start and end and start[0] > end[1]:
        raise BadParameter("dateFrom", "This is after the end. Give an earlier date.")
    if start:
        concerts = concerts.filter(date__gte=start[0])
    if end:
        concerts = concerts.filter(date__lte=end[1])
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


def moment(query: Mapping[str, str], field: str) -> tuple[datetime, datetime] | None:
    """The first and the last moment of a date or time. PostgreSQL, too, counts in microseconds."""
    value = query.get(field, "").strip()
    if not value:
        return None
    try:
        # In a query string a bare "+" of an offset arrives as a space.
        if (day := parse_date(value)) is not None:
            start = datetime.combine(day, time(), tzinfo=timezone.get_current_timezone())
            return start, start + timedelta(days=1, microseconds=-1)
        if (exact := parse_datetime(value.replace(" ", "+"))) is not None:
            exact = exact if timezone.is_aware(exact) else timezone.make_aware(exact)
            exact = in_utc(exact)
            return exact, exact
    except (ValueError, OverflowError):
        pass
    raise BadParameter(field, "Give a date like 2030-06-30 or a time like 2030-06-30T20:00:00Z.")
