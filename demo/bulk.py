"""A large catalogue for measuring, made inside the database.

This module writes bookings, their returns and refunds, and counters without the verbs, because a million
bookings one by one take an hour. The counters change in the same transaction, by as many tickets as its
bookings hold. That transaction locks the tables, so nobody else books while it runs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from accounts.models import User
from backoffice import days
from bookings.gateways import named
from bookings.models import Booking
from concerts.models import Concert
from ticketbook.copies.store import forget

# These tell the rows of the large catalogue from all others.
CONCERT_NAME = "Catalogue Night "
CUSTOMER_DOMAIN = "@catalogue.example"

BOOKINGS_PER_CUSTOMER = 100
BATCH = 50_000  # bookings of one statement, and so of one step of the progress bar

Progress = Callable[[int], object]


def load_bulk(*, concerts: int, bookings: int, progress: Progress = lambda rows: None) -> None:
    """Fill the large catalogue up to this many concerts, with three tiers each, and bookings.

    What exists counts, so a second load adds nothing. It adds everything or nothing. `progress` gets the
    number of bookings of each step.
    """
    customers = max(1, bookings // BOOKINGS_PER_CUSTOMER)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = 0")  # this is not a request, so it may wait
        missing = bookings - have_bookings()
        cursor.execute(NEW_CONCERTS, {"first": have_concerts() + 1, "last": concerts})
        cursor.execute(NEW_CUSTOMERS, {"first": have_customers() + 1, "last": customers})
        progress(bookings - max(missing, 0))
        if missing > 0:
            _add_bookings(cursor, missing, progress)
            days.forget()  # they are in the past, which may have been counted
        transaction.on_commit(forget)


def have_concerts() -> int:
    return Concert.objects.filter(name__startswith=CONCERT_NAME).count()


def have_customers() -> int:
    return User.objects.filter(email__endswith=CUSTOMER_DOMAIN).count()


def have_bookings() -> int:
    return Booking.objects.filter(user__email__endswith=CUSTOMER_DOMAIN).count()


def vacuum() -> None:
    # Statistics and visibility maps are up to date at once. Autovacuum would take a while.
    with connection.cursor() as cursor:
        cursor.execute(
            "VACUUM (ANALYZE) accounts_user, concerts_concert, concerts_tickettier, "
            "bookings_booking, bookings_refund, bookings_return"
        )


def _add_bookings(cursor: CursorWrapper, missing: int, progress: Progress) -> None:
    cursor.execute("SELECT setseed(0.5)")
    cursor.execute(NUMBERED)
    with _indexed_afterwards(cursor):
        for start in range(0, missing, BATCH):
            rows = min(BATCH, missing - start)
            # The oldest first, so that ids, times and rows are in the same order, as on a real site.
            size = {"rows": rows, "to_come": missing - start, "all": missing}
            cursor.execute(NEW_BOOKINGS, size | {"gateway": named.default()})
            progress(rows)
    cursor.execute(TAKE_TICKETS)


@contextmanager
def _indexed_afterwards(cursor: CursorWrapper) -> Iterator[None]:
    """Check foreign keys and build indexes once, after the block. That takes a third of the time.

    Other transactions never see the tables without them.
    """
    # A table whose foreign keys wait to be checked cannot be altered.
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    cursor.execute(INDEXES_AND_KEYS)
    drop, create = zip(*cursor.fetchall(), strict=True)
    cursor.execute("; ".join(drop))
    yield
    # Foreign keys are checked by a join. With the statistics of an empty table it would take minutes.
    cursor.execute(
        "ANALYZE accounts_user, concerts_tickettier, bookings_booking, bookings_refund, bookings_return"
    )
    cursor.execute("SET LOCAL maintenance_work_mem = '128MB'")
    cursor.execute("; ".join(create))


# Of four tiers one keeps a tenth of its tickets back.
NEW_CONCERTS = f"""
WITH concert AS (
    INSERT INTO concerts_concert
        (name, artist, venue, time_zone, date, status, created_at, updated_at)
    SELECT '{CONCERT_NAME}' || i, 'Ensemble ' || i %% 500, 'Hall ' || i %% 200,
           ('{{Europe/Berlin,America/New_York,Asia/Tokyo,Australia/Sydney}}'::text[])[1 + i %% 4],
           now() + (7 + i %% 365) * interval '1 day', 'PUBLISHED', now() - interval '31 days', now()
    FROM generate_series(%(first)s, %(last)s) i
    RETURNING id, created_at
), size (tier_type, price, low, high) AS (
    VALUES ('VIP', 100, 10, 100), ('FRONT_ROW', 50, 100, 200), ('GA', 10, 1000, 2000)
), tier AS MATERIALIZED (
    SELECT concert.*, tier_type, price, random(low, high) AS total, random(1, 4) = 1 AS keeps
    FROM concert, size
)
INSERT INTO concerts_tickettier
    (concert_id, tier_type, price, total_quantity, kept_back, available_quantity, created_at, updated_at)
SELECT id, tier_type, price, total, kept, total - kept, created_at, now()
FROM tier, LATERAL (SELECT CASE WHEN keeps THEN total / 10 ELSE 0 END) AS back (kept)
"""

NEW_CUSTOMERS = f"""
INSERT INTO accounts_user
    (email, name, public_id, password, is_active, is_staff, is_superuser, date_joined)
