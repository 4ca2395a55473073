"""How gunicorn serves TicketBook. gunicorn finds this file by its name in the folder it runs in."""

import os
import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

sys.path.insert(0, str(Path(__file__).parent))  # the `gunicorn` script does not look here by itself
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ticketbook.settings")
try:
    from ticketbook import settings
    from ticketbook.ports import port_problem
except ImproperlyConfigured as exc:
    # Said once, here, rather than with a traceback by every worker.
    sys.exit(str(exc))

bind = f"{settings.BIND_ADDRESS}:{settings.PORT}"

# What is hot is answered by the event loop, the rest of the site by threads behind it.
worker_class = "ticketbook.front.worker.Worker"
asgi_loop = "uvloop"
workers = settings.WEB_CONCURRENCY
worker_connections = settings.WEB_CONNECTIONS
# Each process listens by itself, and the kernel deals connections out. With one socket for all, one
# process often took all of them.
reuse_port = True
# Every worker makes its own lanes, connections and membership of the embedded server, and a reload
# (SIGHUP) loads the code anew.
preload_app = False


def on_starting(server: Any) -> None:
    takes_over = "GUNICORN_PID" in os.environ  # from a server that replaces itself (SIGUSR2)
    if not takes_over and (problem := port_problem()):
        sys.exit(f"{problem} Stop what uses it, or set PORT to another one.")


# Seconds; longer than a page's polling, so that one connection serves it.
keepalive = 5
timeout = 30  # seconds without a sign of life from a whole worker, then it is replaced
graceful_timeout = 20  # seconds; more than the longest call to the gateway and a lock's wait

# Where workers touch a file to show that they live: in memory, so that a slow disk kills nobody.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

# On by default in the home folder; we steer by signals alone.
control_socket_disable = True

accesslog = None  # the proxy's business; a line per request costs more than many a request
loglevel = "warning"
