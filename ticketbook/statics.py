"""Static files: with a hash in their names, compressed ahead, and never those of another version.

`collectstatic` puts them into STATIC_ROOT, and notes what it made them of. A web server compares that with
the files of its own version when it starts, and collects anew if they differ. Nothing is deleted from the
folder, so processes that still run on the version before, and pages in browsers, go on finding their files.
"""

import fcntl
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import AppDirectoriesFinder, get_finders
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage
from django.core.management import call_command
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage

BACKEND = "ticketbook.statics.Collected"
MADE_OF = "made-of.txt"
NOT_USED = [
    "redoc"
]  # the other page that drf-spectacular-sidecar has for an API, half of all bytes


class Apps(AppDirectoriesFinder):
    def list(self, ignore_patterns: Iterable[str] | None) -> Iterable[Any]:
        return super().list([*(ignore_patterns or []), *NOT_USED])


class Collected(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    def get_modified_time(self, name: str) -> Any:
        # So collectstatic copies every file. It would skip one that is older than the copy, as after a
        # checkout of the version before.
        raise NotImplementedError

    def post_process(
        self, paths: dict[str, tuple[Storage, str]], *args: Any, **options: Any
    ) -> Iterator[Any]:
        yield from super().post_process(paths, *args, **options)
        if not options.get("dry_run"):
            Path(self.location, MADE_OF).write_text(
                _digest(_sources())
            )  # last, so it vouches for all


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    FOREVER = 365 * 24 * 3600  # seconds, for names with a hash


def make_fresh() -> None:
    """Collect the static files unless those of this version are there.

    Raises ImproperlyConfigured if the folder cannot be written.
    """
    if settings.DEBUG or settings.STORAGES["staticfiles"]["BACKEND"] != BACKEND:
        return  # they are served from where they are
    wanted, root = _digest(_sources()), Path(settings.STATIC_ROOT)
    if _made_of(root) == wanted:
        return
    try:
        root.mkdir(exist_ok=True)
        with (root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of a server start at once
            if _made_of(root) != wanted:
                call_command("collectstatic", interactive=False, verbosity=0)
    except OSError as exc:
        raise ImproperlyConfigured(
            f"The static files in {root} are missing or those of another version, and they cannot be "
            f"written: {exc.strerror}. Run manage.py collectstatic as a user who may."
        ) from exc


def _made_of(root: Path) -> str:
    try:
        return (root / MADE_OF).read_text()
    except OSError:
        return ""


def _sources() -> Iterator[tuple[str, bytes]]:
    # As collectstatic finds them.
    for finder in get_finders():
        for path, storage in finder.list(["CVS", ".*", "*~"]):
            with storage.open(path) as file:
                yield path, file.read()


def _digest(files: Iterable[tuple[str, bytes]]) -> str:
    digest = sha256()
    for path, content in files:
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
