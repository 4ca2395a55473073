"""make bench: one hot tier, sold by TicketBook, by the textbook, and by PostgreSQL alone.

Everything runs on this machine, so read the ratios. It listens on 127.0.0.1 only and ends by itself.
QUICK=1 is a short look; the whole writes RESULTS.md and chart.svg.
"""

import os
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
os.environ["DATA_DIR"] = str(Path(os.environ.get("DATA_DIR") or ".data", "bench").absolute())

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from accounts.models import User  # noqa: E402
from bench import report  # noqa: E402
from bench.measure import Run, by_pgbench, over_http  # noqa: E402
from bench.site import customers, new_tier, server  # noqa: E402

QUICK = bool(os.environ.get("QUICK"))
CLIENTS = [16, 64] if QUICK else [1, 16, 64, 256]
REPEATS = 1 if QUICK else 3
SECONDS = 4


def main() -> None:
    call_command("migrate", verbosity=0)
    tokens = customers()
    somebody = str(User.objects.values_list("pk", flat=True)[0])
    runs: list[Run] = []
    for _ in range(REPEATS):
        with server() as web:
            for clients in CLIENTS:
                # Side by side, so that a slow moment of the machine meets all of them.
                for what in ("book", "textbook", "nothing"):
                    runs.append(
                        over_http(
                            what,
                            new_tier(),
                            tokens,
                            clients=clients,
                            seconds=SECONDS,
                            web=web.pid,
                        )
                    )
                    print(runs[-1], flush=True)
                runs.append(by_pgbench(new_tier(), somebody, clients=clients, seconds=SECONDS))
                print(runs[-1], flush=True)
    with server(BOOKING_LANES="off") as web:
        run = over_http("book", new_tier(), tokens, clients=64, seconds=SECONDS, web=web.pid)
        run.what = "plain"
        runs.append(run)
        print(run, flush=True)
    text = report.text(runs, hot_updates(), repeats=REPEATS, seconds=SECONDS)
    print("\n" + text)
    if not QUICK:
        folder = Path(__file__).parent
        (folder / "RESULTS.md").write_text(text)
        (folder / "chart.svg").write_text(report.chart(runs))
    if any(run.differences for run in runs):
        raise SystemExit("The audit found differences.")


def hot_updates() -> float:
    """The share of all updates of tiers that stayed in their page (HOT)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT n_tup_hot_upd::float / nullif(n_tup_upd, 0) FROM pg_stat_user_tables"
            " WHERE relname = 'concerts_tickettier'"
        )
        share: float = cursor.fetchone()[0]
        return share


assert settings.EMBEDDED or settings.DEBUG, "The bench fills a database: leave DATABASE_URL out."
main()
