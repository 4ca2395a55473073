"""Whether a server of ours can listen where the settings say."""

import errno
import socket

from ticketbook.settings import BIND_ADDRESS, PORT


def port_problem(port: int = PORT) -> str:
    """A sentence that says what is wrong with the port, or an empty text.

    The processes of the web server share their port (SO_REUSEPORT). So the kernel would let a second
    server share it too, and each would get half of the customers.
    """
    host = BIND_ADDRESS.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            taken = exc.errno == errno.EADDRINUSE
            reason = "is in use" if taken else f"cannot be used ({exc.strerror})"
            return f"Port {port} {reason}."
    return ""
