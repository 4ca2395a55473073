"""Slows down whoever guesses or floods. For log-in, sign-up, and whatever mails or looks up a secret.

Count an attempt before the work is done, so that attempts at the same moment cannot pass together:

    throttle.count(*throttle.by_address("sign-up", settings.SIGNUPS_PER_ADDRESS, request))

This raises Throttled, which the API and the pages answer with 429 and Retry-After. If only failures should
count, `take_back` what was counted when the attempt succeeds. `count_mail` counts a mail that
anybody can have sent to any address.

The counts are rows of PostgreSQL, which all processes share. An attempt adds one to its count, and the count
loses one after every `forget` seconds. Nobody is locked out for good: beyond the limit an attempt has to
wait, and one that comes too early changes nothing.
"""

import logging
from collections.abc import Iterable
from contextlib import nullcontext
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from rest_framework.request import Request

from ticketbook.client_address import Address, client_address, one_address, one_network
from ticketbook.errors import Throttled
from ticketbook.postgres.failures import is_busy
from ticketbook.postgres.statements import execute_prepared

FIRST_WAIT = 2.0  # seconds; each further failure doubles it
OF_A_NETWORK = 4  # a network may do so many times what an address may
MAILS_TO_ONE = 3  # or about one booking; then the waits grow, up to an hour
HOUR = 3600.0  # seconds

logger = logging.getLogger(__name__)


class Counted(NamedTuple):
    """What an attempt counts against, and how: times are in seconds."""

    key: str
    limit: int
    forget: float
    first_wait: float
    longest_wait: float


def key_of(*parts: str) -> str:
    # A digest: the table need not tell who tried to log in from where, and any text has the same length.
    return salted_hmac("accounts.throttle", "\0".join(parts), algorithm="sha256").hexdigest()


def by_account(what: str, *account: str, failures: int, longest: float) -> list[Counted]:
    """After so many attempts the waits grow, up to `longest` seconds. No limit if `failures` is 0."""
    if not failures:
        return []
    return [Counted(key_of(what, *account), failures, longest, min(FIRST_WAIT, longest), longest)]


def by_address(what: str, per_minute: int, request: HttpRequest | Request | None) -> list[Counted]:
    """Limits for the client's address, and four times as much for its network. `per_minute` 0: no limit."""
    address = request and client_address(request)
    return of_address(what, per_minute, address) if address and per_minute else []


def of_address(what: str, per_minute: int, address: Address) -> list[Counted]:
    limits = (one_network(address), OF_A_NETWORK * per_minute), (one_address(address), per_minute)
    return [Counted(key_of(what, str(place)), limit, *[60 / limit] * 3) for place, limit in limits]


def count(*attempt: Counted) -> None:
    """Count one attempt in all of these counts, or in none of them. Raises Throttled.

    Name the counts of addresses before that of the account, because only they can be taken back.
    """
    done: list[Counted] = []
    for counted in attempt:
        if wait := _count(counted):
            take_back(*done)
            raise Throttled(wait)
        done.append(counted)


def count_mail(request: HttpRequest, to: str) -> None:
    """Count a mail that somebody wants to have sent to an address. Raises Throttled."""
    address = by_account("mail", to, failures=MAILS_TO_ONE, longest=HOUR)
    count(*by_address("mail", settings.MAILS_PER_ADDRESS, request), *address)


def count_mail_about(what: str, row: UUID) -> None:
    """Count a mail that a customer wants to have sent once more about a booking. Raises Throttled."""
    count(Counted(key_of(what, str(row)), MAILS_TO_ONE, HOUR, HOUR, HOUR))


def take_back(*counted: Counted) -> None:
    """An attempt by these addresses does not count, for example because it succeeded."""
    for each in counted:
        _execute(TAKE_BACK, {"key": each.key, "forget": each.forget})


def forget(keys: Iterable[str]) -> int:
    """Forget all attempts. Returns how many of these keys had any."""
    return max(0, _rows(_execute(FORGET, {"keys": list(keys)})))


def remember(key: str, seconds: float) -> None:
    _execute(REMEMBER, {"key": key, "seconds": seconds})


def remembers(key: str) -> bool:
    """Whether `remember` was called for this key, and its time is not over."""
    return _rows(_execute(REMEMBERS, {"key": key})) > 0


COUNT = """
INSERT INTO accounts_attempts AS counted (key, forgotten_at, free_at)
VALUES (
    %(key)s,
    statement_timestamp() + make_interval(secs => %(forget)s::float8),
    CASE WHEN %(limit)s::float8 <= 1
        THEN statement_timestamp() + make_interval(secs => %(first_wait)s::float8) ELSE 'epoch' END
)
ON CONFLICT (key) DO UPDATE SET (forgotten_at, free_at) = (
    SELECT
        CASE WHEN early THEN counted.forgotten_at ELSE later END,
        -- Not the present time: an attempt that began just before this one, and waited for it, is not early.
        CASE WHEN early THEN counted.free_at
            WHEN number < %(limit)s::float8 THEN 'epoch'
            ELSE statement_timestamp() + make_interval(secs => least(%(longest_wait)s::float8,
                       %(first_wait)s::float8 * 2 ^ least(number - %(limit)s::float8, 30)))
        END
    FROM (SELECT
        counted.free_at > statement_timestamp() AS early,
        greatest(counted.forgotten_at, statement_timestamp())
            + make_interval(secs => %(forget)s::float8) AS later
    ) AS step, LATERAL (SELECT
        -- How many attempts are not forgotten, with this one. A part of one counts as one.
        ceil(extract(epoch FROM later - statement_timestamp())::float8 / %(forget)s::float8 - 1e-6) AS number
    ) AS level
)
RETURNING extract(epoch FROM old.free_at - statement_timestamp())::float8
"""

TAKE_BACK = """
UPDATE accounts_attempts SET
    forgotten_at = forgotten_at - make_interval(secs => %(forget)s::float8),
    free_at = free_at - make_interval(secs => %(forget)s::float8)
WHERE key = %(key)s
"""

FORGET = "DELETE FROM accounts_attempts WHERE key = ANY(%(keys)s)"

REMEMBER = """
INSERT INTO accounts_attempts (key, forgotten_at, free_at)
VALUES (%(key)s, statement_timestamp() + make_interval(secs => %(seconds)s::float8), statement_timestamp())
ON CONFLICT (key) DO UPDATE SET forgotten_at = excluded.forgotten_at
"""

REMEMBERS = (
    "SELECT 1 FROM accounts_attempts WHERE key = %(key)s AND forgotten_at > statement_timestamp()"
)


def _count(counted: Counted) -> float:
    # Seconds to wait; 0 if the attempt was counted.
    cursor = _execute(COUNT, counted._asdict(), may_be_busy=True)
    wait = cursor.fetchone()[0] if cursor else None
    return max(0.0, wait or 0.0)


def _rows(cursor: CursorWrapper | None) -> int:
    return cursor.rowcount if cursor else 0


def _execute(
    sql: str, params: dict[str, object], *, may_be_busy: bool = False
) -> CursorWrapper | None:
    # A table that fails keeps nobody out who knows the password. But a row that too many count at once (busy)
    # is no way around the limit.
    # A caller's transaction survives the failure; but its rollback takes the count along.
    unharmed = transaction.atomic() if connection.in_atomic_block else nullcontext()
    try:
        with unharmed:
            return execute_prepared(sql, params)
    except (DatabaseError, InterfaceError) as exc:
        if may_be_busy and is_busy(exc):
            raise
        logger.error("Attempts cannot be counted (%s).", exc.__class__.__name__)
        return None
