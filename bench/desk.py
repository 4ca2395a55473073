"""make bench-desk: how long the pages of the back office take with a million bookings, and with what queries.

The large site of the other benchmarks gets tickets and mails too. Each page is asked for a few times, through
all of Django but without a network. QUICK=1 has a hundred thousand bookings.
"""

import os
import statistics
import time
from typing import TYPE_CHECKING

from bench.site import LARGE

if TYPE_CHECKING:
    from django.test import Client

CONCERTS, BOOKINGS = (1_000, 100_000) if os.environ.get("QUICK") else (10_000, 1_000_000)
TIMES = 7
LIMIT = 500  # milliseconds
STAFF = "staff@example.com"  # load_demo makes this superuser

# For each paid booking a mail and its tickets, unless that was done before.
TICKETS = """
INSERT INTO tickets_ticket (id, booking_id, number, code)
SELECT uuidv7(), id, number, translate(overlay(overlay(
           upper(substr(md5(id::text || number), 1, 11)) PLACING '-' FROM 5 FOR 0) PLACING '-' FROM 10 FOR 0),
           'ILOU', '1100')
FROM bookings_booking, generate_series(1, quantity) AS number
WHERE status IN ('CONFIRMED', 'CANCELLED') AND NOT EXISTS (SELECT FROM tickets_ticket) ORDER BY id
ON CONFLICT DO NOTHING
"""
MAILS = """
INSERT INTO mail_mail (id, kind, about, key, address, status, message_id, made_at, sent_at)
SELECT uuidv7(booking.created_at - now()), 'tickets', booking.id, 'tickets ' || booking.id, email, 'SENT',
       '<' || booking.id || '@example.com>', booking.created_at, booking.created_at
FROM bookings_booking booking JOIN accounts_user customer ON customer.id = user_id
WHERE booking.status IN ('CONFIRMED', 'CANCELLED') AND NOT EXISTS (SELECT FROM tickets_ticket)
ORDER BY booking.id
ON CONFLICT DO NOTHING
"""

# As if each booking had been a guest's before.
SLIPS = """
INSERT INTO bookings_guestslip (id, address, idempotency_key, name, booking_id)
SELECT uuidv7(), email, idempotency_key, 'Guest ' || substr(md5(booking.id::text), 1, 12), booking.id
FROM bookings_booking booking JOIN accounts_user customer ON customer.id = user_id
WHERE NOT EXISTS (SELECT FROM bookings_guestslip)
ON CONFLICT DO NOTHING
"""

LISTS = [
    *("concerts/concert", "concerts/tickettier", "bookings/booking", "bookings/refund"),
    *("tickets/ticket", "mail/mail", "bookings/paymentevent", "accounts/user", "auth/group"),
    *("backoffice/audit", "backoffice/difference", "procrastinate/procrastinatejob"),
    *("procrastinate/procrastinateperiodicdefer", "knox/authtoken", "accounts/session"),
    *("accounts/attempts", "admin/logentry"),
]
CUSTOMER = "visitor77@catalogue.example"
SEARCHES = [
    *("bookings/booking/?p=200", f"bookings/booking/?q={CUSTOMER}", "bookings/booking/?q=visitor"),
    *("bookings/booking/?q=nobody", "bookings/booking/?needs=overdue"),
    *("bookings/booking/?status__exact=FAILED", "bookings/booking/?payment_status__exact=PENDING"),
    *("bookings/booking/?source__exact=DOOR", "bookings/booking/?failure_reason__exact=EXPIRED"),
    *("bookings/booking/?gateway=cash", "bookings/refund/?needs=refused"),
    *(f"bookings/refund/?q={CUSTOMER}", "bookings/refund/?reason__exact=LATE"),
    *(
        f"tickets/ticket/?q={CUSTOMER}",
        "tickets/ticket/?q=0000-0000-000",
        f"mail/mail/?q={CUSTOMER}",
    ),
    *("mail/mail/?needs=failed", "mail/mail/?kind=news", "bookings/paymentevent/?needs=alerts"),
    *(
        "concerts/concert/?q=night",
        "concerts/concert/?needs=undescribed",
        "concerts/tickettier/?q=77",
    ),
    f"accounts/user/?q={CUSTOMER}",
]
PAGES = ["", "sells-now/", *(f"{each}/" for each in LISTS), *SEARCHES]


def main() -> None:
    LARGE.fill(concerts=CONCERTS, bookings=BOOKINGS)
    os.environ |= LARGE.environment
    import django

    django.setup()
    client = _prepared()
    print(f"\n{BOOKINGS:,} bookings; {TIMES} times each, in milliseconds\n")
    print(f"{'page':<52}{'queries':>8}{'median':>8}{'most':>8}")
    pages = [*PAGES, *_pages_of_a_booking()]
    slow = [page for page in pages if _time(client, f"/admin/{page}") > LIMIT]
    if slow:
        raise SystemExit(f"Slower than {LIMIT} ms: {', '.join(f'/admin/{page}' for page in slow)}")


def _prepared() -> "Client":
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from accounts.models import User
    from backoffice.days import close_days
    from demo import staging
    from ticketbook import statics
    from ticketbook.postgres import clock

    call_command("migrate", verbosity=0)  # the site may have been filled by an older version
    staging.load_demo(now=clock.ask())
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")  # autovacuum may be at work
        cursor.execute(f"{MAILS}; {TICKETS}; {SLIPS}")
        cursor.execute("VACUUM ANALYZE")
    begin = time.monotonic()
    closed = close_days(clock.ask())
    print(f"{closed} days were counted and closed in {time.monotonic() - begin:.1f} s.")
    statics.make_fresh()
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(User.objects.get(email=STAFF))
    return client


def _pages_of_a_booking() -> list[str]:
    """How one booking is found and shown, and the filters of the list that name something."""
    from bookings.models import Booking

    booking = Booking.objects.filter(status="CONFIRMED").order_by("pk")[BOOKINGS // 4]
    concert, tier = booking.ticket_tier.concert_id, booking.ticket_tier_id
    code = booking.tickets.order_by("number")[0].code
    listed, day = "bookings/booking/", f"{booking.created_at:%Y-%m-%d}"
    return [
        *(
            f"{listed}?q={text}"
            for text in (booking.number, booking.pk, code, "guest+00a", "night")
        ),
        *(f"{listed}?booked={text}" for text in ("today", "week", "month", day)),
        f"{listed}?concert={concert}",
        f"{listed}?concert={concert}&tier={tier}&status__exact=CANCELLED",
        f"{listed}?booked=month&status__exact=FAILED&source__exact=DOOR",
        f"{listed}{booking.pk}/change/",
        f"{listed}{booking.pk}/cancel/",
        f"{listed}{booking.pk}/change-address/",
    ]


def _time(client: "Client", url: str) -> float:
    """Returns the median of some times, in milliseconds."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:  # not timed: the first one warms up
        answer = client.get(url)
        number = len(queries)
    assert answer.status_code == 200, f"{url}: {answer.status_code}"
    times = []
    for _ in range(TIMES):
        begin = time.monotonic()
        client.get(url)
        times.append((time.monotonic() - begin) * 1000)
    median = statistics.median(times)
    print(f"{url:<52}{number:>8}{median:>8.0f}{max(times):>8.0f}", flush=True)
    return median


if __name__ == "__main__":
    main()
