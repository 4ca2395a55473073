"""Fills in the configuration in deploy/config/ with ports, folders and passwords.

The files are templates of Python's string.Template: `$name` is filled in, and `$$` is a dollar. A real
installation fills in its own.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

from deploy.layout import LOCAL, MAX_CONNECTIONS, MEMBERS, PORTS, SCOPE, Layout
from ticketbook.embedded import binaries
from ticketbook.environment import BASE_DIR

TEMPLATES = Path(__file__).parent / "config"
PROGRAMS = {"post_bootstrap", "archive_wal"}
# Files of which each member has its own.
OF_A_MEMBER = {"patroni.yml": "n{}.yml", "etcd.yml": "e{}.yml"}


def write(layout: Layout) -> None:
    """Write all files into the layout's folder. Only the user that the servers run as can read them."""
    _make_private(layout.config)
    for name, text in rendered(layout):
        file = layout.config / name
        file.touch()
        file.chmod(0o700 if name in PROGRAMS else 0o600)
        file.write_text(text, newline="")
        hand_over(file)


def rendered(layout: Layout) -> Iterator[tuple[str, str]]:
    """The name and the text of each file."""
    for file in sorted(TEMPLATES.iterdir()):
        if name := OF_A_MEMBER.get(file.name):
            for member in MEMBERS:
                yield name.format(member), _render(file, values(layout, member))
        else:
            yield file.name, _render(file, values(layout))
    yield "ticketbook.password", layout.secrets["ticketbook_password"]


def hand_over(path: Path) -> None:
    """Give a file or folder to the user that the servers run as."""
    if os.geteuid() == 0:
        user = binaries.server_user()
        os.chown(path, user.pw_uid, user.pw_gid)


def make_folders(layout: Layout) -> None:
    """Make the folders into which the servers write."""
    home = layout.home
    for folder in (home / "data", home / "etcd", home / "backup", layout.archive, layout.backups):
        _make_private(folder)
    _make_private(home / "valkey")
    for folder in (layout.logs, layout.pids, layout.down, home / "site"):
        folder.mkdir(exist_ok=True)


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    hand_over(folder)


def _render(file: Path, found: Mapping[str, object]) -> str:
    text = Template(file.read_text()).substitute(found)
    if file.suffix == ".http":  # HTTP ends the lines of its head with two characters
        head, _, body = text.partition("\n\n")
        text = head.replace("\n", "\r\n") + "\r\n\r\n" + body
    return text


def values(layout: Layout, member: int = 0) -> dict[str, object]:
    """What the templates may name."""
    found: dict[str, object] = {name: layout.port_of(name) for name in PORTS}
    found |= layout.secrets
    found |= {
        "scope": SCOPE,
        "bind": LOCAL,
        "network": f"{layout.network}.0/24" if layout.network else f"{LOCAL}/32",
        "config": layout.config,
        "archive": layout.archive,
        "cache_folder": layout.home / "valkey",
        "postgres_programs": binaries.binary("postgres").parent,
        "max_connections": MAX_CONNECTIONS,
        "primaries": _servers(layout),
        "checked": "\n".join(
            f"    server web{n} {LOCAL}:{layout.port_of(f'web{n}')} check" for n in (1, 2)
        ),
        "webs": _webs(layout),
        "busy_page": (BASE_DIR / "static" / "errors" / "503.html").read_text(),
    }
    return found | _of_member(layout, member) if member else found


def _of_member(layout: Layout, member: int) -> dict[str, object]:
    def hosts(port: str, form: str) -> str:
        each = (form.format(n, layout.host(n), layout.port_of(port, n)) for n in MEMBERS)
        return ",".join(each)

    return {
        "name": f"n{member}",
        "host": layout.host(member),
        "postgres": layout.port_of("postgres", member),
        "rest": layout.port_of("rest", member),
        "data": layout.data(member),
        "pgpass": layout.home / "data" / f"pgpass{member}",
        "etcd_name": f"e{member}",
        "etcd_data": layout.home / "etcd" / f"e{member}",
        "etcd_client": layout.port_of("etcd_client", member),
        "etcd_peer": layout.port_of("etcd_peer", member),
        "etcd_cluster": hosts("etcd_peer", "e{0}=http://{1}:{2}"),
        "etcd_hosts": f"'{hosts('etcd_client', '{1}:{2}')}'",
    }


def _servers(layout: Layout) -> str:
    lines = (
        f"    server n{n} {layout.host(n)}:{layout.port_of('postgres', n)} "
        f"check port {layout.port_of('rest', n)}"
        for n in MEMBERS
    )
    return "\n".join(lines)


def _webs(layout: Layout) -> str:
    lines = []
    for n in (1, 2):
        where = f"{LOCAL}:{layout.port_of(f'web{n}')}"
        lines.append(f"    server web{n} {where} track ready/web{n}")
        lines.append(f"    server web{n}-anyway {where} track alive/web{n} backup")
    return "\n".join(lines)
