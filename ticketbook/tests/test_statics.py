"""Static files have hashed names and a year in caches, and a server never has those of another version."""

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.test import RequestFactory

from ticketbook import settings as original
from ticketbook import statics

YEAR = 365 * 24 * 3600


@pytest.fixture
def site(settings, tmp_path):
    """A site with one style sheet and one picture, and a folder of its own for what is collected."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.css").write_text("p { background: url(b.svg) } /* version 1 */" + " " * 500)
    (source / "b.svg").write_text("<svg/>")
    settings.STATICFILES_DIRS = [source]
    settings.STATICFILES_FINDERS = original.STATICFILES_FINDERS[:1]
    settings.STATIC_ROOT = tmp_path / "collected"
    settings.STORAGES = original.STORAGES
    settings.WHITENOISE_USE_FINDERS = settings.WHITENOISE_AUTOREFRESH = False
    return source


def url(name):
    return storages.create_storage(original.STORAGES["staticfiles"]).url(name)


def get(address, **headers):
    served = statics.StaticFilesMiddleware(lambda request: None)
    answer = served(RequestFactory().get(address, **headers))
    return answer and (answer, b"".join(answer.streaming_content))


def test_names_have_hashes_and_files_stay_in_caches_for_a_year(site):
    statics.make_fresh()
    address = url("a.css")
    assert re.fullmatch(r"/static/a\.[0-9a-f]{12}\.css", address)
    answer, content = get(address, HTTP_ACCEPT_ENCODING="gzip")
    assert answer["Cache-Control"] == f"max-age={YEAR}, public, immutable"
    assert answer["Content-Encoding"] == "gzip"
    assert url("b.svg").removeprefix("/static/").encode() in gzip.decompress(content)
    assert b"version 1" in get(address)[1]


def test_a_new_version_is_served_at_once_and_the_old_one_is_still_there(site):
    statics.make_fresh()
    before = url("a.css")
    old = (site / "a.css").stat().st_mtime - 10**6
    (site / "a.css").write_text("p { color: red } /* version 2 */")
    os.utime(site / "a.css", (old, old))  # a checkout of an older version may bring older times
    statics.make_fresh()
    after = url("a.css")
    assert after != before
    assert b"version 2" in get(after)[1]
    assert b"version 1" in get(before)[1]


def test_fresh_files_are_not_collected_again(site, monkeypatch):
    statics.make_fresh()
    monkeypatch.setattr(statics, "call_command", None)
    statics.make_fresh()
    (site / "c.js").write_text("")
    with pytest.raises(TypeError):
        statics.make_fresh()


def test_a_collection_that_broke_off_is_made_again(site, monkeypatch):
    def breaks_off(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(statics.CompressedManifestStaticFilesStorage, "compress_files", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        statics.make_fresh()
    monkeypatch.undo()
    statics.make_fresh()
    assert get(url("a.css"), HTTP_ACCEPT_ENCODING="gzip")[0]["Content-Encoding"] == "gzip"


def test_a_folder_that_cannot_be_written_is_a_clear_sentence(site, settings):
    blocked = site / "a.css" / "collected"  # below a file, so that root cannot write it either
    settings.STATIC_ROOT = blocked
    with pytest.raises(ImproperlyConfigured, match=r"are missing .* Run manage.py collectstatic"):
        statics.make_fresh()


def test_a_web_server_that_cannot_write_them_ends_with_the_sentence(tmp_path):
    """In a copy of the repository, with a file where the folder should be."""
    root = original.BASE_DIR
    ignored = shutil.ignore_patterns(".*", "__pycache__")
    copy = shutil.copytree(root, tmp_path / "copy", ignore=ignored)
    (copy / ".static").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "import ticketbook.wsgi"],
        cwd=copy,
        env=os.environ | {"DATA_DIR": str(tmp_path), "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Run manage.py collectstatic" in done.stderr.splitlines()[-1]


def test_every_link_to_a_static_file_is_collected():
    """A name in a template that is no file would be an error 500 there."""
    names = {
        name
        for path in Path(original.BASE_DIR, "templates").rglob("*.html")
        for name in re.findall(r"""{% static ["']([^"']+)["'] %}""", path.read_text())
    }
    assert names
    for name in names:
        assert finders.find(name), name
