"""The settings of gunicorn, which finds this file by its name in the folder it runs in."""

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
    # Printed here once; otherwise every worker would print a traceback.
    sys.exit(str(exc))

bind = f"{settings.BIND_ADDRESS}:{settings.PORT}"

# The event loop answers hot requests, and threads behind it the rest of the site.
worker_class = "ticketbook.front.worker.Worker"
asgi_loop = "uvloop"
workers = settings.WEB_CONCURRENCY
worker_connections = settings.WEB_CONNECTIONS
# No header that a client sends says where the site is or how the client came. Django reads X-Forwarded-Proto
# where HTTPS is on.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
# Each process listens by itself, and the kernel distributes connections. With one socket for all, one
# process often took every connection.
reuse_port = True
# Each worker has its own lanes, connections and membership of the embedded server. A reload (SIGHUP) loads
# the code anew.
preload_app = False


def on_starting(server: Any) -> None:
    takes_over = "GUNICORN_PID" in os.environ  # from a server that replaces itself (SIGUSR2)
    if not takes_over and (problem := port_problem()):
        sys.exit(f"{problem} Stop what uses it, or set PORT to another one.")


# Seconds. Longer than the interval at which a page polls, so that it can use one connection.
keepalive = 5
timeout = 30  # seconds without a sign of life, after which a worker is replaced
# Seconds; more than the longest call to the gateway and a lock's wait.
graceful_timeout = 20 + settings.STOP_NOTICE_SECONDS

# Workers touch a file here to show that they live. It is in memory, so that a slow disk kills no worker.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

# We use signals only. By default there would be a control socket in the home folder.
control_socket_disable = True

accesslog = None  # a proxy can log; a line for each request costs more than some requests do
loglevel = "warning"
