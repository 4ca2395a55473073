"""The code of a ticket, which a person can read out: 55 random bits in Crockford's base32.

It is kept and shown in groups, as 7QX4-9MRT-2K8.
"""

import secrets

from ticketbook.base32 import ALPHABET, understood

LENGTH = 11
PATTERN = rf"^[{ALPHABET}]{{4}}-[{ALPHABET}]{{4}}-[{ALPHABET}]{{3}}$"


class BadCode(ValueError):
    """This is not the code of a ticket. It has 11 digits and letters, as 7QX4-9MRT-2K8."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def new_code() -> str:
    return _grouped("".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))


def read_code(text: str) -> str:
    """The code that somebody typed or heard, as we keep it. Raises BadCode.

    Lower case, O for 0, I or L for 1, spaces and missing dashes are understood.
    """
    code = understood(text, LENGTH)
    if code is None:
        raise BadCode
    return _grouped(code)


def _grouped(code: str) -> str:
    return "-".join([code[:4], code[4:8], code[8:]])
