"""Where the parts of the cluster on this machine are: folders, ports and addresses.

All listen on 127.0.0.1 only. For a cut network each member has a network of its own instead, which nothing
outside of this machine reaches (deploy/networks.py).
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ticketbook.embedded import binaries
from ticketbook.environment import folder, whole

LOCAL = "127.0.0.1"
MEMBERS = (1, 2, 3)
SCOPE = "ticketbook"
MAX_CONNECTIONS = 150  # of each PostgreSQL

# Offsets from CLUSTER_PORT. A member's own ports are its number behind these tens.
PORTS = {
    "site": 0,
    "web1": 1,
    "web2": 2,
    "stats": 9,
    "primary": 10,
    "replica": 11,
    "pooler": 12,
    "cache": 13,
    "gateway": 14,
    "restored": 15,
}
MEMBER_PORTS = {"postgres": 20, "rest": 30, "etcd_client": 40, "etcd_peer": 50}
SECRETS = (
    "superuser_password",
    "replication_password",
    "rewind_password",
    "rest_password",
    "ticketbook_password",
    "secret_key",
)


@dataclass(frozen=True)
class Layout:
    home: Path  # everything that the cluster keeps
    port: int = 8100  # of the site; all others follow it
    network: str = ""  # the first three numbers of the members' own network, if they have one
    disk: str = ""  # the size of each member's own small disk, if they have one
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def logs(self) -> Path:
        return self.home / "log"

    @property
    def venv(self) -> Path:
        return self.home / "venv"

    @property
    def down(self) -> Path:
        """Has a file for each part that is kept down, by its name."""
        return self.home / "down"

    @property
    def pids(self) -> Path:
        return self.home / "run"

    @property
    def archive(self) -> Path:
        return self.home / "backup" / "wal"

    @property
    def backups(self) -> Path:
        return self.home / "backup" / "base"

    @property
    def clocks(self) -> Path:
        """Has a file for each process whose clock is wrong (chaos/clock/)."""
        return self.home / "clocks"

    def own_disk(self, member: int) -> Path:
        """A member's own disk; the folder of all members' data if it has none."""
        return self.home / "data" / (f"disk{member}" if self.disk else "")

    def data(self, member: int) -> Path:
        return self.own_disk(member) / f"n{member}"

    def host(self, member: int) -> str:
        return f"{self.network}.{member}" if self.network else LOCAL

    def port_of(self, name: str, member: int = 0) -> int:
        if name in MEMBER_PORTS:
            return self.port + MEMBER_PORTS[name] + member
        return self.port + PORTS[name]

    def rest(self, member: int) -> str:
        """The address of a member's Patroni."""
        return f"http://{self.host(member)}:{self.port_of('rest', member)}"

    @property
    def site(self) -> str:
        return f"http://{LOCAL}:{self.port}"

    @cached_property
    def all_ports(self) -> list[tuple[str, int]]:
        """Every address and port on which something listens."""
        ports = [(LOCAL, self.port_of(name)) for name in PORTS]
        return ports + [
            (self.host(member), self.port_of(name, member))
            for name in MEMBER_PORTS
            for member in MEMBERS
        ]

    def database_url(self, port: int, *, host: str = LOCAL) -> str:
        password = self.secrets["ticketbook_password"]
        return f"postgres://ticketbook:{password}@{host}:{port}/ticketbook?sslmode=disable"


def layout(
    *, name: str = "cluster", network: str = "", disk: str = "", base: Path | None = None
) -> Layout:
    """The cluster in `base`, or in DATA_DIR. Makes its folder and its passwords at the first time."""
    home = _home((base or folder("DATA_DIR", ".data")) / name)
    return Layout(
        home=home,
        port=whole("CLUSTER_PORT", 8100, 1024, 65000),
        network=network,
        disk=disk,
        secrets=_secrets(home / "secrets.json"),
    )


def _home(wanted: Path) -> Path:
    # PostgreSQL refuses to run as root. If root runs this and `nobody` cannot reach DATA_DIR, everything is
    # in a place of root's own, and DATA_DIR has a link to it.
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if not wanted.is_symlink():
        wanted.mkdir(exist_ok=True)
    if os.geteuid() == 0 and not binaries.can_reach(wanted.resolve()):
        if wanted.is_symlink() or any(wanted.iterdir()):
            raise binaries.EmbeddedPostgresError(
                f"{binaries.server_user().pw_name} cannot reach {wanted.resolve()}, and PostgreSQL runs as "
                "this user. Open the folders above it, or set DATA_DIR to another folder."
            )
        digest = hashlib.sha256(str(wanted.absolute()).encode()).hexdigest()[:12]
        place = binaries.root_home() / f"cluster-{digest}"
        place.mkdir(exist_ok=True)
        wanted.rmdir()
        wanted.symlink_to(place)
    return wanted.resolve()


def _secrets(file: Path) -> dict[str, str]:
    if not file.exists():
        made = {name: secrets.token_urlsafe(32) for name in SECRETS}
        file.touch(mode=0o600)
        file.write_text(json.dumps(made))
    found: dict[str, str] = json.loads(file.read_text())
    return found
