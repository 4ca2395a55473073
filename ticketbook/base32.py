"""Numbers that a person can read out, in Crockford's base32. https://www.crockford.com/base32.html"""

import re

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without I, L, O and U

# What people make of it: look-alikes, and whatever separates groups (spaces, and dashes of all kinds).
LOOK_ALIKES = str.maketrans("OIL", "011")
SEPARATORS = re.compile(r"[\s\-\u2010-\u2015\u2212._]+")


def understood(text: str, length: int) -> str | None:
    """The digits and letters of a text that somebody typed or heard; None if they are not so many.

    Lower case, O for 0, I or L for 1, spaces and missing dashes are understood.
    """
    read = SEPARATORS.sub("", text).upper().translate(LOOK_ALIKES)
    return read if len(read) == length and set(read) <= set(ALPHABET) else None


def written(value: int, length: int) -> str:
    return "".join(ALPHABET[value >> 5 * place & 31] for place in reversed(range(length)))


def value_of(text: str) -> int:
    """The value of a text of this alphabet."""
    value = 0
    for sign in text:
        value = value << 5 | ALPHABET.index(sign)
    return value
