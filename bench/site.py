"""What the scenarios run on: customers with tokens, concerts, and the server as production starts it."""

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone
from knox.crypto import hash_token

from concerts import stock
from concerts.models import Concert, TicketTier

PORT = 8123
CUSTOMERS = 5000


def new_tier(quantity: int = 10_000_000) -> TicketTier:
    """Every run sells a tier of its own, so that all begin alike."""
    concert = Concert.objects.create(
        name=f"Bench {uuid.uuid4().hex[:8]}",
        artist="k6",
        venue="127.0.0.1",
        date=timezone.now() + timedelta(days=30),
        status=Concert.Status.PUBLISHED,
    )
    tier = TicketTier(concert=concert, tier_type="GA", price=10, total_quantity=quantity)
    stock.stock_up(tier)
    tier.save()
    return tier


def customers() -> list[str]:
    """The tokens of distinct customers, made once."""
    file = Path(settings.DATA_DIR) / "bench-tokens.json"
    if not file.exists():
        tokens = [secrets.token_hex(32) for _ in range(CUSTOMERS)]
        digests = [hash_token(token) for token in tokens]
        with connection.cursor() as cursor:
            cursor.execute(NEW_CUSTOMERS, [CUSTOMERS, digests, [t[:15] for t in tokens]])
        file.write_text(json.dumps(tokens))
    tokens_of_all: list[str] = json.loads(file.read_text())
    return tokens_of_all


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


@contextmanager
def server(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """gunicorn with gunicorn.conf.py, as production starts it; payments succeed unless told otherwise."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "ticketbook.wsgi"],
        env=os.environ
        | {"DJANGO_SETTINGS_MODULE": "bench.settings", "PORT": str(PORT)}
        | {"PAYMENT_SUCCESS_RATE": "1", "LOCK_TIMEOUT_MS": "2900"}
        | environment,
    )
    try:
        wait_until_ready(process)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=90)


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The server did not become ready.")
