"""How gunicorn serves TicketBook. gunicorn finds this file by its name in the folder it runs in."""

import os
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

sys.path.insert(0, str(Path(__file__).parent))  # the `gunicorn` script does not look here by itself
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ticketbook.settings")
# A thread keeps its connection to the database. Said here, before the settings are read.
os.environ.setdefault("KEEP_CONNECTIONS", "on")
try:
    from ticketbook import settings
except ImproperlyConfigured as exc:
    # Said once, here, rather than with a traceback by every worker.
    sys.exit(str(exc))

bind = f"{settings.BIND_ADDRESS}:{settings.PORT}"

# Measured against others in bench/TUNING.md (make bench-tuning); figures: bookings a second, these are 1.
#
# A thread that waits for its lane or for the gateway is cheap, and lanes live on waiting threads: 16
# sync processes 0.4. One process 0.8: it uses one core. Three 0.9 to 1.0, four 0.8 to 0.9 on two cores.
# 16 threads 1.0, 64 threads 1.1 at 64 clients and 0.8 at 256; 32 stay below the 100 connections of a
# default server. A pool for the threads of a process 0.8, connecting anew for each request 0.3.
worker_class = "gthread"
workers = settings.WEB_CONCURRENCY
threads = settings.WEB_THREADS
# Every worker makes its own lanes, connections and membership of the embedded server, and a reload
# (SIGHUP) loads the code anew. Preloaded: 1.1, hardly more than the noise.
preload_app = False

# Seconds; longer than a page's polling, so that one connection serves it. Without: 0.9.
keepalive = 5
timeout = 30  # seconds without a sign of life from a whole worker, then it is replaced
graceful_timeout = 20  # seconds; more than the longest call to the gateway and a lock's wait

# Where workers touch a file to show that they live: in memory, so that a slow disk kills nobody.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

# On by default in the home folder; we steer by signals alone.
control_socket_disable = True

accesslog = None  # the proxy's business; a line per request costs more than many a request
loglevel = "warning"
