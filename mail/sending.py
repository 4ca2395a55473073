"""To send what waits in the outbox. No lock is held while the mail server is talked to.

It leaves a sale its machine: after each mail it pauses, in proportion to the processor time that the mail
took, and longer while the machine is busy. So a rush is followed slowly, and a single mail leaves at once.

A worker claims some mails by moving their `next_attempt_at`, for longer than it can be busy with them. So two
workers never send the same one, and the claims of a dead worker run out. What it had sent and not noted is
then sent once more, with the same Message-ID.

| what happens | the mail |
|---|---|
| the server accepts it | SENT |
| there is nothing to tell any more | SKIPPED |
| its words cannot be made | FAILED |
| the server refuses it for good (5xx) | FAILED |
| the server refuses it for now (4xx) or is away | tried again, with growing waits; FAILED after two days |
| each worker that has it dies | FAILED after as many attempts |
"""

import logging
import smtplib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from os import cpu_count, getloadavg
from time import monotonic, sleep, thread_time

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import InterfaceError, OperationalError

from mail.composing import compose, one_line
from mail.models import Mail
from ticketbook.postgres import clock
from ticketbook.postgres.statements import columns, execute, rows_of

logger = logging.getLogger(__name__)

AT_ONCE = 10
NO_NEW_ONE_AFTER = 20  # seconds; the rest of the batch is left for the next one
# Longer than a batch can take. A server has EMAIL_TIMEOUT for each answer: six to open the connection and log
# in, four for the last mail. Files take no time.
CLAIM = timedelta(
    seconds=NO_NEW_ONE_AFTER + 10 * (settings.EMAIL_TIMEOUT if settings.EMAIL_URL else 1)
)

IDLE_SHARE = (
    0.5  # of a processor core, for each process that sends, while the machine has little to do
)
BUSY = 0.75  # of the processor cores: the load above which only EMAIL_SHARE of one is used
LONGEST_PAUSE = 1  # second; the first mail of a process takes longest

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=1)
GIVE_UP = timedelta(days=2)
LOG_IN_REFUSED = {530, 534, 535, 538}  # 5xx that say nothing about the mail


def _waits() -> Iterator[timedelta]:
    waited, wait = timedelta(0), FIRST_WAIT
    while waited < GIVE_UP:
        yield wait
        waited += wait
        wait = min(2 * wait, LONGEST_WAIT)


WAITS = list(_waits())  # after each attempt

CLAIM_DUE = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM mail_mail WHERE status = 'WAITING' AND next_attempt_at <= %(now)s
    ORDER BY next_attempt_at LIMIT {AT_ONCE} FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE mail_mail mail SET next_attempt_at = %(until)s, attempts = attempts + 1
