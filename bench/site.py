"""The databases that the scenarios run on, with customers and concerts.

`python -m bench.site CONCERTS BOOKINGS` fills the database in DATA_DIR. `Site.fill` runs it in a process of
its own, because the settings of a process name only one database.
"""

import os
import secrets
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from ticketbook.postgres import clock

if TYPE_CHECKING:
    from accounts.models import User

CUSTOMERS = 5000
SESSIONS = 64  # customers who are logged in
READERS = 50  # customers who have bookings and look at them
BOOKINGS_OF_A_READER = 2

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("BENCH_HOME") or ".data/bench").absolute()


@dataclass(frozen=True)
class Site:
    """A site with a database of its own."""

    name: str

    @property
    def data_dir(self) -> Path:
        return HOME / self.name

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "ticketbook.settings",
            "DATABASE_URL": "",
            "DATA_DIR": str(self.data_dir),
        }

    def tokens(self) -> list[str]:
        """API tokens, each of another customer. The first READERS of them have bookings."""
        return self.words("tokens")

    def sessions(self) -> list[str]:
        """For each customer who is logged in: the session's id, a colon and a CSRF token."""
        return self.words("sessions")

    def words(self, name: str) -> list[str]:
        return (self.data_dir / f"bench-{name}").read_text().split()

    def fill(self, *, concerts: int, bookings: int) -> None:
        """Fill the database, unless it has been filled with these numbers and this schema before."""
        numbers, filled = [str(concerts), str(bookings)], self.data_dir / "bench-filled"
        wanted = " ".join([*numbers, *_newest_migrations()])
        if not (filled.exists() and filled.read_text() == wanted):
            shutil.rmtree(self.data_dir, ignore_errors=True)
            subprocess.run(
                [sys.executable, "-m", "bench.site", *numbers], env=self.environment, check=True
            )
            filled.write_text(wanted)

    def audit(self) -> list[str]:
        """Return what `manage.py audit_inventory` says if it fails, line by line; [] if all is well."""
        done = subprocess.run(
            [sys.executable, "manage.py", "audit_inventory"],
            env=self.environment,
            capture_output=True,
            text=True,
        )
        return [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()


def _newest_migrations() -> list[str]:
    """The newest migration of each app, such as "bookings/0010_paid_at"."""
    newest = {
        path.parts[-3]: f"{path.parts[-3]}/{path.stem}"
        for path in sorted(ROOT.glob("*/migrations/[0-9]*.py"))
    }
    return list(newest.values())


SMALL = Site("small")
# The whole large site takes long to fill, so QUICK=1 has a smaller one beside it.
LARGE = Site("large-quick" if os.environ.get("QUICK") else "large")


def new_tier(quantity: int = 10_000_000) -> uuid.UUID:
    # Every run sells a new tier, so that all runs start alike.

    from concerts import stock
    from concerts.models import Concert, TicketTier

    concert = Concert.objects.create(
        name=f"Bench {uuid.uuid4().hex[:8]}",
        artist="wrk",
        venue="127.0.0.1",
        date=clock.ask() + timedelta(days=900),
        status=Concert.Status.PUBLISHED,
    )
    tier = TicketTier(concert=concert, tier_type="GA", price=10, total_quantity=quantity)
    stock.stock_up(tier)
    tier.save()
    made: uuid.UUID = tier.pk
    return made


def as_superuser() -> psycopg.Connection[Any]:
    """A connection to the site's database with the right to reset statistics and make any extension."""
    from django.conf import settings

    from ticketbook.embedded.membership import join_as_superuser
    from ticketbook.embedded.roles import DATABASE

    return psycopg.connect(dbname=DATABASE, autocommit=True, **join_as_superuser(settings.DATA_DIR))


def _fill(concerts: int, bookings: int) -> None:
    from django.conf import settings
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("load_demo", concerts=concerts, bookings=bookings, stdout=sys.stderr)
    tokens = _new_customers(CUSTOMERS)
    sessions = [_new_session(token) for token in tokens[:SESSIONS]]
    _some_bookings(tokens[:READERS], new_tier())
    with as_superuser() as superuser:
        superuser.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        superuser.execute("VACUUM ANALYZE")
    for name, words in (("tokens", tokens), ("sessions", sessions)):
        (Path(settings.DATA_DIR) / f"bench-{name}").write_text("\n".join(words))


NEW_CUSTOMERS = """
WITH customer AS (
    INSERT INTO accounts_user
        (email, name, public_id, password, is_active, is_staff, is_superuser, date_joined)
    SELECT 'bench' || gen_random_uuid() || '@example.com', 'Bench',
           'user_' || replace(gen_random_uuid()::text, '-', ''), '!', true, false, false, now()
    FROM generate_series(1, %s) RETURNING id
), numbered AS (SELECT id, row_number() OVER () AS n FROM customer)
INSERT INTO knox_authtoken (digest, token_key, user_id, created, expiry)
SELECT (%s::text[])[n], (%s::text[])[n], id, now(), now() + interval '90 days' FROM numbered
"""


def _new_customers(count: int) -> list[str]:
    from django.db import connection
    from knox.crypto import hash_token

    tokens = [secrets.token_hex(32) for _ in range(count)]
    digests = [hash_token(token) for token in tokens]
    with connection.cursor() as cursor:
        cursor.execute(NEW_CUSTOMERS, [count, digests, [token[:15] for token in tokens]])
    return tokens


def _customer_of(token: str) -> "User":
    from knox.crypto import hash_token
    from knox.models import AuthToken

    user: User = AuthToken.objects.select_related("user").get(digest=hash_token(token)).user
    return user


def _new_session(token: str) -> str:
    # This is what Django's login() stores, written without a request.
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    engine = import_module(settings.SESSION_ENGINE)
    user, session = _customer_of(token), engine.SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return f"{session.session_key}:{secrets.token_hex(16)}"


def _some_bookings(tokens: list[str], tier_id: uuid.UUID) -> None:

    from bookings.placing import place
    from bookings.wishes import Wish

    for token in tokens:
        user = _customer_of(token)
        for _ in range(BOOKINGS_OF_A_READER):
            wish = Wish(
                user=user,
                ticket_tier_id=tier_id,
                quantity=1,
                idempotency_key=uuid.uuid4(),
                arrived_at=clock.ask(),
            )
            place(wish)


if __name__ == "__main__":
    import django

    django.setup()
    _fill(*(int(argument) for argument in sys.argv[1:]))
