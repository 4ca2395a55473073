"""Texts of people in a font that lacks some characters."""

import string
from itertools import chain

import pytest

from tickets.drawable import BOX, drawable, lines

HAS = {*map(ord, string.printable), *range(0xC0, 0x180), *range(0x391, 0x3CA), *range(0x410, 0x450)}


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("Zoë", "Zoë"),
        ("Zoe\u0308", "Zoë"),  # the same in two characters
        ("Олег", "Олег"),
        ("ἀλφα", "αλφα"),  # a plain letter rather than a box
        ("Ａｎｎ", "Ann"),
        ("Ann 🎸", f"Ann {BOX}"),
        ("❤\ufe0f", BOX),
        ("محمد", BOX * 4),
        ("שָׁלוֹם Ann 12", f"{BOX * 4} Ann 12"),
        ("東京", BOX * 2),
        ("Ann\r\nLee\tX\0Y", "Ann Lee X Y"),
        ("\u202eAnn\u200b Lee\ufeff", "Ann Lee"),
        ("Ann\u2028\u00a0\u3000Lee", "Ann Lee"),
        ("\ud800Ann", "Ann"),
        ("Z\u0310\u0311\u0312a", "Za"),
        ("", ""),
    ],
)
def test_a_text_is_drawn_with_what_the_font_has(text, drawn):
    assert drawable(text, HAS) == drawn


def test_no_name_that_can_be_seen_is_drawn_as_nothing():
    for code in chain(range(0x21, 0x3000), range(0x1F300, 0x1F700)):
        if chr(code).isprintable() and (chr(code).isalnum() or chr(code) in "🎸☺"):
            assert drawable(chr(code), HAS), hex(code)


def test_lines_break_between_words_and_long_words_anywhere():
    text = "one two threefourfive six " + "x" * 12
    broken = list(lines(text, lambda line: len(line) <= 7))
    assert broken == ["one two", "threefo", "urfive", "six", "xxxxxxx", "xxxxx"]
    assert list(lines("wide", lambda line: len(line) <= 0 or len(line) == 1)) == list("wide")
    assert list(lines(" ", len)) == []
