"""What the scenarios run on: a server as production starts it, with customers and concerts.

`python -m bench.site` fills the database of its DATA_DIR; bench/__main__.py does so for a small site
and, in a process of its own, for a large one.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

CUSTOMERS = 5000
READERS = 50  # customers who look at their bookings, …
BOOKINGS_OF_A_READER = 2  # … a hundred in all

HOME = Path(os.environ.get("BENCH_HOME") or ".data/bench").absolute()


@dataclass(frozen=True)
class Site:
    """A database of its own, and the address of its web server."""

    name: str
    port: int

    @property
    def data_dir(self) -> Path:
        return HOME / self.name

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
        }

    def tokens(self) -> list[str]:
        """Of distinct customers; the first ones are the READERS."""
        tokens: list[str] = json.loads((self.data_dir / "bench-tokens.json").read_text())
        return tokens

    def concerts(self) -> list[str]:
        with urllib.request.urlopen(f"{self.base}/api/v1/concerts?limit=12") as answer:
            return [concert["id"] for concert in json.load(answer)]

    def fill(self, *, concerts: int, bookings: int) -> None:
        """Once: what is there stays, if it is of this size."""
        size, filled = f"{concerts} {bookings}", self.data_dir / "bench-size"
        if not (filled.exists() and filled.read_text() == size):
            shutil.rmtree(self.data_dir, ignore_errors=True)
            subprocess.run(
                [sys.executable, "-m", "bench.site", *size.split()],
                env=self.environment,
                check=True,
            )
            filled.write_text(size)

    def audit(self) -> list[str]:
        """What does not add up, by the command that anybody can call."""
        done = subprocess.run(
            [sys.executable, "manage.py", "audit_inventory"],
            env=self.environment | {"DJANGO_SETTINGS_MODULE": "ticketbook.settings"},
            capture_output=True,
            text=True,
        )
        return [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()


GUNICORN = ("-m", "gunicorn", "ticketbook.wsgi")
SMALL, LARGE = Site("small", 8123), Site("large", 8124)


@contextmanager
def server(
    site: Site, changes: Mapping[str, str] | None = None, *, command: Sequence[str] = GUNICORN
) -> Iterator[subprocess.Popen[bytes]]:
    """gunicorn with gunicorn.conf.py, as production starts it; payments succeed unless told otherwise."""
    process = subprocess.Popen(
        [sys.executable, *command],
        env=site.environment
        | {"PAYMENT_SUCCESS_RATE": "1", "LOCK_TIMEOUT_MS": "2900"}
        | dict(changes or {}),
    )
    try:
        wait_until_ready(process, site)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=90)


def wait_until_ready(process: subprocess.Popen[bytes], site: Site) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{site.base}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The server did not become ready.")


def new_tier(quantity: int = 10_000_000) -> uuid.UUID:
    """Every run sells a tier of its own, so that all begin alike."""
    from django.utils import timezone

    from concerts import stock
    from concerts.models import Concert, TicketTier

    concert = Concert.objects.create(
        name=f"Bench {uuid.uuid4().hex[:8]}",
        artist="k6",
        venue="127.0.0.1",
        date=timezone.now() + timedelta(days=900),
        status=Concert.Status.PUBLISHED,
    )
    tier = TicketTier(concert=concert, tier_type="GA", price=10, total_quantity=quantity)
    stock.stock_up(tier)
    tier.save()
    made: uuid.UUID = tier.pk
    return made


def fill(concerts: int, bookings: int) -> None:
    """Demo concerts, a large catalogue if asked for, customers with tokens, and a hundred bookings."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    call_command("load_demo", concerts=concerts, bookings=bookings, stdout=sys.stderr)
    tokens = new_customers(CUSTOMERS)
    some_bookings(tokens[:READERS], new_tier())
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        cursor.execute("VACUUM ANALYZE")
    (Path(settings.DATA_DIR) / "bench-tokens.json").write_text(json.dumps(tokens))


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


def new_customers(count: int) -> list[str]:
    """Customers without a password, and the token of each."""
    from django.db import connection
    from knox.crypto import hash_token

    tokens = [secrets.token_hex(32) for _ in range(count)]
    digests = [hash_token(token) for token in tokens]
    with connection.cursor() as cursor:
        cursor.execute(NEW_CUSTOMERS, [count, digests, [token[:15] for token in tokens]])
    return tokens


def some_bookings(tokens: list[str], tier_id: uuid.UUID) -> None:
    from django.utils import timezone
    from knox.crypto import hash_token
    from knox.models import AuthToken

    from bookings.placing import place

    for token in tokens:
        user = AuthToken.objects.select_related("user").get(digest=hash_token(token)).user
        for _ in range(BOOKINGS_OF_A_READER):
            place(
                user=user,
                ticket_tier_id=tier_id,
                quantity=1,
                idempotency_key=uuid.uuid4(),
                now=timezone.now(),
            )


if __name__ == "__main__":
    import django

    django.setup()
    fill(*(int(argument) for argument in sys.argv[1:]))
