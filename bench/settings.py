"""TicketBook's own settings, with two endpoints to compare it with."""

import os

from ticketbook.settings import *  # noqa: F403
from ticketbook.settings import DATABASES

ROOT_URLCONF = "bench.urls"

# bench/tuning.py compares a pool for all threads with a connection kept by each.
if pool_size := os.environ.get("BENCH_POOL"):
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 2, "max_size": int(pool_size)}
