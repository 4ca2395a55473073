import unicodedata

from django.core.exceptions import ValidationError

# Letters of Unicode that are drawn as nothing: the blank of Braille, the fillers of Hangul, and the note
# without a head of music.
BLANKS = set("\u2800\u115f\u1160\u3164\uffa0\U0001d159")
# Control and format characters, and separators of lines and paragraphs.
HIDDEN = {"Cc", "Cf", "Zl", "Zp"}
LETTER_NUMBER_PUNCTUATION_SYMBOL = "LNPS"


def plain_text(text: str) -> None:
    """A validator: the text has something to see, and nothing hidden.

    So no name looks like another one, or like none. Emoji that are joined of several are refused too.
    """
    categories = [unicodedata.category(character) for character in text]
    if not HIDDEN.isdisjoint(categories) or not BLANKS.isdisjoint(text):
        raise ValidationError("Remove characters that cannot be seen.", code="hidden_characters")
    if not something_to_see(text):
        raise ValidationError("Use characters that can be seen.", code="nothing_to_see")


# They join letters, as Persian and some emoji need it.
JOINERS = {"\u200c", "\u200d"}


def plain_lines(text: str) -> None:
    """A validator as `plain_text`, for a text with several lines."""
    line = "".join(character for character in text if character not in {"\n", "\t", *JOINERS})
    plain_text(line)


def something_to_see(text: str) -> bool:
    return any(
        unicodedata.category(character)[0] in LETTER_NUMBER_PUNCTUATION_SYMBOL
        for character in text
        if character not in BLANKS
    )
