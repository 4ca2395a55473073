from math import ceil


class Refusal(Exception):
    """The request was refused."""

    # A subclass's docstring is the sentence that people read; code and status are the contract.
    code = "invalid"
    status = 400
    retry_after: int | None = None  # seconds

    def __init__(self, **facts: object) -> None:
        super().__init__(self.__doc__)
        self.facts = facts


class NotFound(Refusal):
    """There is no such thing here. Check the address."""

    code = "not_found"
    status = 404


class BadAddress(Refusal):
    """The server cannot make sense of this address. Check it."""


class BadParameter(Refusal):
    """A parameter of the address cannot be understood."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__()
        self.args = (message,)  # says what this parameter takes
        self.field = field


class Busy(Refusal):
    """Too many people want this at once. Try again in a moment: nothing is booked twice."""

    code = "busy"
    status = 503
    retry_after = 1


class Throttled(Refusal):
    """There were too many attempts."""

    code = "throttled"
    status = 429

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.retry_after = max(1, ceil(seconds))
        self.args = (f"{self.__doc__} Try again in {_in_words(self.retry_after)}.",)


def _in_words(seconds: int) -> str:
    number, unit = (seconds, "second") if seconds < 100 else (ceil(seconds / 60), "minute")
    return f"{number} {unit}{'' if number == 1 else 's'}"


class TooSlow(Refusal):
    """The request took too long to arrive, and nothing was done. Check your connection and send it again."""

    code = "too_slow"
    status = 408


class TooLarge(Refusal):
    """The body is too large. Send only what the form or the contract asks for."""

    code = "too_large"
    status = 413
