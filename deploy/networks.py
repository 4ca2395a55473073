"""A network of its own for each member, so that it can be cut: Linux network namespaces on a bridge.

Only root can make them. Nothing outside of this machine reaches them.
"""

import os
import shutil
import subprocess
from contextlib import suppress

from deploy.layout import MEMBERS, Layout

NETWORK = "10.203.77"
HOST = 254  # the last number of this machine's own address on the bridge


class NoNetworks(Exception):
    """The message is a sentence that says why this machine allows no networks of their own."""


def name(layout: Layout, member: int) -> str:
    """The namespace of a member; empty if it has none."""
    return f"tb{layout.port}-{member}" if layout.network else ""


def check() -> None:
    """Raises NoNetworks if this machine does not let us make namespaces."""
    if os.geteuid() or not shutil.which("ip"):
        raise NoNetworks("A network can be cut only by root, with iproute2's `ip`.")
    try:
        _ip("netns", "add", "tb-check")
        _ip("link", "add", "tb-check0", "type", "veth", "peer", "name", "tb-check1")
    except subprocess.CalledProcessError:
        raise NoNetworks("This machine does not allow network namespaces.") from None
    finally:
        _try("link", "del", "tb-check0")
        _try("netns", "del", "tb-check")


def up(layout: Layout) -> None:
    if not layout.network:
        return
    down(layout)
    bridge = _bridge(layout)
    _ip("link", "add", bridge, "type", "bridge")
    _ip("addr", "add", f"{layout.network}.{HOST}/24", "dev", bridge)
    _ip("link", "set", bridge, "up")
    for member in MEMBERS:
        namespace, outside = name(layout, member), link(layout, member)
        _ip("netns", "add", namespace)
        _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", outside, "master", bridge, "up")
        inside = ("-n", namespace)
        _ip(*inside, "addr", "add", f"{layout.network}.{member}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")


def down(layout: Layout) -> None:
    if layout.network:
        for member in MEMBERS:
            _try("netns", "del", name(layout, member))
            _try("link", "del", link(layout, member))
        _try("link", "del", _bridge(layout))


def cut(layout: Layout, member: int) -> None:
    """Cut a member off from everything. Its packets vanish without a word."""
    _ip("link", "set", link(layout, member), "down")


def mend(layout: Layout) -> None:
    if layout.network:
        for member in MEMBERS:
            _ip("link", "set", link(layout, member), "up")


def link(layout: Layout, member: int) -> str:
    return f"tb{layout.port}v{member}"


def _bridge(layout: Layout) -> str:
    return f"tb{layout.port}br"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _try(*arguments: str) -> None:
    with suppress(subprocess.CalledProcessError, FileNotFoundError):
        _ip(*arguments)
