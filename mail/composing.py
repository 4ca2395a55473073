"""From a row to the message that is sent: one template makes both the text and the HTML.

`templates/mail/letter.txt` and `letter.html` are the two layouts. A template of a kind extends `layout`,
which is one and then the other. It fills in these blocks with plain words:

| block | what is in it |
|---|---|
| `title` | what has happened, in a few words |
| `text` | the rest; a blank line ends a paragraph |
| `why` | a sentence that says why the person gets this mail |

The layouts show what they find in the context: `name` (of the person), `details` (pairs of a label and a
value), and `link` (a pair of words and an address). Names of people and concerts belong there, where each is
drawn in its own direction.
"""

import re
import unicodedata
from email.utils import format_datetime

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.template.loader import render_to_string

from mail.kinds import Letter, letter_of
from mail.models import Mail

NEVER_REACHED = ".invalid"  # RFC 2606; closed accounts have such addresses
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"


def compose(mail: Mail) -> EmailMultiAlternatives | None:
    """The message, or None if there is nothing to tell any more. Raises whatever its kind raises."""
    letter = None if mail.address.endswith(NEVER_REACHED) else letter_of(mail)
    if letter is None:
        return None
    validate_email(mail.address)
    message = EmailMultiAlternatives(
        one_line(letter.subject),
        _text(letter),
        settings.DEFAULT_FROM_EMAIL,
        [mail.address],
        headers={
            "Message-ID": mail.message_id,
            "Date": format_datetime(mail.made_at),
            "Auto-Submitted": "auto-generated",  # nobody's out-of-office note comes back
        },
    )
    message.attach_alternative(_html(letter), "text/html")
    for attachment in letter.attachments:
        message.attach(*attachment)
    message.message()  # what cannot be written as a mail shows here
    return message


def _html(letter: Letter) -> str:
    return _render(letter, "mail/letter.html")


def _text(letter: Letter) -> str:
    return re.sub(r"\n{3,}", "\n\n", _render(letter, "mail/letter.txt")).strip() + "\n"


def _render(letter: Letter, layout: str) -> str:
    facts = {"layout": layout, "subject": one_line(letter.subject), "site": settings.SITE_URL}
    return render_to_string(f"{letter.template}.txt", {**letter.context, **facts})


def one_line(text: str) -> str:
    """What may stand in a header: no line breaks or other control characters, and no gaps."""
    visible = (" " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c for c in text)
    # "=?" in a header begins an encoded word, which would be shown as what it decodes to.
    return " ".join("".join(visible).split()).replace("=?", "= ?")


def short(text: str, limit: int) -> str:
    """A text for a subject: one line of `limit` characters at most."""
    text = one_line(text)
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def isolated(text: str) -> str:
    """A text whose direction does not disturb that of the words around it, where no markup can say so."""
    if any(unicodedata.bidirectional(character) in {"R", "AL"} for character in text):
        return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
    return text
