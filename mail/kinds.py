"""What kinds of mail there are. An app above registers its kinds when it is ready."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mail.models import Mail

Attachment = tuple[str, bytes, str]  # the file's name, what is in it, its MIME type


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the HTML. The mail says the same without it, because many programs show none."""

    png: bytes
    title: str  # is above it
    instead: str  # is read out, or stands in its place
    width: int  # CSS pixels


@dataclass(frozen=True, slots=True)
class Letter:
    """The words of a mail.

    `template` is a template without its ending `.txt`, such as `bookings/mail/cancelled`: it extends `layout`
    and has the words, from which both the text and the HTML are made (templates/mail/).
    """

    subject: str
    template: str
    context: Mapping[str, Any]
    attachments: Sequence[Attachment] = field(default=())
    pictures: Sequence[Picture] = field(default=())


# It is called when the mail is sent. None: there is nothing to tell any more.
Render = Callable[[Mail], Letter | None]


class NothingToTell(Exception):
    """Somebody who was to get a mail has nothing to do with it any more."""


_renderers: dict[str, Render] = {}


def register(kind: str, render: Render) -> None:
    """Say what mails of this kind are. `kind` has lower-case letters and underscores, 32 at most."""
    _renderers[kind] = render


def names() -> list[str]:
    return sorted(_renderers)


def letter_of(mail: Mail) -> Letter | None:
    """Raises LookupError if no app has registered the mail's kind."""
    render = _renderers.get(mail.kind)
    if render is None:
        raise LookupError(f"There is no kind of mail called {mail.kind!r}.")
    try:
        return render(mail)
    except NothingToTell:
        return None
