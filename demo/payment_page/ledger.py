"""What the payment page knows: payments, captures, refunds and events, in a sqlite file.

Amounts are whole cents. All methods run on the event loop, since a statement takes some ten microseconds.
"""

import secrets
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS payment (
    key TEXT PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('open', 'paid', 'declined', 'cancelled')),
    cents INTEGER,  -- NULL: cancelled before it was begun
    currency TEXT NOT NULL,
    description TEXT NOT NULL,
    return_url TEXT NOT NULL,
    slow INTEGER NOT NULL DEFAULT 0,  -- the customer has paid by a slow bank
    capture_at REAL  -- when the slow bank captures
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS payment_capture_at ON payment (capture_at) WHERE capture_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS capture (
    payment TEXT PRIMARY KEY REFERENCES payment,
    cents INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refund (
    key TEXT PRIMARY KEY,
    payment TEXT NOT NULL REFERENCES capture,
    cents INTEGER NOT NULL CHECK (cents > 0)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refund_payment ON refund (payment);
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY,  -- in the order in which they happened
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    payment TEXT NOT NULL REFERENCES payment,
    created_at REAL NOT NULL,
    due_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    doubled INTEGER NOT NULL,  -- it is sent twice
    held INTEGER NOT NULL,  -- it is sent after the next one
    lost INTEGER NOT NULL,  -- it is never sent, or no longer
    delivered_at REAL
);
CREATE INDEX IF NOT EXISTS event_pending ON event (due_at) WHERE delivered_at IS NULL AND NOT lost;
CREATE INDEX IF NOT EXISTS event_held ON event (number) WHERE held;
"""

PAYMENT = "key, reference, state, cents, currency, description, return_url, slow"
EVENTS = {"paid": "succeeded", "declined": "declined", "cancelled": "cancelled"}
SLOW_BANK = 1.0  # seconds after the merchant's cancel


class Conflict(Exception):
    """This key was used before, for something else."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Refused(Exception):
    """Its message says why there can be no such refund."""


@dataclass(frozen=True, slots=True)
class Payment:
    key: str
    reference: str
    state: str
    cents: int | None
    currency: str
    description: str
    return_url: str
    slow: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an event's webhook on its way."""

    delay: float = 0  # seconds
    lost: bool = False
    doubled: bool = False
    held: float = 0  # seconds that it waits for the next event at most


@dataclass(frozen=True, slots=True)
class Webhook:
    """An event that has to be sent."""

    number: int
    id: str
    type: str
    payment: str
    created_at: float
    attempts: int
    doubled: int


class Ledger:
    def __init__(self, path: Path | str, fate: Callable[[], Fate]) -> None:
        self.fate = fate
        self.db = sqlite3.connect(path, isolation_level=None)
        # Tests and people read the file while we write.
        self.db.execute("PRAGMA journal_mode = WAL")
        # With OFF, what was written survives this process but not a power cut. No real money is at stake,
        # and a benchmark begins a thousand payments a second.
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("PRAGMA foreign_keys = ON")
        self.db.executescript(SCHEMA)

    def close(self) -> None:
        self.db.close()

    # --- Payments ---------------------------------------------------------------------------------

    def begin(
        self, *, key: str, cents: int, currency: str, description: str, return_url: str
    ) -> Payment:
        """The payment under this key, new or not. Raises Conflict if it has another amount."""
        # A payment that was cancelled before stays so. It learns what it would have been for.
        self.db.execute(
            "INSERT INTO payment (key, reference, state, cents, currency, description, return_url) "
            "VALUES (?, ?, 'open', ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET cents = excluded.cents, "
            "currency = excluded.currency, description = excluded.description, "
            "return_url = excluded.return_url WHERE cents IS NULL",
            [key, _new_reference(), cents, currency, description, return_url],
        )
        payment = self.find(key)
        if payment is None or (payment.cents, payment.currency) != (cents, currency):
            raise Conflict
        return payment

    def find(self, key: str) -> Payment | None:
        return self._payment("key = ?", key)

    def find_by_reference(self, reference: str) -> Payment | None:
        return self._payment("reference = ?", reference)

    def pay(self, key: str, *, now: float) -> bool:
        """Capture the money. False if the payment is not open any more; then nothing happens."""
        with self._transaction():
            if self._close(key, "paid", now=now):
                self._capture(key)
                return True
            return False

    def decline(self, key: str, *, now: float) -> bool:
        with self._transaction():
            return self._close(key, "declined", now=now)

    def pay_slowly(self, key: str) -> None:
        # The payment stays open, and the money moves only when the merchant does not expect it any more.
        self.db.execute("UPDATE payment SET slow = 1 WHERE key = ? AND state = 'open'", [key])

    def cancel(self, key: str, *, now: float) -> str:
        """The payment's state afterwards: cancelled, unless the customer was faster."""
        with self._transaction():
            self.db.execute(
                "INSERT INTO payment (key, reference, state, currency, description, return_url) "
                "VALUES (?, ?, 'open', '', '', '') ON CONFLICT DO NOTHING",
                [key, _new_reference()],
            )
            if self._close(key, "cancelled", now=now):
                self.db.execute(
                    "UPDATE payment SET capture_at = ? WHERE key = ? AND slow",
                    [now + SLOW_BANK, key],
                )
            row = self.db.execute("SELECT state FROM payment WHERE key = ?", [key]).fetchone()
        return str(row[0])

    def capture_slow_payments(self, *, now: float) -> bool:
        """Capture the cancelled payments whose slow bank answers by now. True if there were any."""
        due = self.db.execute("SELECT key FROM payment WHERE capture_at <= ?", [now]).fetchall()
        for (key,) in due:
            with self._transaction():
                self.db.execute(
                    "UPDATE payment SET state = 'paid', capture_at = NULL WHERE key = ?", [key]
                )
                self._capture(key)
                self._record(key, "paid", now=now)
        return bool(due)

    def refund(self, *, key: str, payment: str, cents: int) -> None:
        """Raises Refused, or Conflict if the key was used for another refund."""
        with self._transaction():
            first = self.db.execute(
                "SELECT payment, cents FROM refund WHERE key = ?", [key]
            ).fetchone()
            if first == (payment, cents):
                return
            if first:
                raise Conflict
            captured = self._one("SELECT cents FROM capture WHERE payment = ?", payment)
            if captured is None:
                raise Refused("This payment is not paid.")
            refunded = self._one(
                "SELECT coalesce(sum(cents), 0) FROM refund WHERE payment = ?", payment
            )
            if refunded + cents > captured:
                raise Refused("The refunds would be more than what was paid.")
            self.db.execute("INSERT INTO refund VALUES (?, ?, ?)", [key, payment, cents])

    # --- Webhooks ---------------------------------------------------------------------------------

    def due_webhooks(self, *, now: float, most: int) -> list[Webhook]:
        rows = self.db.execute(
            "SELECT number, id, type, payment, created_at, attempts, doubled FROM event "
            "WHERE delivered_at IS NULL AND NOT lost AND due_at <= ? ORDER BY due_at, number LIMIT ?",
            [now, most],
        )
        return [Webhook(*row) for row in rows]

    def next_due(self, *, after: float) -> float | None:
        due: float | None = self._one(
            "SELECT min(due_at) FROM event WHERE delivered_at IS NULL AND NOT lost AND due_at > ?",
            after,
        )
        return due

    def sent(self, webhook: Webhook, *, now: float, again_at: float | None) -> None:
        """An attempt is over. again_at: when to try again, if it failed. None: it was delivered."""
        with self._transaction():
            self.db.execute(
                "UPDATE event SET attempts = attempts + 1, held = 0, due_at = coalesce(?, due_at), "
                "delivered_at = ? WHERE number = ?",
                [again_at, None if again_at else now, webhook.number],
            )
            self.db.execute(
                "UPDATE event SET held = 0, due_at = ? WHERE held AND number < ?",
                [now, webhook.number],
            )

    def give_up(self, webhook: Webhook) -> None:
        self.db.execute("UPDATE event SET lost = 1 WHERE number = ?", [webhook.number])

    # --- What the above is made of ----------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def _close(self, key: str, state: str, *, now: float) -> bool:
        # Of several that want to close a payment, the first one does.
        closed = self.db.execute(
            "UPDATE payment SET state = ? WHERE key = ? AND state = 'open'", [state, key]
        )
        if closed.rowcount:
            self._record(key, state, now=now)
        return bool(closed.rowcount)

    def _capture(self, key: str) -> None:
        self.db.execute("INSERT INTO capture SELECT key, cents FROM payment WHERE key = ?", [key])

    def _record(self, key: str, state: str, *, now: float) -> None:
        fate = self.fate()
        # If one is held already, this one is sent, and so that one follows it.
        held = fate.held and not self._one("SELECT 1 FROM event WHERE held LIMIT 1")
        due = now + fate.delay + (fate.held if held else 0)
        self.db.execute(
            "INSERT INTO event (id, type, payment, created_at, due_at, doubled, held, lost) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                f"evt_{uuid.uuid4().hex}",
                f"payment.{EVENTS[state]}",
                key,
                now,
                due,
                fate.doubled,
                bool(held) and not fate.lost,
                fate.lost,
            ],
        )

    def _payment(self, condition: str, value: str) -> Payment | None:
        row = self.db.execute(
            f"SELECT {PAYMENT} FROM payment WHERE {condition}", [value]
        ).fetchone()
        return Payment(*row) if row else None

    def _one(self, sql: str, *values: object) -> Any:
        row = self.db.execute(sql, values).fetchone()
        return row[0] if row else None


def _new_reference() -> str:
    return f"pay_{secrets.token_urlsafe(18)}"
