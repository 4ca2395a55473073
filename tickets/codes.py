"""The code of a ticket, which a person can read out: 55 random bits in Crockford's base32.

It is kept and shown in groups, as 7QX4-9MRT-2K8. https://www.crockford.com/base32.html
"""

import re
import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without I, L, O and U
LENGTH = 11
PATTERN = rf"^[{ALPHABET}]{{4}}-[{ALPHABET}]{{4}}-[{ALPHABET}]{{3}}$"

# What people make of it: look-alikes, and whatever separates groups (spaces, and dashes of all kinds).
LOOK_ALIKES = str.maketrans("OIL", "011")
SEPARATORS = re.compile(r"[\s\-\u2010-\u2015\u2212._]+")


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
    code = SEPARATORS.sub("", text).upper().translate(LOOK_ALIKES)
    if len(code) != LENGTH or not set(code) <= set(ALPHABET):
        raise BadCode
    return _grouped(code)


def _grouped(code: str) -> str:
    return "-".join([code[:4], code[4:8], code[8:]])
