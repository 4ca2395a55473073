"""The one format of times in answers of the API: UTC, always with six digits of a second.

    2026-12-11T00:30:00.000000Z

It is RFC 3339. There are six digits, because the database counts in microseconds. So what a client reads here
and sends back, as `dateFrom` for example, means the same moment.

Both encoders of answers write times by `api_time`: DRF's, below, and the one of the event loop
(ticketbook/front/answers.py). Serializers leave times to them (DATETIME_FORMAT).
"""

from datetime import UTC, datetime
from typing import Any

from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder


def api_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class TimesEncoder(JSONEncoder):
    def default(self, obj: Any) -> Any:
        return api_time(obj) if isinstance(obj, datetime) else super().default(obj)


class ApiRenderer(JSONRenderer):
    encoder_class = TimesEncoder
