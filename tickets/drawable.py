"""Texts of people in a font that does not have every character."""

import unicodedata
from collections.abc import Callable, Container, Iterator

BOX = "\u25a1"  # for a character that the font lacks
SPACES = {"Zs", "Zl", "Zp", "Cc"}  # control characters part words, as line breaks do
HIDDEN = {"Cf", "Cs", "Cn", "Mn", "Me"}


def drawable(text: str, glyphs: Container[int]) -> str:
    """The text with only what the font has, in the order in which it is stored.

    What the font lacks becomes its plain letter (ἀ an α), and otherwise a box; a mark on a letter is left
    out. Hebrew and Arabic letters are all boxes, so the words among them keep the order in which they were
    typed.
    """
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(_drawn(each, glyphs) for each in composed).split())


def _drawn(character: str, glyphs: Container[int]) -> str:
    category = unicodedata.category(character)
    if category in SPACES:
        return " "
    if category[0] != "C" and ord(character) in glyphs:
        return character
    plain = [each for each in unicodedata.normalize("NFKD", character) if ord(each) in glyphs]
    return "".join(plain).strip() or ("" if category in HIDDEN else BOX)


def lines(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """The text in lines that fit. A word that fits into no line is broken."""
    line = ""
    for word in text.split():
        if fits(longer := f"{line} {word}".lstrip()):
            line = longer
            continue
        if line:
            yield line
        while not fits(word):
            end = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or fits(word[:n]))
            yield word[:end]
            word = word[end:]
        line = word
    if line:
        yield line
