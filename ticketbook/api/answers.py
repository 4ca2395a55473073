from typing import Any, NamedTuple

from rest_framework.response import Response


class ApiAnswer(NamedTuple):
    """An answer of the API as data. A view on a thread or the event loop turns it into bytes."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]  # with a Content-Type if it is not plain JSON

    @property
    def response(self) -> Response:
        headers = dict(self.headers)
        content_type = headers.pop("Content-Type", None)
        return Response(self.body, self.status, headers=headers, content_type=content_type)
