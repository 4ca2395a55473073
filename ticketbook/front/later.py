"""Lets a view give its thread back while the event loop awaits something for it.

    return later(response, aplace(wish, InLanes()), redirect)

When the coroutine has ended, `redirect` gets its result. If it returns an address, the response is a
redirect to it. Otherwise the view is called a second time with the same request, and `outcome_of(request)`
returns what the coroutine returned or raised. This works behind the front only. Elsewhere `may_wait` is
False, and the view has to wait by itself.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.http import HttpRequest, HttpResponse

FRONT = "ticketbook.front"
OUTCOME = "ticketbook.outcome"

Result = TypeVar("Result")


@dataclass
class Outcome(Generic[Result]):
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

    async def outcome(self) -> Outcome[Any]:
        try:
            return Outcome(await self.coroutine)
        except Exception as exc:
            return Outcome(error=exc)

    def address(self, outcome: Outcome[Any]) -> str | None:
        return None if outcome.error is not None else self.redirect(outcome.value)


def may_wait(request: HttpRequest) -> bool:
    return FRONT in request.META


def outcome_of(request: HttpRequest) -> Outcome[Any] | None:
    return request.META.get(OUTCOME)


def later(
    response: HttpResponse,
    coroutine: Coroutine[Any, Any, Result],
    redirect: Callable[[Result], str | None],
) -> HttpResponse:
    response.later = Later(coroutine, redirect)  # type: ignore[attr-defined]
    return response