FROM due WHERE mail.id = due.id
RETURNING {columns(Mail, "mail")}
"""


def send_due(*, now: datetime) -> bool:
    """Send some of the mails that are due. Returns whether to go on: there may be more, and a server."""
    mails, server = claim(now=now), get_connection()
    no_new_one_after = monotonic() + NO_NEW_ONE_AFTER
    for number, mail in enumerate(mails):
        if monotonic() > no_new_one_after:
            _release(mails[number:])
            break
        began = thread_time()
        message = _message(mail)
        if message and not _send(mail, message, server, others=mails[number + 1 :]):
            return False
        sleep(_pause(thread_time() - began))
    with suppress(OSError):
        server.close()
    return bool(mails)


def _pause(worked: float) -> float:
    """How long to pause after so many seconds of processor time."""
    is_busy = getloadavg()[0] > BUSY * (cpu_count() or 1)
    share = settings.EMAIL_SHARE if is_busy else max(IDLE_SHARE, settings.EMAIL_SHARE)
    return min(worked * (1 / share - 1), LONGEST_PAUSE)


def claim(*, now: datetime) -> list[Mail]:
    # The attempt counts from here, so that a mail which kills its worker is given up in the end.
    claimed = rows_of(Mail, execute(CLAIM_DUE, {"now": now, "until": now + CLAIM}))
    return sorted(claimed, key=lambda mail: mail.pk)


def _message(mail: Mail) -> EmailMessage | None:
    if mail.attempts > len(WAITS) + 1:  # none of them came to an end
        _fail(mail, "Given up, because the worker died each time that it had this mail.")
        return None
    try:
        message = compose(mail)
    except (OperationalError, InterfaceError) as exc:  # the database, not the words
        _put_off(mail, repr(exc))
        return None
    except Exception as exc:
        logger.exception("The mail %s could not be written", mail.pk)
        _fail(mail, f"{type(exc).__name__}: {exc}")
        return None
    if message is None:
        _note(mail, status=Mail.Status.SKIPPED, last_error="")
    return message


def _send(
    mail: Mail, message: EmailMessage, server: BaseEmailBackend, *, others: Sequence[Mail]
) -> bool:
    """Send one mail. Returns whether the server is there for the others."""
    try:
        server.open()  # unless it is
    except (OSError, ValueError) as exc:
        refusal = Refusal.of(exc)
        for each in (mail, *others):
            _put_off(each, refusal.words)
        return False
    try:
        deliver(server, message)
    except (OSError, ValueError) as exc:
        refusal = Refusal.of(exc)
        (_fail if refusal.is_final else _put_off)(mail, refusal.words)
        if refusal.ends_connection:
            _release(others)
            return False
    else:
        _note(mail, status=Mail.Status.SENT, sent_at=clock.now(), last_error="")
    return True


def deliver(server: BaseEmailBackend, message: EmailMessage) -> None:
    """Returns when the server has accepted the mail. Raises OSError and ValueError, as Refusal reads them."""
    server.send_messages([message])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a mail was not sent, as SMTP says it."""

    words: str
    is_final: bool = False
    ends_connection: bool = False

    @classmethod
    def of(cls, exc: Exception) -> "Refusal":
        if isinstance(exc, smtplib.SMTPRecipientsRefused):
            return cls._of_code(*next(iter(exc.recipients.values())))
        if isinstance(exc, smtplib.SMTPResponseException):
            return cls._of_code(exc.smtp_code, exc.smtp_error)
        # An address that no server can be told (ValueError), or a server that is away.
        is_address = isinstance(exc, (ValueError, smtplib.SMTPNotSupportedError))
        words = f"{type(exc).__name__}: {exc}"
        return cls(words, is_final=is_address, ends_connection=not is_address)

    @classmethod
    def _of_code(cls, code: int, said: bytes | str) -> "Refusal":
        words = said.decode(errors="replace") if isinstance(said, bytes) else said
        final = 500 <= code < 600 and code not in LOG_IN_REFUSED
        # 421: the server closes. Others than these two hundreds are no answers of SMTP.
        return cls(f"{code} {words}", final, code == 421 or not 400 <= code < 600)


def _put_off(mail: Mail, why: str) -> None:
    if mail.attempts > len(WAITS):
        _fail(mail, f"Given up after two days. The last answer was: {why}")
        return
    at = clock.now() + WAITS[mail.attempts - 1]
    _note(mail, claimed=True, next_attempt_at=at, last_error=_shown(why))


def _fail(mail: Mail, why: str) -> None:
    logger.error("The mail %s to %s failed: %s", mail.pk, mail.address, _shown(why))
    _note(mail, claimed=True, status=Mail.Status.FAILED, last_error=_shown(why))


def _release(mails: Sequence[Mail]) -> None:
    """These were not tried, so they stay as they were."""
    for mail in mails:
        _note(mail, claimed=True, next_attempt_at=clock.now(), attempts=mail.attempts - 1)


def _note(mail: Mail, *, claimed: bool = False, **state: object) -> None:
    rows = Mail.objects.waiting().filter(pk=mail.pk)
    if claimed:  # unless the claim has run out, and another worker has it
        rows = rows.filter(next_attempt_at=mail.next_attempt_at)
    rows.update(**state)


def _shown(why: str) -> str:
    return one_line(why)[:1000]
