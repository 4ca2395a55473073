"""From a row to the message that is sent: one template makes both the text and the HTML.

`templates/mail/letter.txt` and `letter.html` are the two layouts. A template of a kind extends `layout`,
which is one and then the other. It fills in these blocks with plain words:

| block | what is in it |
|---|---|
| `title` | what has happened, in a few words |
| `text` | the rest; a blank line ends a paragraph |
| `why` | a sentence that says why the person gets this mail |

The layouts show what they find in the context: `name` (of the person), `details` (pairs of a label and a
value), `link` (a pair of words and an address), and `parts` (each with `details` and `links` of its own).
Names of people and concerts belong there, where each is drawn in its own direction. The pictures of a letter
are in the HTML only.
"""

import re
import unicodedata
from collections.abc import Mapping
from email.message import Message
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.utils import format_datetime
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.template.loader import render_to_string

from mail.kinds import Letter, Picture, letter_of
from mail.models import Mail

NEVER_REACHED = ".invalid"  # RFC 2606; closed accounts have such addresses
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"


class WithPictures(EmailMultiAlternatives):
    """A mail whose HTML shows pictures that come with it, each named by a Content-ID."""

    pictures: dict[str, Picture]

    def message(self, *args: Any, **kwargs: Any) -> Any:
        message = super().message(*args, **kwargs)
        if self.pictures:
            parts = [part for part in message.walk() if part.get_content_subtype() == "alternative"]
            alternatives: Any = parts[0].get_payload()
            alternatives.append(self._with_pictures(alternatives.pop()))
        return message

    def _with_pictures(self, html: Message) -> MIMEMultipart:
        related = MIMEMultipart("related", type="text/html")
        related.attach(html)
        for name, picture in self.pictures.items():
            part = MIMEImage(picture.png, "png")
            part["Content-ID"] = f"<{name}>"
            part["Content-Disposition"] = "inline"
            related.attach(part)
        return related


def compose(mail: Mail) -> EmailMultiAlternatives | None:
    """The message, or None if there is nothing to tell any more. Raises whatever its kind raises."""
    letter = None if mail.address.endswith(NEVER_REACHED) else letter_of(mail)
    if letter is None:
        return None
    validate_email(mail.address)
    message = WithPictures(
        one_line(letter.subject),
        text_of(letter),
        settings.DEFAULT_FROM_EMAIL,
        [mail.address],
        headers={
            "Message-ID": mail.message_id,
            "Date": format_datetime(mail.made_at),
            "Auto-Submitted": "auto-generated",  # nobody's out-of-office note comes back
        },
    )
    # Names that no other mail has, because programs may keep pictures by their names.
    unique = mail.message_id.strip("<>")
    message.pictures = {f"{n}.{unique}": each for n, each in enumerate(letter.pictures, 1)}
    message.attach_alternative(html_of(letter, message.pictures), "text/html")
    for attachment in letter.attachments:
        message.attach(*attachment)
    message.message()  # what cannot be written as a mail shows here
    return message


def html_of(letter: Letter, pictures: Mapping[str, Picture]) -> str:
    """The HTML of the mail. Its pictures are named by their Content-ID."""
    return _render(letter, "mail/letter.html", pictures=pictures)


def text_of(letter: Letter) -> str:
    """The mail for programs that show no HTML."""
    return re.sub(r"\n{3,}", "\n\n", _render(letter, "mail/letter.txt")).strip() + "\n"


def _render(letter: Letter, layout: str, **more: Any) -> str:
    facts = {"layout": layout, "subject": one_line(letter.subject), "site": settings.SITE_URL}
    return render_to_string(f"{letter.template}.txt", {**letter.context, **facts, **more})


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
