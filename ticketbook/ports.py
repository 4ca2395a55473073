"""Can the web server listen where the settings say?"""

import errno
import socket

from ticketbook.settings import BIND_ADDRESS, PORT


def port_problem() -> str:
    """What is wrong with the port, as a sentence; empty if nothing is.

    The processes of the web server share their port (SO_REUSEPORT), so the kernel would also let a second
    server share it, and deal half of the customers to each.
    """
    host = BIND_ADDRESS.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, PORT))
        except OSError as exc:
            taken = exc.errno == errno.EADDRINUSE
            reason = "is in use" if taken else f"cannot be used ({exc.strerror})"
            return f"Port {PORT} {reason}."
    return ""
