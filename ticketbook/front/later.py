"""Lets a view give its thread back while the event loop awaits something for it.

    return later(response, aplace(wish, InLanes()), redirect)

When the coroutine has ended, `redirect` gets its result. If it returns an address, the response becomes a
redirect to it. Otherwise the view is called a second time with the same request, and `finished(request)`
holds what the coroutine returned or raised. This works behind the front only. Elsewhere `may_wait` is
False, and the view has to wait by itself.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.http import HttpRequest, HttpResponse

FRONT = "ticketbook.front"
FINISHED = "ticketbook.finished"

Result = TypeVar("Result")


@dataclass
class Finished(Generic[Result]):
    value: Result | None = None
    error: Exception | None = None

    def result(self) -> Result:
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value


@dataclass
class Later:
    coroutine: Coroutine[Any, Any, Any]
    redirect: Callable[[Any], str | None]

    async def finish(self) -> Finished[Any]:
        try:
            return Finished(await self.coroutine)
        except Exception as exc:
            return Finished(error=exc)

    def address(self, finished: Finished[Any]) -> str | None:
        return None if finished.error is not None else self.redirect(finished.value)


def may_wait(request: HttpRequest) -> bool:
    return FRONT in request.META


def finished(request: HttpRequest) -> Finished[Any] | None:
    return request.META.get(FINISHED)


def later(
    response: HttpResponse,
    coroutine: Coroutine[Any, Any, Result],
    redirect: Callable[[Result], str | None],
) -> HttpResponse:
    response.later = Later(coroutine, redirect)  # type: ignore[attr-defined]
    return response