SELECT 'visitor' || i || '{CUSTOMER_DOMAIN}', 'Visitor ' || i,
       'user_' || replace(gen_random_uuid()::text, '-', ''), '!', true, false, false,
       now() - interval '31 days'
FROM generate_series(%(first)s, %(last)s) i
"""

# Tiers and customers with numbers from 1, to draw from at random.
NUMBERED = f"""
CREATE TEMP TABLE bulk_tier ON COMMIT DROP AS
    SELECT tier.id, price, tier_type, row_number() OVER (PARTITION BY tier_type ORDER BY tier.id) AS n
    FROM concerts_tickettier tier JOIN concerts_concert concert ON concert.id = concert_id
    WHERE name LIKE '{CONCERT_NAME}%';
CREATE TEMP TABLE bulk_customer ON COMMIT DROP AS
    SELECT id, row_number() OVER (ORDER BY id) AS n
    FROM accounts_user WHERE email LIKE '%{CUSTOMER_DOMAIN}';
CREATE TEMP TABLE bulk_held (tier_id uuid, tickets integer) ON COMMIT DROP;
ANALYZE bulk_tier, bulk_customer
"""

# Of ten tickets one is VIP and two are front row. Of the bookings 82 % are confirmed, 8 % cancelled and 10 %
# declined. None is a hold, because the resolver would take it. 2 % of all are free, and of 6 % a few tickets
# were returned, unless they are of one ticket. All refunds were sent. Nobody is mailed (BEFORE_TICKETS).
NEW_BOOKINGS = """
WITH draw AS MATERIALIZED (
    SELECT now() - (%(to_come)s - i) * interval '720 hours' / %(all)s AS at,
           random(1, (SELECT max(n) FROM bulk_customer)) AS customer_n,
           random(1, (SELECT max(n) FROM bulk_tier)) AS tier_n,
           ('{VIP,FRONT_ROW,FRONT_ROW,GA,GA,GA,GA,GA,GA,GA}'::text[])[random(1, 10)] AS tier_type,
           1 + floor(6 * random() * random())::int AS quantity,
           random(1, 100) AS fate
    FROM generate_series(1, %(rows)s) i
), sale AS (
    SELECT draw.*, tier.id AS tier_id, customer.id AS user_id, fate <= 2 AS free,
           CASE WHEN fate <= 2 THEN 0 ELSE price END AS price,
           CASE WHEN fate BETWEEN 77 AND 82 THEN least(1 + fate %% 3, quantity - 1)
                WHEN fate BETWEEN 83 AND 90 THEN quantity ELSE 0 END AS returned
    FROM draw
    JOIN bulk_tier tier ON tier.n = tier_n AND tier.tier_type = draw.tier_type
    JOIN bulk_customer customer ON customer.n = customer_n
), made AS (
    INSERT INTO bookings_booking
        (id, created_at, updated_at, hold_expires_at, fulfilled_at, user_id, ticket_tier_id, idempotency_key,
         quantity, unit_price, total_price, returned_quantity, refunded_total, gateway, source,
         status, payment_status, failure_reason)
    SELECT uuidv7(at - now()), at, at, at, 'epoch', user_id, tier_id, gen_random_uuid(),
           quantity, price, price * quantity, returned, price * returned,
           CASE WHEN free THEN 'none' ELSE %(gateway)s END,
           CASE WHEN NOT free THEN 'ONLINE' WHEN fate = 1 THEN 'HOUSE' ELSE 'ARTIST' END,
           CASE WHEN fate <= 82 THEN 'CONFIRMED' WHEN fate <= 90 THEN 'CANCELLED' ELSE 'FAILED' END,
           CASE WHEN fate <= 82 THEN 'SUCCESS' WHEN fate <= 90 THEN 'REFUNDED' ELSE 'FAILED' END,
           CASE WHEN fate <= 90 THEN '' ELSE 'DECLINED' END
    FROM sale
    RETURNING *
), refund AS (
    INSERT INTO bookings_refund (id, booking_id, amount, tickets, reason, status, created_at, sent_at)
    SELECT uuidv7(created_at - now()), id, refunded_total, returned_quantity,
           CASE WHEN status = 'CANCELLED' THEN 'CANCELLED' ELSE 'PART' END, 'SENT', created_at, created_at
    FROM made WHERE returned_quantity > 0
    RETURNING *
), back AS (
    INSERT INTO bookings_return (id, booking_id, tickets, refund_id, created_at)
    SELECT uuidv7(created_at - now()), booking_id, tickets, id, created_at FROM refund
)
INSERT INTO bulk_held
SELECT ticket_tier_id, quantity - returned_quantity FROM made WHERE status = 'CONFIRMED'
"""

# A tier that is too small for its bookings grows, and is sold out.
TAKE_TICKETS = """
UPDATE concerts_tickettier
SET total_quantity = total_quantity + greatest(tickets - available_quantity, 0),
    available_quantity = greatest(available_quantity - tickets, 0),
    updated_at = now()
FROM (SELECT tier_id, sum(tickets)::integer AS tickets FROM bulk_held GROUP BY tier_id) AS held
WHERE id = tier_id
"""

TABLES = "('bookings_booking'::regclass, 'bookings_refund'::regclass, 'bookings_return'::regclass)"

INDEXES_AND_KEYS = f"""
SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname),
       format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s',
              conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint
WHERE conrelid IN {TABLES} AND contype IN ('f', 'u')
UNION ALL
SELECT format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index
WHERE indrelid IN {TABLES}
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
""".replace("%%", "%")
