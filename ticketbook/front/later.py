"""A view that waits for something the event loop can await lets go of its thread meanwhile.

    return later(response, aplace(wish, InLanes()), redirect)

If `redirect` makes an address of the outcome, the response is sent to there. Otherwise the view is called
once more with the same request, and finds the outcome by `outcome_of(request)`. Both only behind the front;
elsewhere `may_wait` is False, and the view has to wait by itself.
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
    """What came of it, when the view is called again."""
    return request.META.get(OUTCOME)


def later(
    response: HttpResponse,
    coroutine: Coroutine[Any, Any, Result],
    redirect: Callable[[Result], str | None],
) -> HttpResponse:
    response.later = Later(coroutine, redirect)  # type: ignore[attr-defined]
    return response
