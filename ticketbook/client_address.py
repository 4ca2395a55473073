"""The client's address, behind proxies too, and what counts as one address and as one network."""

from contextlib import suppress
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from django.conf import settings
from django.http import HttpRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# A host with IPv6 chooses among all addresses of its /64, and a provider gives its customer up to a /48.
ONE_ADDRESS = {4: 32, 6: 64}
ONE_NETWORK = {4: 24, 6: 48}


def client_address(request: HttpRequest) -> Address | None:
    """The address of the client; None if the connection has none, as on a Unix socket.

    That is the peer of the connection. Only while it is one of TRUSTED_PROXIES, the last entry of
    X-Forwarded-For that was not looked at yet takes its place: a proxy writes there who has asked it. What
    clients write is further left, and is never reached.
    """
    address = _parsed(request.META.get("REMOTE_ADDR", ""))
    entries = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while address is not None and entries and _is_trusted(address):
        before = _parsed(entries.pop())
        if before is None:
            break
        address = before
    return address


def one_address(address: Address) -> Network:
    """What counts as one address: an IPv4 address, or a /64 of IPv6."""
    return ip_network((address.packed, ONE_ADDRESS[address.version]), strict=False)


def one_network(address: Address) -> Network:
    """What counts as one network: a /24 of IPv4, or a /48 of IPv6."""
    return ip_network((address.packed, ONE_NETWORK[address.version]), strict=False)


def is_trusted(peer: str) -> bool:
    """Whether this address, the peer of a connection, is one of TRUSTED_PROXIES."""
    address = _parsed(peer) if settings.TRUSTED_PROXIES else None
    return address is not None and _is_trusted(address)


def _is_trusted(address: Address) -> bool:
    return any(address in proxies for proxies in settings.TRUSTED_PROXIES)


def _parsed(text: str) -> Address | None:
    # Some proxies write a port behind the address: 192.0.2.1:5000 or [2001:db8::1]:5000.
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address: Address | None = None
    with suppress(ValueError):
        address = ip_address(text)
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
