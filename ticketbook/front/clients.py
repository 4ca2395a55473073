"""The connections of this process: how many there may be, and who makes room for a new one."""

import ipaddress
import resource
from collections import defaultdict
from typing import Generic, Protocol, TypeVar

OTHER_FILES = 256  # files that a process needs besides its clients: databases, gateways, logs


class Client(Protocol):
    def cut_off(self) -> None: ...


C = TypeVar("C", bound=Client)


class Clients(Generic[C]):
    """Those of one process. A client is silent until the head of its first request has arrived.

    When there is no room, the client that has been silent longest makes some: of the same address if that
    address has used up its share, otherwise of all. So clients that never speak keep nobody out.
    """

    def __init__(self, *, most: int, most_of_one: int) -> None:
        self.most, self.most_of_one = most, most_of_one
        self.all: dict[C, str] = {}  # with the address that each one comes from
        self.of: defaultdict[str, int] = defaultdict(int)
        self.silent: dict[C, None] = {}  # the one that came first is first

    def take(self, client: C, address: str) -> bool:
        """Whether there is room for this client. If not, it is counted too, until it is discarded."""
        address = network_of(address)
        one_is_full = self.of[address] >= self.most_of_one
        room = True
        if one_is_full or len(self.all) >= self.most:
            room = self._cut_off_one(address if one_is_full else None)
        self.all[client] = address
        self.of[address] += 1
        if room:
            self.silent[client] = None
        return room

    def spoke(self, client: C) -> None:
        self.silent.pop(client, None)

    def discard(self, client: C) -> None:
        self.silent.pop(client, None)
        if (address := self.all.pop(client, None)) is not None:
            self.of[address] -= 1
            if not self.of[address]:
                del self.of[address]

    def _cut_off_one(self, address: str | None) -> bool:
        for client in self.silent:
            if address is None or self.all[client] == address:
                self.discard(client)
                client.cut_off()
                return True
        return False


def network_of(address: str) -> str:
    """The address, or of IPv6 its first 64 bits, which one customer of a provider usually has."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed, 64), strict=False))


def as_many_as_files_allow(wanted: int) -> int:
    """How many of the wanted clients this process may have, after raising its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - OTHER_FILES))
